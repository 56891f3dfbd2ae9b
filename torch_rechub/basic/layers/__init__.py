"""Layers, one per file.

Axis letters, here and in every shape comment of the library:

B batch, F fields, D embedding, L length, T tasks, K experts, N negatives.
"""

from torch_rechub.basic.layers.activation_unit import ActivationUnit
from torch_rechub.basic.layers.anova import ANOVA
from torch_rechub.basic.layers.augru import AUGRU, AUGRU_Cell
from torch_rechub.basic.layers.batch_norm import BatchNorm1d
from torch_rechub.basic.layers.bilinear import BiLinearInteractionLayer
from torch_rechub.basic.layers.cin import CIN
from torch_rechub.basic.layers.cross import CrossLayer, CrossNetMix, CrossNetV2, CrossNetwork
from torch_rechub.basic.layers.dense import Linear
from torch_rechub.basic.layers.disentangled_attention import DisentangledSelfAttention
from torch_rechub.basic.layers.dropout import Dropout
from torch_rechub.basic.layers.embedding import EmbeddingLayer
from torch_rechub.basic.layers.factorized import FactorizedBlock, FactorizedInteraction
from torch_rechub.basic.layers.feature_linear import FeatureLinear
from torch_rechub.basic.layers.ffm import CEN, FFM
from torch_rechub.basic.layers.field_aware import FieldAwareProducts
from torch_rechub.basic.layers.field_stack import FieldStack
from torch_rechub.basic.layers.fm import FM
from torch_rechub.basic.layers.gated_cross import GatedCrossNetwork
from torch_rechub.basic.layers.interacting import InteractingLayer
from torch_rechub.basic.layers.linear import LR
from torch_rechub.basic.layers.mask import InputMask
from torch_rechub.basic.layers.mlp import MLP
from torch_rechub.basic.layers.pairs import InnerProducts, WeightedPairs
from torch_rechub.basic.layers.pooling import AveragePooling, ConcatPooling, SumPooling
from torch_rechub.basic.layers.prediction import PredictionLayer
from torch_rechub.basic.layers.self_mask_cross import SelfMaskCrossNetwork
from torch_rechub.basic.layers.senet import SENETLayer
from torch_rechub.basic.layers.table import EmbeddingTable
from torch_rechub.basic.layers.target_attention import HashAttention, TargetAttention
from torch_rechub.basic.layers.transformer import LastPositionTransformer

__all__ = [
    "EmbeddingLayer",
    "EmbeddingTable",
    "InputMask",
    "AveragePooling",
    "ConcatPooling",
    "SumPooling",
    "BatchNorm1d",
    "Dropout",
    "Linear",
    "LR",
    "FeatureLinear",
    "FieldStack",
    "MLP",
    "PredictionLayer",
    "FM",
    "FFM",
    "CEN",
    "CIN",
    "ANOVA",
    "FieldAwareProducts",
    "InnerProducts",
    "WeightedPairs",
    "CrossLayer",
    "CrossNetwork",
    "CrossNetV2",
    "CrossNetMix",
    "GatedCrossNetwork",
    "SelfMaskCrossNetwork",
    "FactorizedInteraction",
    "FactorizedBlock",
    "BiLinearInteractionLayer",
    "SENETLayer",
    "InteractingLayer",
    "DisentangledSelfAttention",
    "ActivationUnit",
    "AUGRU",
    "AUGRU_Cell",
    "LastPositionTransformer",
    "TargetAttention",
    "HashAttention",
]
