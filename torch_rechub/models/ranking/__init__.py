"""Click-through-rate models: features of a user, an item and a context -> the probability of a click."""

from torch_rechub.models.ranking.branches import Branches
from torch_rechub.models.ranking.dcn import DCN
from torch_rechub.models.ranking.dcn_v2 import DCNv2
from torch_rechub.models.ranking.deepfm import DeepFM
from torch_rechub.models.ranking.finalmlp import FinalMLP
from torch_rechub.models.ranking.finalnet import FinalNet
from torch_rechub.models.ranking.gdcn import GDCN
from torch_rechub.models.ranking.masknet import MaskNet
from torch_rechub.models.ranking.widedeep import WideDeep

__all__ = ["Branches", "DCN", "DCNv2", "DeepFM", "FinalMLP", "FinalNet", "GDCN", "MaskNet", "WideDeep"]
