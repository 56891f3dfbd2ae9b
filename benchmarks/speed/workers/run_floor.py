"""A lower bound for any implementation: the step's matrix products at this machine's rate, and its bytes at its bandwidth.

Products: three for each layer of the network (forward, gradient of the input, gradient of the weight), 2 x B x in x out operations each.
Bytes: the batch read and written once; the embeddings gathered, and their gradients scattered (read and written); Adam on the rows that
the batch touches (weight, two moments: read and written; gradient read); the network's input and each hidden output written and read
once forward and once backward. Both rates are measured here, alternating with the others; that of the products with both libraries
that torch carries for them (MKL, which ``torch.mm`` calls, and oneDNN), and the faster one counts.
"""

import itertools
import sys
import time

import numpy as np
import torch
from turns import Task, Turns

FLOAT = 4
COPIED = 64_000_000  # floats, far more than a cache holds


def layers_of(task):
    widths = [task.n_sparse * task.embed_dim + task.n_dense, 256, 128, 1]
    return list(itertools.pairwise(widths))


def bytes_of(task):
    x, _ = task.train
    rows = slice(0, task.batch)
    touched = sum(len(np.unique(x[name][rows])) for name in task.sparse)
    entries = task.batch * task.n_sparse * task.embed_dim
    batch = 2 * task.batch * (task.n_dense + task.n_sparse + 1)
    activations = 4 * task.batch * sum(width for width, _ in layers_of(task))
    return FLOAT * (batch + 4 * entries + 7 * touched * task.embed_dim + activations)


def by_mm(x, w, grad):
    torch.mm(x, w.t())
    torch.mm(grad, w)
    torch.mm(grad.t(), x)


def by_onednn(x, w, grad):
    linear = torch.ops.mkldnn._linear_pointwise
    linear(x, w, None, "none", [], "")
    linear(grad, w.t(), None, "none", [], "")
    linear(grad.t(), x.t(), None, "none", [], "")


def time_of_products(operands, products):
    """CPU seconds of all products of one step."""
    n_repeat = 20
    start = time.process_time()
    for _ in range(n_repeat):
        for x, w, grad in operands:
            products(x, w, grad)
    return (time.process_time() - start) / n_repeat


def main():
    turns, task = Turns(), Task(sys.argv[1])
    operands = [
        (torch.randn(task.batch, wide), torch.randn(narrow, wide), torch.randn(task.batch, narrow)) for wide, narrow in layers_of(task)
    ]
    operations = sum(6 * task.batch * wide * narrow for wide, narrow in layers_of(task))
    n_byte, source, target = bytes_of(task), torch.ones(COPIED), torch.zeros(COPIED)
    while True:
        turns.begin()
        mm = time_of_products(operands, by_mm)
        onednn = time_of_products(operands, by_onednn) if hasattr(torch.ops.mkldnn, "_linear_pointwise") else mm
        products = min(mm, onednn)
        start = time.process_time()
        target.copy_(source)
        bandwidth = 2 * FLOAT * COPIED / (time.process_time() - start)
        step = products + n_byte / bandwidth
        rates = {"gflops": operations / products / 1e9, "gflops_mm": operations / mm / 1e9, "gbytes": bandwidth / 1e9}
        turns.end(floor=step * task.steps, products=products, bytes=n_byte / bandwidth, **rates)


if __name__ == "__main__":
    main()
