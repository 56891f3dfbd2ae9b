"""What Adam would have done to a row in the steps that it missed, for any schedule of rates and betas, from a few numbers a step.

A row last brought up to date at step ``t`` with ``(w, m, v)`` and then left without a gradient is at step ``now``, exactly,

    w_now = A_now/A_t * ( w - m * sum_{s=t+1..now} lr_s (B_s/B_t) b2^(-(s-t)/2) c_s (A_t/A_s) / (sqrt(v) + eps d_s) )
    m_now = (B_now/B_t) m,    v_now = b2^(now-t) v

with B the product of the beta1 so far, A that of the decays (1 - lr_s wd), c_s = sqrt(1-b2^s)/(1-b1_s^s) and d_s = sqrt(1-b2^s)
b2^(-(s-t)/2). It follows from Adam (Kingma and Ba, *Adam*, ICLR 2015, Algorithm 1) and AdamW (Loshchilov and Hutter, *Decoupled Weight
Decay Regularization*, ICLR 2019, Algorithm 2) with g = 0. The row enters the sum only through v, in ``1 / (sqrt(v) + eps d)``, which as a
function of u = log d is analytic in the strip ``|Im u| < pi``, whatever v and eps. So it is interpolated at Chebyshev nodes in u, and the
sum becomes ``sum_i W[t, i] / (sqrt(v) + E[t, i])`` with running sums W that each step adds to, for the few hundred t whose momentum still
counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["MissedSteps", "Sums", "why_not"]

Array = NDArray[np.float64]

LEVELS = (4, 6, 8, 12, 16, 24, 32)  #: numbers of nodes in use
FORGOTTEN = 1e-10  #: momentum that has shrunk to this part counts as zero
TAIL = 1e-7  #: nodes span the steps until the momentum has shrunk to this part
INTERPOLATION = 1e-8  #: aimed relative error
LONGEST = 4000  #: more steps than this in the window would cost more than they save


def why_not(beta1: float, beta2: float, eps: float) -> str | None:
    """The reason why missed steps with these constants have no short form, None where they have one."""
    if not 0 < beta2 < 1 or beta1 >= math.sqrt(beta2) or _reach(beta1, beta2, FORGOTTEN) > LONGEST:
        return f"betas=({beta1}, {beta2}) let the momentum outlive its scale (beta1 must be well below sqrt(beta2))"
    if eps < 1e-30:
        return f"eps={eps} is too small: a row with no gradient yet would move by 0/0"
    reach = max(2, math.ceil(_reach(beta1, beta2, TAIL)))
    if _nodes_needed(_interval(np.array([0]), beta2, reach)[1])[0] > LEVELS[-1]:
        return f"betas=({beta1}, {beta2}) forget the scale too fast"
    return None


def _reach(beta1: float, beta2: float, part: float) -> float:
    """Number of steps in which the momentum, measured in sqrt(v), shrinks to ``part``."""
    ratio = max(beta1, 1e-9) / math.sqrt(beta2)
    return math.log(part) / math.log(ratio) if ratio < 1 else math.inf


@dataclass
class Sums:
    """The tables that kernels read, indexed by ``t - start`` (``power`` by the number of steps missed)."""

    weight: Any  # (T, n) W
    shift: Any  # (T, n) E = eps * D
    n_node: Any  # (T,)
    ratio: Any  # (T,) prod of beta1 / sqrt(beta2) since t
    log_decay: Any  # (T,) log A
    power: Any  # (T,) beta2 ** k


@dataclass
class _Nodes:
    """Where u lies for each t: ``middle + half * x`` with x in [-1, 1]."""

    middle: Array
    half: Array


@dataclass
class MissedSteps:
    """The running sums of one table since its rows were all up to date, at step ``start``.

    Args:
        start: the step at which all rows were up to date.
        beta1: the largest beta1 that is expected; :meth:`takes` tells whether a step still fits.
        beta2: second-moment decay of all steps.
        eps: the eps of all steps.

    Example:
        >>> missed = MissedSteps(start=0, beta1=0.9, beta2=0.999, eps=1e-8)
        >>> for _ in range(3):
        ...     missed.append(lr=0.1, beta1=0.9)
        >>> w, m, v = missed.one_row(1, w=1.0, m=0.1, v=0.001)
        >>> round(w, 6), round(m, 6), round(v, 6)
        (0.881198, 0.081, 0.000998)
    """

    start: int
    beta1: float
    beta2: float
    eps: float
    now: int = field(init=False)
    first: int = field(init=False, default=0)
    decays: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.now = self.start
        likely = max(self.beta1, 0.95) if self.beta2 >= 0.99 else self.beta1  # so that a cycling beta1 fits
        self.largest = self.beta1 if why_not(likely, self.beta2, self.eps) else likely
        self.reach = max(2, math.ceil(_reach(self.largest, self.beta2, TAIL)))
        self.sums, self.nodes = self._room(256)
        self._mirror: Sums | None = None

    def takes(self, beta1: float, beta2: float, eps: float) -> bool:
        """Whether a step with these constants can be appended; if not, bring all rows up to date and start new tables."""
        return beta1 <= self.largest and beta2 == self.beta2 and eps == self.eps

    def append(self, lr: float, beta1: float, decay: float = 1.0) -> None:
        """Take one more step with rate ``lr`` and first-moment decay ``beta1``, in which weights shrink by ``decay``."""
        if self.now - self.start + 2 > len(self.sums.ratio):
            self._grow()
        self.now += 1
        s, sums, end = self.now, self.sums, self.now - self.start
        ratio = sums.ratio[self.first : end]
        ratio *= beta1 / math.sqrt(self.beta2)
        sums.log_decay[end] = sums.log_decay[end - 1] + math.log(decay)
        self.decays = self.decays or decay != 1.0
        root = -math.expm1(s * math.log(self.beta2))
        mass = ratio * (lr * math.sqrt(root) / (1 - beta1**s))
        if self.decays:
            mass *= np.exp(sums.log_decay[self.first : end] - sums.log_decay[end])
        k = np.arange(end - self.first, 0, -1)
        x = (0.5 * math.log(root) - 0.5 * math.log(self.beta2) * k - self.nodes.middle[self.first : end]) / self.nodes.half[
            self.first : end
        ]
        self._add(mass, x, end)
        self._forget(end)

    def _add(self, mass: Array, x: Array, end: int) -> None:
        """``W += mass * l(x)`` for the t in the window, a run of equal numbers of nodes at a time."""
        n_node = self.sums.n_node[self.first : end]
        changes = (np.flatnonzero(np.diff(n_node)) + 1).tolist() if n_node[0] != n_node[-1] else []
        cuts = [0, *changes, len(n_node)]
        for low, high in pairwise(cuts):
            n = int(n_node[low])
            self.sums.weight[self.first + low : self.first + high, :n] += mass[low:high, None] * _lagrange(x[low:high], n)

    def _forget(self, end: int) -> None:
        """Leave the steps behind whose momentum counts no more."""
        gone = self.first
        while self.first < end and self.sums.ratio[self.first] < FORGOTTEN:
            self.first += 1
        self.sums.ratio[gone : self.first] = 0.0

    def _room(self, n_step: int) -> tuple[Sums, _Nodes]:
        """Empty tables for ``n_step`` steps."""
        nodes = _Nodes(*_interval(self.start + np.arange(n_step), self.beta2, self.reach))
        level = np.searchsorted(np.array(LEVELS), _nodes_needed(nodes.half)).clip(max=len(LEVELS) - 1)
        n_node = np.array(LEVELS, dtype=np.int32)[level]
        if self.start == 0:
            n_node[0] = LEVELS[0]  # rows never trained have no momentum: nothing to add up
        width = int(n_node.max())
        shift = np.zeros((n_step, width))
        for n in set(n_node.tolist()):
            at = n_node == n
            shift[at, :n] = self.eps * np.exp(nodes.middle[at, None] + nodes.half[at, None] * _chebyshev_nodes(n))
        shift[shift == 0.0] = 1.0  # there W is 0
        power = self.beta2 ** np.arange(n_step, dtype=np.float64)
        power[power < 1e-30] = 0.0  # below, float32 only becomes slow
        sums = Sums(np.zeros((n_step, width)), shift, n_node, np.ones(n_step), np.zeros(n_step), power)
        return sums, nodes

    def _grow(self) -> None:
        """Twice the room."""
        old, n = self.sums, len(self.sums.ratio)
        self.sums, self.nodes = self._room(2 * n)
        for name in ("weight", "ratio", "log_decay"):
            getattr(self.sums, name)[:n] = getattr(old, name)
        self._mirror = None

    def on(self, device: torch.device) -> Sums:
        """The tables as tensors: shared memory on the CPU, elsewhere a mirror that is kept up by what has changed."""
        here = Sums(**{name: torch.from_numpy(table) for name, table in vars(self.sums).items()})
        if device.type == "cpu":
            return here
        if self._mirror is None or self._mirror.ratio.device != device:
            self._mirror = Sums(**{name: table.to(device) for name, table in vars(here).items()})
            self._mirrored = self.first, self.now
        since, step = self._mirrored
        if step != self.now:
            for name in ("weight", "ratio", "log_decay"):
                changed = slice(since, self.now - self.start + 1)
                getattr(self._mirror, name)[changed].copy_(getattr(here, name)[changed], non_blocking=True)
            self._mirrored = self.first, self.now
        return self._mirror

    def one_row(self, t: int, w: float, m: float, v: float) -> tuple[float, float, float]:
        """A number last up to date at step ``t``, brought up to date in float64: the formula, plainly, for tests and readers."""
        sums, at = self.sums, t - self.start
        moved = m * (sums.weight[at] / (math.sqrt(v) + sums.shift[at])).sum()
        power = sums.power[self.now - t]
        decay = math.exp(sums.log_decay[self.now - self.start] - sums.log_decay[at])
        return float(decay * (w - moved)), float(m * sums.ratio[at] * math.sqrt(power)), float(v * power)

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that cannot be computed again."""
        n = self.now - self.start + 1
        tables = {name: torch.from_numpy(getattr(self.sums, name)[:n].copy()) for name in ("weight", "ratio", "log_decay")}
        numbers = {name: getattr(self, name) for name in ("start", "beta1", "beta2", "eps", "now", "first", "decays")}
        return {**numbers, **tables}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MissedSteps:
        """The tables that :meth:`state_dict` was taken of."""
        missed = cls(state["start"], state["beta1"], state["beta2"], state["eps"])
        while state["now"] - state["start"] + 1 > len(missed.sums.ratio):
            missed._grow()
        for name in ("weight", "ratio", "log_decay"):
            table: Tensor = state[name]
            getattr(missed.sums, name)[: len(table)] = table.cpu().numpy()
        missed.now, missed.first, missed.decays = state["now"], state["first"], state["decays"]
        return missed


