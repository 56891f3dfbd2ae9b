"""Whether a fused computation may replace the call of a module, or plain operations of torch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from torch_rechub.basic.batch.checks import is_exporting
from torch_rechub.torch_private import has_hooks, is_transformed

__all__ = ["are_plain", "must_be_plain"]


def must_be_plain() -> bool:
    """Whether a model may use plain operations of torch only: it is exported, traced, or transformed by ``torch.func``.

    Example:
        >>> must_be_plain(), torch.func.vmap(lambda x: x * must_be_plain())(torch.ones(1))
        (False, tensor([1.]))
    """
    if torch.compiler.is_compiling():
        return is_exporting()
    return torch.jit.is_tracing() or is_transformed()


def are_plain(modules: Iterable[nn.Module], kind: type[nn.Module]) -> bool:
    """Whether all ``modules`` are exactly of class ``kind`` and have no hook: then nothing but their own ``forward`` would run.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> are_plain([layer], nn.Linear), are_plain([layer], nn.Module)
        (True, False)
        >>> _ = layer.register_forward_hook(lambda module, inputs, output: output)
        >>> are_plain([layer], nn.Linear)
        False
    """
    return all(type(module) is kind and not has_hooks(module) for module in modules)
