"""Losses that torch does not have: a penalty on weights, two for pairs, two for one item among many."""

from torch_rechub.basic.loss_func.contrastive import InBatchNCELoss, NCELoss
from torch_rechub.basic.loss_func.pairwise import BPRLoss, HingeLoss
from torch_rechub.basic.loss_func.regularization import RegularizationLoss

__all__ = ["BPRLoss", "HingeLoss", "InBatchNCELoss", "NCELoss", "RegularizationLoss"]