def _interval(t: NDArray[np.int64], beta2: float, reach: int) -> tuple[Array, Array]:
    """Middle and half width of u = log d over the ``reach`` steps after each ``t``."""
    log_beta2 = math.log(beta2)
    low = 0.5 * np.log(-np.expm1((t + 1) * log_beta2)) - 0.5 * log_beta2
    high = 0.5 * np.log(-np.expm1((t + reach) * log_beta2)) - 0.5 * log_beta2 * reach
    return (low + high) / 2, (high - low) / 2


def _nodes_needed(half: Array) -> Array:
    """Number of nodes for intervals of half width ``half``: the error is about rho^-n, rho from the nearest pole, pi away."""
    y = math.pi / half
    rho = y + np.sqrt(1 + y * y)
    return np.log(4 / (rho - 1) / INTERPOLATION) / np.log(rho)


def _chebyshev_nodes(n: int) -> Array:
    return np.cos((2 * np.arange(n) + 1) * math.pi / (2 * n))


def _lagrange(x: Array, n: int) -> Array:
    """The Lagrange polynomials ``(len(x), n)`` of the Chebyshev nodes: l_i(x) = (1/n) (1 + 2 sum_k T_k(x_i) T_k(x))."""
    values = np.empty((n, len(x)))
    values[0], values[1] = 1.0, x
    for k in range(2, n):
        values[k] = 2 * x * values[k - 1] - values[k - 2]
    return values.T @ _from_chebyshev(n)


@cache
def _from_chebyshev(n: int) -> Array:
    """``(n, n)``: what turns the Chebyshev polynomials T_k(x) into the Lagrange polynomials l_i(x)."""
    at_nodes = np.cos(np.arange(n)[:, None] * np.arccos(_chebyshev_nodes(n)))  # (k, i)
    at_nodes[1:] *= 2
    return at_nodes / n
