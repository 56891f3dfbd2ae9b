"""Type aliases that data, models and trainers share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch

__all__ = ["Batch", "Features", "FilePath", "Scores"]

#: The input of a model, column name -> values: ids are integers ``(B,)`` or ``(B, L)``, dense columns floats ``(B,)`` or ``(B, n)``.
Features: TypeAlias = Mapping[str, torch.Tensor]
#: A batch of a loader: ``(x, y)``, or ``(x, y, weight)`` if rows are weighted; a tuple or a list, as a plain ``DataLoader`` makes it.
Batch: TypeAlias = Sequence[Features | torch.Tensor]
#: The output of a model: one number per row, ``(B,)``.
Scores: TypeAlias = torch.Tensor
#: A path to a file or folder.
FilePath: TypeAlias = str | os.PathLike[str]
