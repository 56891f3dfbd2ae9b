"""The import paths of the existing package. This folder holds re-exports only, and the library does not import it."""

from torch_rechub.utils import data

__all__ = ["data"]
