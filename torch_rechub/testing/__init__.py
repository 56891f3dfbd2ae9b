"""Checks for those who write models: the laws that every model of the library keeps, as functions."""

from torch_rechub.testing import predictions as predictions  # adds its laws
from torch_rechub.testing import training as training  # adds its laws
from torch_rechub.testing.check import CheckReport, LawResult, check_model

__all__ = ["CheckReport", "LawResult", "check_model"]
