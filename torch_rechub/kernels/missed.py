"""The effect of Adam on a row in the steps in which the row had no gradient, from a few numbers per step, for any schedule.

A row that was up to date at step ``t`` with ``(w, m, v)`` and had no gradient since has at step ``now`` exactly the values

    w_now = A_now/A_t * ( w - m * sum_{s=t+1..now} lr_s (B_s/B_t) b2^(-(s-t)/2) c_s (A_t/A_s) / (sqrt(v) + eps d_s) )
    m_now = (B_now/B_t) m,    v_now = b2^(now-t) v

where B is the product of all beta1 so far, A is the product of the decays (1 - lr_s wd), c_s = sqrt(1-b2^s)/(1-b1_s^s) and
d_s = sqrt(1-b2^s) b2^(-(s-t)/2). This follows from Adam (Kingma and Ba, *Adam*, ICLR 2015, Algorithm 1) and AdamW (Loshchilov and Hutter,
*Decoupled Weight Decay Regularization*, ICLR 2019, Algorithm 2) with g = 0. The sum depends on the row only through v, in
``1 / (sqrt(v) + eps d)``. As a function of u = log d this term is analytic in the strip ``|Im u| < pi`` for every v and eps, so it is
interpolated at Chebyshev nodes in u. The sum becomes ``sum_i W[t, i] / (sqrt(v) + E[t, i])``. Each step adds to the running sums W, for
the few hundred t whose momentum is not negligible yet.
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

NODE_COUNTS = (4, 6, 8, 12, 16, 24, 32)  #: the numbers of interpolation nodes in use
NEGLIGIBLE = 1e-10  #: a momentum that has shrunk by this factor counts as zero
TAIL = 1e-7  #: the nodes span the steps until the momentum has shrunk by this factor
TOLERANCE = 1e-8  #: relative error of the interpolation
MAX_WINDOW = 4000  #: with more steps in the window the sums cost more than a dense step


def why_not(beta1: float, beta2: float, eps: float) -> str | None:
    """The reason why the formula cannot be used with these constants; None if it can."""
    if not 0 < beta2 < 1 or beta1 >= math.sqrt(beta2) or _window(beta1, beta2, NEGLIGIBLE) > MAX_WINDOW:
        return f"betas=({beta1}, {beta2}) let the momentum decay more slowly than its scale (beta1 must be well below sqrt(beta2))"
    if eps < 1e-30:
        return f"eps={eps} is too small: the update of a row without any gradient would be 0/0"
    window = max(2, math.ceil(_window(beta1, beta2, TAIL)))
    if _nodes_needed(_interval(np.array([0]), beta2, window)[1])[0] > NODE_COUNTS[-1]:
        return f"betas=({beta1}, {beta2}) let the scale change too fast for the interpolation"
    return None


def _window(beta1: float, beta2: float, factor: float) -> float:
    """Number of steps in which the momentum, relative to sqrt(v), shrinks by ``factor``."""
    ratio = max(beta1, 1e-9) / math.sqrt(beta2)
    return math.log(factor) / math.log(ratio) if ratio < 1 else math.inf


@dataclass
class Sums:
    """The tables that kernels read, indexed by ``t - start`` (``power`` by the number of steps missed)."""

    weight: Any  # (T, n) W
    shift: Any  # (T, n) E = eps * d
    n_node: Any  # (T,)
    ratio: Any  # (T,) product of beta1 / sqrt(beta2) since t
    log_decay: Any  # (T,) log A
    power: Any  # (T,) beta2 ** k


@dataclass
class _Nodes:
    """The interval of u for each t: ``middle + half * x`` with x in [-1, 1]."""

    middle: Array
    half: Array


@dataclass
class MissedSteps:
    """The running sums of one table since step ``start``, at which all its rows were up to date.

    Args:
        start: the step at which all rows were up to date.
        beta1: the largest expected beta1; :meth:`accepts` tells whether a step can be appended.
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
        expected = max(self.beta1, 0.95) if self.beta2 >= 0.99 else self.beta1  # schedules such as OneCycleLR raise beta1 to 0.95
        self.largest_beta1 = self.beta1 if why_not(expected, self.beta2, self.eps) else expected
        self.window = max(2, math.ceil(_window(self.largest_beta1, self.beta2, TAIL)))
        self.sums, self.nodes = self._allocate(256)
        self._device_sums: Sums | None = None

    def accepts(self, beta1: float, beta2: float, eps: float) -> bool:
        """Whether a step with these constants can be appended; if not, bring all rows up to date and start new sums."""
        return beta1 <= self.largest_beta1 and beta2 == self.beta2 and eps == self.eps

    def append(self, lr: float, beta1: float, decay: float = 1.0) -> None:
        """Add one step with learning rate ``lr`` and first-moment decay ``beta1``, in which weights are multiplied by ``decay``."""
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
        self._drop_negligible(end)

    def _add(self, mass: Array, x: Array, end: int) -> None:
        """``W += mass * l(x)`` for the t in the window, one range of equal numbers of nodes at a time."""
        n_node = self.sums.n_node[self.first : end]
        changes = (np.flatnonzero(np.diff(n_node)) + 1).tolist() if n_node[0] != n_node[-1] else []
        bounds = [0, *changes, len(n_node)]
        for low, high in pairwise(bounds):
            n = int(n_node[low])
            self.sums.weight[self.first + low : self.first + high, :n] += mass[low:high, None] * _lagrange(x[low:high], n)

    def _drop_negligible(self, end: int) -> None:
        """Remove from the window the steps whose momentum has become negligible."""
        previous_first = self.first
        while self.first < end and self.sums.ratio[self.first] < NEGLIGIBLE:
            self.first += 1
        self.sums.ratio[previous_first : self.first] = 0.0

    def _allocate(self, n_step: int) -> tuple[Sums, _Nodes]:
        """Zero sums for ``n_step`` steps."""
        nodes = _Nodes(*_interval(self.start + np.arange(n_step), self.beta2, self.window))
        level = np.searchsorted(np.array(NODE_COUNTS), _nodes_needed(nodes.half)).clip(max=len(NODE_COUNTS) - 1)
        n_node = np.array(NODE_COUNTS, dtype=np.int32)[level]
        if self.start == 0:
            n_node[0] = NODE_COUNTS[0]  # rows that were never trained have no momentum, so their sum is 0
        width = int(n_node.max())
        shift = np.zeros((n_step, width))
        for n in set(n_node.tolist()):
            at = n_node == n
            shift[at, :n] = self.eps * np.exp(nodes.middle[at, None] + nodes.half[at, None] * _chebyshev_nodes(n))
        shift[shift == 0.0] = 1.0  # W is 0 there; this avoids 0/0
        power = self.beta2 ** np.arange(n_step, dtype=np.float64)
        power[power < 1e-30] = 0.0  # smaller factors give denormal float32 numbers, which are slow
        sums = Sums(np.zeros((n_step, width)), shift, n_node, np.ones(n_step), np.zeros(n_step), power)
        return sums, nodes

    def _grow(self) -> None:
        """Allocate sums for twice as many steps."""
        old, n = self.sums, len(self.sums.ratio)
        self.sums, self.nodes = self._allocate(2 * n)
        for name in ("weight", "ratio", "log_decay"):
            getattr(self.sums, name)[:n] = getattr(old, name)
        self._device_sums = None

    def sums_on(self, device: torch.device) -> Sums:
        """The sums as tensors: on the CPU with shared memory, on another device a copy in which only the changed part is renewed."""
        on_cpu = Sums(**{name: torch.from_numpy(table) for name, table in vars(self.sums).items()})
        if device.type == "cpu":
            return on_cpu
        if self._device_sums is None or self._device_sums.ratio.device != device:
            self._device_sums = Sums(**{name: table.to(device) for name, table in vars(on_cpu).items()})
            self._copied_at = self.first, self.now
        since, step = self._copied_at
        if step != self.now:
            for name in ("weight", "ratio", "log_decay"):
                changed = slice(since, self.now - self.start + 1)
                getattr(self._device_sums, name)[changed].copy_(getattr(on_cpu, name)[changed], non_blocking=True)
            self._copied_at = self.first, self.now
        return self._device_sums

    def one_row(self, t: int, w: float, m: float, v: float) -> tuple[float, float, float]:
        """One coordinate that was up to date at step ``t``, brought up to date in float64: the formula without vectorisation, for tests."""
        sums, at = self.sums, t - self.start
        moved = m * (sums.weight[at] / (math.sqrt(v) + sums.shift[at])).sum()
        power = sums.power[self.now - t]
        decay = math.exp(sums.log_decay[self.now - self.start] - sums.log_decay[at])
        return float(decay * (w - moved)), float(m * sums.ratio[at] * math.sqrt(power)), float(v * power)

    def state_dict(self) -> dict[str, Any]:
        """Copies of everything that cannot be computed from the constants."""
        n = self.now - self.start + 1
        tables = {name: torch.from_numpy(getattr(self.sums, name)[:n].copy()) for name in ("weight", "ratio", "log_decay")}
        numbers = {name: getattr(self, name) for name in ("start", "beta1", "beta2", "eps", "now", "first", "decays")}
        return {**numbers, **tables}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MissedSteps:
        """The sums that :meth:`state_dict` describes."""
        missed = cls(state["start"], state["beta1"], state["beta2"], state["eps"])
        while state["now"] - state["start"] + 1 > len(missed.sums.ratio):
            missed._grow()
        for name in ("weight", "ratio", "log_decay"):
            table: Tensor = state[name]
            getattr(missed.sums, name)[: len(table)] = table.cpu().numpy()
        missed.now, missed.first, missed.decays = state["now"], state["first"], state["decays"]
        return missed


def _interval(t: NDArray[np.int64], beta2: float, window: int) -> tuple[Array, Array]:
    """Middle and half width of the interval of u = log d over the ``window`` steps after each ``t``."""
    log_beta2 = math.log(beta2)
    low = 0.5 * np.log(-np.expm1((t + 1) * log_beta2)) - 0.5 * log_beta2
    high = 0.5 * np.log(-np.expm1((t + window) * log_beta2)) - 0.5 * log_beta2 * window
    return (low + high) / 2, (high - low) / 2


def _nodes_needed(half: Array) -> Array:
    """Number of nodes for intervals of half width ``half``: the error is about rho^-n, where rho follows from the nearest pole at pi."""
    y = math.pi / half
    rho = y + np.sqrt(1 + y * y)
    return np.log(4 / (rho - 1) / TOLERANCE) / np.log(rho)


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
    """The matrix ``(n, n)`` that maps the Chebyshev polynomials T_k(x) to the Lagrange polynomials l_i(x)."""
    at_nodes = np.cos(np.arange(n)[:, None] * np.arccos(_chebyshev_nodes(n)))  # (k, i)
    at_nodes[1:] *= 2
    return at_nodes / n
