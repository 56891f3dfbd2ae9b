"""Optimizers that update embedding tables row by row: the cost of a step depends on the batch, the mathematics is that of torch."""

from torch_rechub.kernels import use_kernels
from torch_rechub.optim.adagrad import Adagrad, RowWiseAdagrad
from torch_rechub.optim.adam import Adam, AdamW
from torch_rechub.optim.base import RowOptimizer
from torch_rechub.optim.clip import clip_grad_norm_, clip_grad_value_
from torch_rechub.optim.ftrl import FTRL
from torch_rechub.optim.replace import row_wise
from torch_rechub.optim.sgd import SGD

__all__ = [
    "FTRL",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "RowOptimizer",
    "RowWiseAdagrad",
    "clip_grad_norm_",
    "clip_grad_value_",
    "row_wise",
    "use_kernels",
]
