"""Checks for those who write models: the laws that every model of the library keeps, as functions."""

from torch_rechub.testing import predictions as predictions  # adds its laws
from torch_rechub.testing import training as training  # adds its laws
from torch_rechub.testing.check import CheckReport, LawResult, check_model
from torch_rechub.testing.law import LAWS

__all__ = ["LAWS", "CheckReport", "LawResult", "check_model"]
