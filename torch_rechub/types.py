"""The shapes of what flows through the library: one vocabulary for data, models and trainers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch

__all__ = ["Batch", "Features", "FilePath", "Scores"]

#: What a model reads: column name -> values. Ids are integers ``(B,)`` or ``(B, L)``, dense columns floats ``(B,)`` or ``(B, n)``.
Features: TypeAlias = Mapping[str, torch.Tensor]
#: What a loader yields: ``(x, y)``, or ``(x, y, weight)`` where rows are weighted. Lists, as a plain ``DataLoader`` makes them, do as well.
Batch: TypeAlias = Sequence[Features | torch.Tensor]
#: What a model answers: one number a row, ``(B,)``.
Scores: TypeAlias = torch.Tensor
#: A path to a file or folder.
FilePath: TypeAlias = str | os.PathLike[str]
