"""Click-through-rate models: features of a user, an item and a context -> the probability of a click."""

from torch_rechub.models.ranking.deepfm import DeepFM
from torch_rechub.models.ranking.finalmlp import FinalMLP
from torch_rechub.models.ranking.gdcn import GDCN

__all__ = ["GDCN", "DeepFM", "FinalMLP"]
