"""Whether a fused computation may replace the call of a module."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from torch_rechub.torch_private import has_hooks

__all__ = ["are_plain"]


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
