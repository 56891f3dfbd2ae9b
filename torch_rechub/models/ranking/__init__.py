"""Click-through-rate models: features of a user, an item and a context -> the probability of a click."""

from torch_rechub.models.ranking.deepfm import DeepFM

__all__ = ["DeepFM"]
