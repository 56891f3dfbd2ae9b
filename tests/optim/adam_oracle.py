"""A naive dense Adam and AdamW, and tables that are trained with given gradients."""

import numpy as np
import torch

from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers.table import EmbeddingTable


def make_table(n_row=12, width=3, seed=0, padding_idx=None):
    torch.manual_seed(seed)
    table = EmbeddingTable([SparseFeature("a", n_row, width, padding_idx=padding_idx)])
    with torch.no_grad():
        table.weight.copy_(torch.randn(n_row, width) * 0.1)
    return table


def make_gradients(n_step, n_row=12, width=3, seed=0, scale=1.0):
    """The rows of each step and a gradient for each row; some rows are read often, some once."""
    rng = np.random.default_rng(seed)
    steps = []
    for _ in range(n_step):
        rows = np.unique(np.minimum(rng.geometric(0.35, size=3) - 1, n_row - 1))
        steps.append((torch.from_numpy(rows), torch.from_numpy(rng.normal(size=(len(rows), width)).astype(np.float32)) * scale))
    return steps


def backward(table, rows, grad):
    """Look up ``rows`` and back-propagate exactly ``grad``."""
    (table(rows) * grad).sum().backward()


def dense(rows, grad, n_row):
    return torch.zeros(n_row, grad.shape[1]).index_copy_(0, rows, grad)


def dense_adam(w, grads, lrs, betas, eps, weight_decay=0.0):
    """AdamW (Adam if the decay is 0) in float64, which updates every row at every step."""
    w = np.array(w, dtype=np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (grad, lr, (beta1, beta2)) in enumerate(zip(grads, lrs, betas, strict=True), 1):
        w *= 1 - lr * weight_decay
        m = beta1 * m + (1 - beta1) * grad
        v = beta2 * v + (1 - beta2) * grad**2
        w -= lr / (1 - beta1**t) * m / (np.sqrt(v) / np.sqrt(1 - beta2**t) + eps)
    return w
