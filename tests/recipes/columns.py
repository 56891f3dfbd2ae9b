"""The features and the rows that most recipes read."""

from __future__ import annotations

import numpy as np

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature

USER, ITEM = SparseFeature("user", 12, 4), SparseFeature("item", 20, 4)
TAGS = SequenceFeature("tags", 6, 4, padding_idx=0)
AGE, TASTE = DenseFeature("age"), DenseFeature("taste", 2)


def columns(n: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "user": rng.integers(0, 12, n),
        "item": rng.integers(0, 20, n),
        "tags": rng.integers(0, 6, (n, 3)),
        "age": rng.normal(size=n).astype(np.float32),
        "taste": rng.normal(size=(n, 2)).astype(np.float32),
    }


def labels(x: dict[str, np.ndarray], seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed + 1).normal(size=len(x["user"]))
    return ((x["user"] + x["item"]) % 3 + x["age"] + noise > 1).astype(np.float32)
