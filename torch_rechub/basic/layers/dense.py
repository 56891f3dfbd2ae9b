"""A linear layer whose matrix products take the faster of torch's two CPU libraries."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.torch_private import linear_one_dnn

__all__ = ["Linear", "one_dnn_is_faster"]

#: Products of fewer operations gain nothing: the call itself is what takes the time.
SMALLEST = 4_000_000


class Linear(nn.Linear):
    """``nn.Linear``, with float32 products by oneDNN instead of MKL where that is faster: on AMD processors with AVX-512.

    MKL does not use AVX-512 there and takes 2.2 times as long (measured: 92 against 210 GFLOP/s on one core). Same mathematics, other
    rounding. Which library is taken depends on the processor and the shapes only, never on a timing, so a run can be repeated bit for
    bit. In exported and compiled code, under autocast, on other devices and types it is ``nn.Linear``.

    Example:
        >>> Linear(4, 2)(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 2 or 2 * input.shape[0] * self.weight.numel() < SMALLEST or not self._plain(input):
            return super().forward(input)
        return _OneDNN.apply(input, self.weight, self.bias)

    def _plain(self, input: Tensor) -> bool:
        both = input.device.type == self.weight.device.type == "cpu" and input.dtype == self.weight.dtype == torch.float32
        return (
            both
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
            and not torch.is_autocast_enabled("cpu")
            and one_dnn_is_faster()
        )


class _OneDNN(torch.autograd.Function):
    """``x @ w.T + b`` and its three gradients; a transpose is a view that oneDNN reads as it is."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return linear_one_dnn(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:  # apart from forward, as torch.func wants it
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grad_outputs[0]
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            _OneDNN.apply(grad, weight.t(), None) if for_x else None,  # apply, so that gradients of gradients are there
            _OneDNN.apply(grad.t(), x.t(), None) if for_weight else None,
            grad.sum(0) if for_bias else None,
        )


@lru_cache(maxsize=1)
def one_dnn_is_faster() -> bool:
    """Whether this is an AMD processor with AVX-512, and torch's oneDNN is there and computes what it should."""
    if not torch.backends.mkldnn.is_available() or "AVX512" not in torch.backends.cpu.get_cpu_capability() or not _is_amd():
        return False
    x, weight = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
    try:
        return torch.equal(linear_one_dnn(x, weight, None), x @ weight.t())
    except (AttributeError, RuntimeError, TypeError):  # another torch, where the operation is not or is called otherwise
        return False


def _is_amd() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return "AuthenticAMD" in (cpuinfo.read_text() if cpuinfo.exists() else platform.processor())
