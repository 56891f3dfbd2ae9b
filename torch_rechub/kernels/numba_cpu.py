"""The kernels compiled for one CPU thread: the same results as :mod:`torch_any` to float32 rounding, in a fraction of the time.

This module is imported only when numba is installed and the tensors are on the CPU. Compiled code is cached on disk, so a second start
does not compile again. Inner loops run over the columns of a row, which the compiler turns into vector instructions. The loops are limited
by memory latency, so each row is prefetched several iterations before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.event import Listener, register
from numba.extending import intrinsic
from torch import Tensor

from torch_rechub.kernels import compilation_begins
from torch_rechub.kernels.missed import MissedSteps
from torch_rechub.kernels.torch_any import AdamStep, gather

__all__ = ["accumulate", "adam_catch_up", "adam_update", "gather", "unique"]

PREFETCH_DISTANCE = 8  #: number of rows between the prefetch of a row and its use


class _Announcement(Listener):
    """Announces the first compilation of one of the functions below; loading one from the disk cache is none."""

    def __init__(self) -> None:
        self.is_made = False

    def on_start(self, event: Any) -> None:
        dispatcher: Any = event.data.get("dispatcher")
        if not self.is_made and getattr(dispatcher, "py_func", None) is not None and dispatcher.py_func.__module__ == __name__:
            self.is_made = True
            compilation_begins()

    def on_end(self, event: Any) -> None:
        """Nothing is announced."""


announcement = _Announcement()
register("numba:compile", announcement)


def _compiled(function: Callable[..., Any]) -> Any:
    """``numba.njit``, cached on disk where a folder for the cache can be written."""
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
        return numba.njit(nogil=True, error_model="numpy")(function)


def _prefetch(typing_context: Any, array: Any, row: Any) -> Any:
    """Prefetch the beginning of ``array[row]`` into the cache, without waiting."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        zero = context.get_constant(types.intp, 0)
        index = [context.cast(builder, arguments[1], signature.args[1], types.intp)] + [zero] * (kind.ndim - 1)
        item = cgutils.get_item_pointer(context, builder, kind, view, index)
        byte = builder.bitcast(item, ir.IntType(8).as_pointer())
        int32 = ir.IntType(32)
        name = ir.FunctionType(ir.VoidType(), [byte.type, int32, int32, int32])
        prefetch = cgutils.get_or_insert_function(builder.module, name, "llvm.prefetch.p0")
        builder.call(prefetch, [byte, int32(1), int32(3), int32(1)])
        return context.get_dummy_value()

    return types.void(array, row), generate


_prefetch_row: Any = intrinsic(_prefetch)


@_compiled
def _distinct_rows(rows: Any, slot: Any, distinct: Any) -> int:
    """Write each distinct row once and return their number; ``-1 - i`` if ``rows[i]`` is not in the table. ``slot`` needs no clearing."""
    n = 0
    for i in range(len(rows)):
        row = rows[i]
        if row < 0 or row >= len(slot):
            return -1 - i
        position = slot[row]
        if position >= n or distinct[position] != row:
            slot[row] = n
            distinct[n] = row
            n += 1
    return n


@_compiled
def _positions(rows: Any, distinct: Any, slot: Any, inverse: Any) -> None:
    for i in range(len(distinct)):
        slot[distinct[i]] = i
    for i in range(len(rows)):
        inverse[i] = slot[rows[i]]


@_compiled
def _accumulate(grad: Any, inverse: Any, out: Any) -> None:
    out[:] = 0
    for i in range(len(inverse)):
        position = inverse[i]
        for j in range(grad.shape[1]):
            out[position, j] += grad[i, j]


