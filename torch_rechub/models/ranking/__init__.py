"""Click-through-rate models: features of a user, an item and a context -> the probability of a click."""

from torch_rechub.models.ranking.afm import AFM
from torch_rechub.models.ranking.afn import AFN
from torch_rechub.models.ranking.aoanet import AOANet
from torch_rechub.models.ranking.autoint import AutoInt
from torch_rechub.models.ranking.branches import Branches
from torch_rechub.models.ranking.bst import BST
from torch_rechub.models.ranking.dcn import DCN
from torch_rechub.models.ranking.dcn_v2 import DCNv2
from torch_rechub.models.ranking.deepffm import DeepFFM, FatDeepFFM
from torch_rechub.models.ranking.deepfm import DeepFM
from torch_rechub.models.ranking.deepim import DeepIM
from torch_rechub.models.ranking.destine import DESTINE
from torch_rechub.models.ranking.dien import DIEN
from torch_rechub.models.ranking.din import DIN
from torch_rechub.models.ranking.dlrm import DLRM
from torch_rechub.models.ranking.dnn import DNN
from torch_rechub.models.ranking.edcn import EDCN
from torch_rechub.models.ranking.fcn import FCN
from torch_rechub.models.ranking.ffm import FFM
from torch_rechub.models.ranking.fibinet import FiBiNet
from torch_rechub.models.ranking.finalmlp import FinalMLP
from torch_rechub.models.ranking.finalnet import FinalNet
from torch_rechub.models.ranking.fm import FM
from torch_rechub.models.ranking.fmfm import FmFM
from torch_rechub.models.ranking.fwfm import FwFM
from torch_rechub.models.ranking.gdcn import GDCN
from torch_rechub.models.ranking.hofm import HOFM
from torch_rechub.models.ranking.lr import LR
from torch_rechub.models.ranking.masknet import MaskNet
from torch_rechub.models.ranking.nfm import NFM
from torch_rechub.models.ranking.onn import ONN
from torch_rechub.models.ranking.pnn import PNN
from torch_rechub.models.ranking.qnn_alpha import QNNAlpha
from torch_rechub.models.ranking.sam import SAM
from torch_rechub.models.ranking.sdim import SDIM
from torch_rechub.models.ranking.sim import SIM
from torch_rechub.models.ranking.tf4ctr import TF4CTR
from torch_rechub.models.ranking.widedeep import WideDeep
from torch_rechub.models.ranking.wukong import Wukong
from torch_rechub.models.ranking.xdeepfm import xDeepFM

__all__ = [
    "AFM",
    "AFN",
    "AOANet",
    "AutoInt",
    "BST",
    "Branches",
    "DCN",
    "DCNv2",
    "DESTINE",
    "DIEN",
    "DIN",
    "DLRM",
    "DNN",
    "DeepFFM",
    "DeepFM",
    "DeepIM",
    "EDCN",
    "FCN",
    "FFM",
    "FM",
    "FatDeepFFM",
    "FiBiNet",
    "FinalMLP",
    "FinalNet",
    "FmFM",
    "FwFM",
    "GDCN",
    "HOFM",
    "LR",
    "MaskNet",
    "NFM",
    "ONN",
    "PNN",
    "QNNAlpha",
    "SAM",
    "SDIM",
    "SIM",
    "TF4CTR",
    "WideDeep",
    "Wukong",
    "xDeepFM",
]
