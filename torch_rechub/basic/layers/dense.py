"""A linear layer whose matrix products use the faster of the two CPU libraries of torch."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.basic.layers.plain import must_be_plain
from torch_rechub.torch_private import linear_one_dnn

__all__ = ["Linear", "linear", "one_dnn_is_faster"]

#: Number of operations below which the overhead of the call exceeds the gain.
MIN_OPERATIONS = 4_000_000


class Linear(nn.Linear):
    """``nn.Linear``, whose float32 products use oneDNN instead of MKL on AMD processors with AVX-512.

    MKL does not use AVX-512 on these processors and takes 2.2 times as long (measured: 92 against 210 GFLOP/s on one core). The mathematics
    is the same; the rounding differs. The choice of the library depends on the processor and the shapes only, never on a measured time, so
    a run can be repeated bit for bit. In exported and compiled code, under autocast, and on other devices and dtypes it is ``nn.Linear``.

    Example:
        >>> Linear(4, 2)(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias`` by the faster library, see :class:`Linear`.

    Shape:
        ``(B, n)``, ``(m, n)`` and ``(m,)`` -> ``(B, m)``.

    Example:
        >>> linear(torch.ones(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([[7.]])
    """
    if _can_use_one_dnn(input, weight) and 2 * input.shape[0] * weight.numel() >= MIN_OPERATIONS:
        return _OneDNN.apply(input, weight, bias)
    return nn.functional.linear(input, weight, bias)


def _can_use_one_dnn(input: Tensor, weight: Tensor) -> bool:
    """All but the size, which is tested last: an exported model is for batches of any size."""
    if torch.compiler.is_compiling() or must_be_plain():
        return False
    is_float32_on_cpu = input.device.type == weight.device.type == "cpu" and input.dtype == weight.dtype == torch.float32
    return is_float32_on_cpu and input.dim() == 2 and not torch.is_autocast_enabled("cpu") and one_dnn_is_faster()


class _OneDNN(torch.autograd.Function):
    """``x @ w.T + b`` and its three gradients; oneDNN reads a transposed view without a copy."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return linear_one_dnn(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # separate from forward, as torch.func needs it
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grad_outputs[0]
        x_needs_grad, weight_needs_grad, bias_needs_grad = ctx.needs_input_grad
        return (
            _OneDNN.apply(grad, weight.t(), None) if x_needs_grad else None,  # apply, so that gradients can be differentiated again
            _OneDNN.apply(grad.t(), x.t(), None) if weight_needs_grad else None,
            grad.sum(0) if bias_needs_grad else None,
        )


@lru_cache(maxsize=1)
def one_dnn_is_faster() -> bool:
    """Whether this is an AMD processor with AVX-512 and the oneDNN of torch is available and computes a correct product."""
    if not torch.backends.mkldnn.is_available() or "AVX512" not in torch.backends.cpu.get_cpu_capability() or not _is_amd():
        return False
    x, weight = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
    try:
        return torch.equal(linear_one_dnn(x, weight, None), x @ weight.t())
    except (AttributeError, RuntimeError, TypeError):  # a torch release without the operator, or with another signature
        return False


def _is_amd() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return "AuthenticAMD" in (cpuinfo.read_text() if cpuinfo.exists() else platform.processor())
