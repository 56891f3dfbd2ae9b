"""The embedded data set UCI Adult. ATTRIBUTION.md names its authors and licence."""

from torch_rechub.datasets.adult.reader import Adult, load_adult

__all__ = ["Adult", "load_adult"]
