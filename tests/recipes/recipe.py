"""What a recipe of a model is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from recipes.columns import columns


@dataclass(frozen=True)
class Recipe:
    """How to make a tiny model, and what else each of its arguments may be.

    Args:
        kind: the class of the model, or a function that makes one.
        arguments: of the tiny model.
        others: argument -> another value, which must change the weights or the predictions; of every argument of the constructor.
        variants: name -> arguments of a model of another structure, which must keep the laws too (tests/models/test_zoo_slow.py).
        columns: ``(n, seed)`` -> the columns that the model reads, ``user``, ``item`` and ``age`` among them, which make the labels.
        together: argument -> arguments that must change with it.
    """

    kind: Callable[..., nn.Module]
    arguments: Mapping[str, Any]
    others: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    columns: Callable[[int, int], dict[str, np.ndarray]] = field(default=columns)
    together: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, dims: list[int] | None = None, dropout: float | None = None, **changes: Any) -> nn.Module:
        """The model; ``dims`` and ``dropout`` are its own, or those of its network, where there is one."""
        arguments = {**self.arguments, **changes}
        network = {name: value for name, value in (("dims", dims), ("dropout", dropout)) if value is not None}
        arguments.update({name: network.pop(name) for name in list(network) if name in self.others})  # arguments of the model itself
        if network and "mlp_params" in arguments:
            arguments["mlp_params"] = {**arguments["mlp_params"], **network}
        return self.kind(**arguments)
