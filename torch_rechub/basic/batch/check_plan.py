"""The check of packed columns by two tests of whole matrices: 20 times faster than 39 columns one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from torch_rechub.basic.batch.packed import Layout, PackedFeatures
from torch_rechub.basic.features import DenseFeature, Feature, SparseFeature, mark_as_used
from torch_rechub.torch_private import assert_async

__all__ = ["CheckPlan", "plan_for"]


@dataclass(frozen=True, eq=False)
class CheckPlan:
    """The constants of the check, computed once for a layout and a tuple of features.

    ``last`` holds the last valid id of each column of the integer matrix, compared as *unsigned* numbers: a negative id is a large unsigned
    number, so one comparison tests both bounds. A column that no id feature reads has the largest number. ``dense`` are the columns of
    the float matrix that must be finite, None for all. ``others`` are the features to check one by one.
    """

    features: Sequence[Feature]
    last: dict[int, npt.NDArray[Any]]
    dense: Tensor | None
    others: tuple[Feature, ...]
    on_device: dict[tuple[torch.device, torch.dtype], Tensor]

    def is_valid(self, x: PackedFeatures) -> bool:
        """True only if both matrices are valid. A sum that overflows gives False; the features are then checked one by one."""
        ids = x.ids.numpy()
        last = self.last.get(ids.dtype.itemsize)
        if last is None or (ids.view(last.dtype) > last).any():
            return False
        total = x.numbers.sum() if self.dense is None else x.numbers.sum(0)[self.dense].sum()
        return math.isfinite(total.item())

    def assert_later(self, x: PackedFeatures) -> None:
        """The same test, asserted on the device without waiting for it."""
        key = (x.ids.device, x.ids.dtype)
        if key not in self.on_device:
            largest = torch.iinfo(x.ids.dtype).max
            last = np.minimum(self.last[8], largest).astype(np.int64)
            read = self.last[8] < 2**63  # columns that no id feature reads are not checked
            lowest = np.where(read, 0, torch.iinfo(x.ids.dtype).min)
            self.on_device[key] = torch.from_numpy(np.stack([lowest, last])).to(*key)
        lowest, last = self.on_device[key]
        assert_async(((x.ids >= lowest) & (x.ids <= last)).all(), "ids must be >= 0 and < vocab_size")
        numbers = x.numbers if self.dense is None else x.numbers[:, self.dense.to(x.numbers.device)]
        assert_async(numbers.isfinite().all(), "dense values must be finite")


_plans: dict[tuple[Layout, int], CheckPlan] = {}


def plan_for(layout: Layout, features: Sequence[Feature]) -> CheckPlan:
    """The plan, cached for tuples: a tuple is recognised by its identity, and the plan keeps it alive.

    Args:
        layout: of the packed columns.
        features: what a model reads; for a list the plan is computed at each call.
    """
    plan = _plans.get((layout, id(features)))
    if plan is not None and plan.features is features:
        return plan
    plan = _make_plan(layout, features)
    if isinstance(features, tuple):
        if len(_plans) >= 64:
            _plans.clear()
        mark_as_used(features)
        _plans[layout, id(features)] = plan
    return plan


def _make_plan(layout: Layout, features: Sequence[Feature]) -> CheckPlan:
    last = np.full(len(layout.ids), 2**64 - 1, np.uint64)
    dense: set[int] = set()
    others: list[Feature] = []
    for feature in features:
        kind, j = layout.places.get(feature.name, ("blocks", 0))
        if isinstance(feature, SparseFeature) and kind == "ids":
            last[j] = min(int(last[j]), feature.vocab_size - 1)
        elif isinstance(feature, DenseFeature) and feature.embed_dim == 1 and kind == "numbers":
            dense.add(j)
        elif not (isinstance(feature, DenseFeature) and feature.embed_dim == 1 and kind == "ids"):
            others.append(feature)
    narrow = np.where(last == 2**64 - 1, 2**32 - 1, np.minimum(last, 2**31 - 1)).astype(np.uint32)
    columns = None if len(dense) == len(layout.numbers) else torch.tensor(sorted(dense), dtype=torch.int64)
    return CheckPlan(features, {4: narrow, 8: last}, columns, tuple(others), {})
