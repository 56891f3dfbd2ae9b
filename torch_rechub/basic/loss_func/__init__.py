"""Losses that torch does not provide: a penalty on weights, pairwise losses and contrastive losses."""

from torch_rechub.basic.loss_func.contrastive import InBatchNCELoss, NCELoss
from torch_rechub.basic.loss_func.pairwise import BPRLoss, HingeLoss
from torch_rechub.basic.loss_func.prediction_loss import carry_logits, logits_of, prediction_loss, takes_logits
from torch_rechub.basic.loss_func.regularization import RegularizationLoss

__all__ = [
    "BPRLoss",
    "HingeLoss",
    "InBatchNCELoss",
    "NCELoss",
    "RegularizationLoss",
    "carry_logits",
    "logits_of",
    "prediction_loss",
    "takes_logits",
]
