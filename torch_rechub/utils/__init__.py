"""The old import paths: re-exports only, which nothing inside the library imports."""

from torch_rechub.utils import data

__all__ = ["data"]
