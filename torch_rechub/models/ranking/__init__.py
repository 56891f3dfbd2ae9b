"""Click-through-rate models: features of a user, an item and a context -> the probability of a click."""

from torch_rechub.models.ranking.branches import Branches
from torch_rechub.models.ranking.dcn import DCN
from torch_rechub.models.ranking.dcn_v2 import DCNv2
from torch_rechub.models.ranking.deepfm import DeepFM
from torch_rechub.models.ranking.destine import DESTINE
from torch_rechub.models.ranking.fcn import FCN
from torch_rechub.models.ranking.ffm import FFM
from torch_rechub.models.ranking.finalmlp import FinalMLP
from torch_rechub.models.ranking.finalnet import FinalNet
from torch_rechub.models.ranking.fm import FM
from torch_rechub.models.ranking.fmfm import FmFM
from torch_rechub.models.ranking.fwfm import FwFM
from torch_rechub.models.ranking.gdcn import GDCN
from torch_rechub.models.ranking.hofm import HOFM
from torch_rechub.models.ranking.lr import LR
from torch_rechub.models.ranking.masknet import MaskNet
from torch_rechub.models.ranking.qnn_alpha import QNNAlpha
from torch_rechub.models.ranking.widedeep import WideDeep

__all__ = [
    "Branches",
    "DCN",
    "DCNv2",
    "DESTINE",
    "DeepFM",
    "FCN",
    "FFM",
    "FM",
    "FinalMLP",
    "FinalNet",
    "FmFM",
    "FwFM",
    "GDCN",
    "HOFM",
    "LR",
    "MaskNet",
    "QNNAlpha",
    "WideDeep",
]
