"""The gradient of one optimizer step: summed over batches, terms and processes, balanced between terms, clipped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.basic.loss_func import RegularizationLoss
from torch_rechub.engine.exchange import Exchange
from torch_rechub.engine.objective import Loss, Objective
from torch_rechub.optim.clip import clip_grad_norm_
from torch_rechub.optim.rows import coalesced

__all__ = ["Gradients"]

PENALTY = "penalty of the regularization"  #: its gradient is added after balancing


class Gradients:
    """Collects the gradients of the batches of a step in ``.grad``.

    Without a balancer each batch is one backward pass through its loss. With one (``objective.balance``), each term's gradient of every
    parameter is computed by itself; the balancer combines those of the shared parameters, and all other parameters get the gradient of
    the loss.

    Args:
        objective: whose parameters are trained.
        exchange: the sums over processes.
        clip_norm: largest 2-norm of all gradients together; None does not clip.
    """

    def __init__(self, objective: Objective, exchange: Exchange, clip_norm: float | None = None) -> None:
        self.objective, self.exchange, self.clip_norm = objective, exchange, clip_norm
        self._balance_fn: Any = getattr(objective, "balance", None)
        self._by_term: dict[str, dict[str, Tensor]] = {}

    @property
    def several_passes(self) -> bool:
        """Whether each batch takes several backward passes through one graph."""
        return self._balance_fn is not None

    def begin(self) -> None:
        """Before the first batch of a step."""
        self._by_term = {}

    def add(self, loss: Loss) -> None:
        """Add the gradient of one batch."""
        if self._balance_fn is not None:
            parts = dict(loss.terms) if loss.penalty is None else {**loss.terms, PENALTY: loss.penalty}
            for term, value in parts.items():
                self._add_term(term, value)
        differentiate(loss.value)

    def _add_term(self, term: str, value: Tensor) -> None:
        named = self._trained()
        parts: Any = torch.autograd.grad(value, list(named.values()), retain_graph=True, allow_unused=True)
        gradients = self._by_term.setdefault(term, {})
        for name, part in zip(named, parts, strict=True):
            if part is not None:
                gradients[name] = part if name not in gradients else gradients[name] + part

    def finish(self, losses: Mapping[str, Tensor]) -> None:
        """Sum the gradients over all processes, balance and clip them.

        Args:
            losses: each term of the step, summed over batches and processes.
        """
        named = self._trained()
        parameters = list(named.values())
        summed = self.exchange.sum_gradients(parameters, [parameter.grad for parameter in parameters])
        for parameter, gradient in zip(parameters, summed, strict=True):
            parameter.grad = gradient
        if self._balance_fn is not None:
            self._balance(named, losses)
        self.exchange.look_up_rows()
        if isinstance(self.objective.regularization, RegularizationLoss):
            self.objective.regularization.add_row_gradients(self.objective.model)
        if self.clip_norm is not None:
            clip_grad_norm_(self.objective.parameters(), self.clip_norm)

    def _balance(self, named: Mapping[str, nn.Parameter], losses: Mapping[str, Tensor]) -> None:
        """Replace the gradients of the shared parameters by the balancer's combination of the terms' gradients."""
        names, parameters = list(named), list(named.values())
        by_term: dict[str, list[Tensor | None]] = {}
        for term in (*losses, PENALTY):
            by_term[term] = self.exchange.sum_gradients(parameters, [self._by_term.get(term, {}).get(name) for name in names])
        gradients: dict[str, dict[str, Tensor]] = {term: {} for term in losses}
        rows: dict[str, Tensor] = {}  # of the tables in row mode
        for i, name in enumerate(names):
            parts = {term: part for term in losses if (part := by_term[term][i]) is not None}
            if len(parts) > 1:
                aligned, common_rows = _aligned(parts, parameters[i], losses)
                for term, gradient in aligned.items():
                    gradients[term][name] = gradient
                if common_rows is not None:
                    rows[name] = common_rows
        for name, gradient in self._balance_fn(gradients, losses).items():
            combined = _sparse(rows[name], gradient, named[name]) if name in rows else gradient
            penalty = by_term[PENALTY][names.index(name)]
            named[name].grad = combined if penalty is None else combined + penalty

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.objective.named_parameters() if parameter.requires_grad}


def _aligned(parts: Mapping[str, Tensor], parameter: Tensor, terms: Iterable[str]) -> tuple[dict[str, Tensor], Tensor | None]:
    """The terms' gradients of one parameter as dense tensors of one shape; of a table in row mode, their common rows beside."""
    if not all(part.is_sparse for part in parts.values()):
        dense = {term: part.to_dense() if part.is_sparse else part for term, part in parts.items()}
        return {term: dense[term] if term in dense else torch.zeros_like(parameter) for term in terms}, None
    by_rows = {term: coalesced(part) for term, part in parts.items()}
    rows = torch.cat([rows for rows, _ in by_rows.values()]).unique()
    aligned: dict[str, Tensor] = {}
    for term in terms:
        aligned[term] = parameter.new_zeros(len(rows), *parameter.shape[1:])
        if term in by_rows:
            own_rows, values = by_rows[term]
            aligned[term].index_copy_(0, torch.searchsorted(rows, own_rows), values)
    return aligned, rows


def _sparse(rows: Tensor, values: Tensor, like: Tensor) -> Tensor:
    return torch.sparse_coo_tensor(rows[None], values, like.shape, is_coalesced=True, check_invariants=False)


def differentiate(loss: Tensor) -> None:
    """Add the gradient of a loss to the gradients of the weights.

    Raises:
        ValueError: when it depends on no weight.
    """
    if not loss.requires_grad:
        raise ValueError(
            "The loss depends on no weight that is trained: the predictions carry no gradient. Leave detach(), no_grad() and .data out of "
            "the model's forward and of the criterion."
        )
    loss.backward()
