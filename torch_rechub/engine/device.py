"""Where a model trains."""

from __future__ import annotations

import torch

__all__ = ["resolve_device"]


def resolve_device(device: str | torch.device) -> torch.device:
    """The device that ``device`` names; "auto" is the best there is: CUDA, then Apple's MPS, then the CPU.

    Raises:
        ValueError: when there is no such device here.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    remedy = 'Use device="cpu", or device="auto" to take the best there is.'
    if device == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be a name such as 'cpu', 'cuda:0' or 'auto'; got {device!r}. {remedy}") from error
    if wanted.type == "cuda":
        n_gpu = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if n_gpu == 0:
            raise ValueError(f"device={str(device)!r} asks for a CUDA GPU, and torch {torch.__version__} sees none. {remedy}")
        if (wanted.index or 0) >= n_gpu:
            raise ValueError(f"device={str(device)!r} asks for GPU {wanted.index}, and there are {n_gpu}, counted from 0. {remedy}")
    if wanted.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device={str(device)!r} asks for Apple's MPS, which is not available here. {remedy}")
    return wanted