@_compiled
def _adam_catch_up(
    w: Any,
    m: Any,
    v: Any,
    last: Any,
    rows: Any,
    start: Any,
    now: Any,
    weight: Any,
    shift: Any,
    n_node: Any,
    ratio: Any,
    log_decay: Any,
    power: Any,
) -> None:
    width = w.shape[1]
    root, moved = np.empty(width, w.dtype), np.empty(width, w.dtype)
    for i in range(len(rows)):
        if i + PREFETCH_DISTANCE < len(rows):
            ahead = rows[i + PREFETCH_DISTANCE]
            _prefetch_row(w, ahead)
            _prefetch_row(m, ahead)
            _prefetch_row(v, ahead)
        if i + 2 * PREFETCH_DISTANCE < len(rows):
            _prefetch_row(last, rows[i + 2 * PREFETCH_DISTANCE])
        row = rows[i]
        missed = now - last[row]
        if missed == 0:
            continue
        t = last[row] - start
        for j in range(width):
            root[j] = np.sqrt(v[row, j])
            moved[j] = 0
        for node in range(n_node[t]):
            mass, eps = np.float32(weight[t, node]), np.float32(shift[t, node])
            for j in range(width):
                moved[j] += mass / (root[j] + eps)
        decay = np.float32(1.0)
        if log_decay[now - start] != log_decay[t]:
            decay = np.float32(np.exp(log_decay[now - start] - log_decay[t]))
        scale = np.float32(power[missed])
        momentum = np.float32(ratio[t] * np.sqrt(power[missed]))
        for j in range(width):
            w[row, j] = decay * (w[row, j] - m[row, j] * moved[j])
            m[row, j] *= momentum
            v[row, j] *= scale
        last[row] = now


@_compiled
def _adam_update(
    w: Any,
    m: Any,
    v: Any,
    last: Any,
    rows: Any,
    grad: Any,
    now: Any,
    beta1: Any,
    beta2: Any,
    one_minus_beta1: Any,
    one_minus_beta2: Any,
    rate: Any,
    root: Any,
    eps: Any,
    decay: Any,
) -> None:
    for i in range(len(rows)):
        if i + PREFETCH_DISTANCE < len(rows):
            ahead = rows[i + PREFETCH_DISTANCE]
            _prefetch_row(w, ahead)
            _prefetch_row(m, ahead)
            _prefetch_row(v, ahead)
            _prefetch_row(last, ahead)
        row = rows[i]
        last[row] = now
        for j in range(w.shape[1]):
            g = grad[i, j]
            first = m[row, j] + (g - m[row, j]) * one_minus_beta1
            second = beta2 * v[row, j] + one_minus_beta2 * (g * g)
            m[row, j] = first
            v[row, j] = second
            w[row, j] = decay * w[row, j] - rate * first / (np.sqrt(second) * root + eps)


def unique(rows: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`torch_rechub.kernels.unique`."""
    requested = rows.numpy()
    distinct, inverse = np.empty(len(requested), np.int32), np.empty(len(requested), np.int32)
    scratch = slot.numpy()
    n = _distinct_rows(requested, scratch, distinct)
    if n < 0:
        raise IndexError(f"rows must be >= 0 and < {len(scratch)}, the number of rows of the table; got {requested[-1 - n]}.")
    distinct = distinct[:n]
    distinct.sort()
    _positions(requested, distinct, scratch, inverse)
    return torch.from_numpy(distinct.astype(np.int64)), torch.from_numpy(inverse)


def accumulate(grad: Tensor, inverse: Tensor, n: int) -> Tensor:
    """See :func:`torch_rechub.kernels.accumulate`."""
    out = torch.empty(n, grad.shape[1], dtype=grad.dtype)
    _accumulate(grad.numpy(), inverse.numpy(), out.numpy())
    return out


def adam_catch_up(w: Tensor, m: Tensor, v: Tensor, last: Tensor, rows: Tensor, missed: MissedSteps) -> None:
    """See :func:`torch_rechub.kernels.adam_catch_up`."""
    arrays = (w.numpy(), m.numpy(), v.numpy(), last.numpy(), rows.numpy())
    _adam_catch_up(*arrays, missed.start, missed.now, *vars(missed.sums).values())


def adam_update(w: Tensor, m: Tensor, v: Tensor, last: Tensor, rows: Tensor, grad: Tensor, step: AdamStep) -> None:
    """See :func:`torch_rechub.kernels.adam_update`."""
    arrays = (w.numpy(), m.numpy(), v.numpy(), last.numpy(), rows.numpy(), grad.numpy())
    numbers = (step.beta1, step.beta2, 1 - step.beta1, 1 - step.beta2, step.rate, step.root, step.eps, step.decay)
    _adam_update(*arrays, step.now, *(np.float32(number) for number in numbers))
