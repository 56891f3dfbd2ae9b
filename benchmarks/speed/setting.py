"""The fixed sizes of one comparison, and the data that all contenders read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from torch_rechub.datasets import make_clicks


@dataclass(frozen=True)
class Setting:
    """DeepFM and its data.

    Args:
        vocab: ids of all sparse columns together.
        batch: rows a step.
        threads: of torch, in every contender.
        decay: Adam's coupled weight decay.
        steps: optimizer steps of one turn, which is one epoch of the contender's ``fit``.
        embed_dim: width of the embeddings.
        n_dense: dense columns.
        n_sparse: sparse columns with Zipf ids.
        validate: False trains without validation, so that no best weights are kept.
    """

    vocab: int = 100_000
    batch: int = 2048
    threads: int = 1
    decay: float = 0.0
    steps: int = 100
    embed_dim: int = 16
    n_dense: int = 13
    n_sparse: int = 26
    validate: bool = True

    @property
    def n_val(self) -> int:
        """Rows of a turn's validation: a quarter of its training rows."""
        return max(self.steps // 4, 1) * self.batch

    @property
    def title(self) -> str:
        """The setting in one line of words."""
        decay = f", weight decay {self.decay:g}" if self.decay else ""
        alone = "" if self.validate else ", no validation"
        shape = "" if (self.embed_dim, self.n_sparse) == (16, 26) else f", {self.n_sparse} columns x {self.embed_dim}"
        return (
            f"{self.vocab:,} rows of vocabulary, batch {self.batch}, {self.threads} thread{'s' * (self.threads > 1)}{shape}{decay}{alone}"
        )


def write_data(setting: Setting, folder: Path) -> Path:
    """Write the rows once for all contenders: ``data.npz`` with the columns, and ``setting.json`` with the other values for a worker."""
    clicks = make_clicks(setting.steps * setting.batch + setting.n_val, setting.n_dense, setting.n_sparse, setting.vocab)
    data, setting_file = folder / "data.npz", folder / "setting.json"
    np.savez(data, y=clicks.y, **clicks.x)
    setting_file.write_text(
        json.dumps({**asdict(setting), "n_val": setting.n_val, "data": str(data), "vocabularies": dict(clicks.vocab_sizes)})
    )
    return setting_file
