"""The optimizers' common part: tables row by row, everything else by torch's own fused implementation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torch_rechub.basic.layers.table import EmbeddingTable, table_of
from torch_rechub.optim.rows import TableRows, coalesced
from torch_rechub.optim.whole import WholeTable

__all__ = ["RowOptimizer"]

Group = dict[str, Any]

_log = logging.getLogger(__name__)


class RowOptimizer(torch.optim.Optimizer):
    """Takes all of a model's parameters; those that belong to an :class:`EmbeddingTable` cost what the batch touches.

    Constructing one attaches it: it becomes the owner of the tables, after the owner before has brought all rows up to date. ``state``
    is what torch's optimizer of the same name keeps, so a state of the one loads into the other.
    """

    rows_class: ClassVar[type[TableRows]]
    fused_on: ClassVar[tuple[str, ...]] = ("cpu", "cuda")  # where torch has a fused implementation
    dense_tables: ClassVar[bool] = True  # whether step_dense does the right thing to a whole table

    def __init__(self, params: ParamsT, defaults: Group, torch_class: type[torch.optim.Optimizer] | None) -> None:
        if isinstance(defaults["lr"], Tensor):
            raise TypeError(f"{type(self).__name__}: lr must be a number; got a tensor. Use lr=float(lr) and let a scheduler change it.")
        self._rows: dict[Tensor, TableRows] = {}
        self._tables: dict[Tensor, EmbeddingTable] = {}
        self._said: set[str] = set()
        self._torch = None if torch_class is None else torch_class([torch.zeros(1)], **defaults)  # it checks the arguments
        self._constructed = False
        super().__init__(params, defaults if self._torch is None else self._torch.defaults)
        self._constructed = True
        self.attach()

    def why_dense(self, group: Group) -> str | None:
        """Why a table cannot be treated row by row with these options and the same mathematics; None where it can."""
        for option in ("amsgrad", "maximize", "differentiable"):
            if group.get(option):
                return f"{option}=True"
        if group.get("weight_decay") and not group.get("decoupled_weight_decay"):
            return f"weight_decay={group['weight_decay']} is coupled: it moves every row at every step (AdamW decouples it)"
        return None

    def add_param_group(self, param_group: Group) -> None:
        """As torch's; tables among the parameters are attached."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            table = table_of(parameter)
            if table is not None and parameter.requires_grad:
                self._tables[parameter] = table
            self.start_state(parameter, self.param_groups[-1])
        if self._constructed:  # torch's constructor calls this method too, before the tables can be attached
            self.attach()

    def start_state(self, parameter: Tensor, group: Group) -> None:
        """The state of a new parameter, where torch's optimizer starts it before the first step."""

    def attach(self) -> None:
        """Own the tables: from here on their gradients hold the batch's rows, and other rows may lag (none where all move)."""
        for group, parameter, table in self._owned():
            reason, kind = self.why_dense(group), self.rows_class
            if reason is not None:
                self._say(reason)
                kind = WholeTable
            if group.get("differentiable"):
                self._release(parameter)
            elif table.owner is None or table.owner is not self._rows.get(parameter) or type(table.owner) is not kind:
                self._own(parameter, table, kind)

    def detach(self) -> None:
        """Bring all rows up to date and let the tables go: any other optimizer can train them. ``attach`` goes on from here."""
        for parameter in list(self._rows):
            self._release(parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step of all parameters that have a gradient."""
        self.attach()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups: list[Group] = []
        for group in self.param_groups:
            with_gradient = [parameter for parameter in group["params"] if parameter.grad is not None]
            dense = [parameter for parameter in with_gradient if not self._step_rows(parameter, group)]
            groups += [{**group, "params": dense}] if dense else []
        try:
            if groups:
                self.step_dense(groups)
        finally:
            for rows in self._rows.values():
                if isinstance(rows, WholeTable):
                    rows.pick_up()
        for group in groups:
            for parameter in group["params"]:
                if parameter in self._rows:
                    self._rows[parameter].stepped_by_torch()
        return loss

    def _step_rows(self, parameter: Tensor, group: Group) -> bool:
        """Step a table whose gradient is sparse; False leaves it to the dense step, all rows up to date."""
        grad, rows = parameter.grad, self._rows.get(parameter)
        assert grad is not None
        if rows is not None and grad.is_sparse:
            rows.follow()
            if isinstance(rows, WholeTable):
                rows.lay_out(*coalesced(grad))
                return False
            rows.step(*coalesced(grad), group)
            return True
        if rows is not None:
            self._say("a loss reads whole tables (embedding_l1 or embedding_l2, perhaps), so that their gradient is dense")
            rows.follow()
            rows.settle()
            if not self.dense_tables:
                rows.step(torch.arange(len(grad), device=grad.device), grad, group)
                return True
        elif grad.is_sparse and parameter in self._tables:
            parameter.grad = grad.to_dense()
        return False

    def step_dense(self, groups: list[Group]) -> None:
        """Step the parameters of ``groups``, which all have dense gradients: by torch's own implementation, fused where it can be."""
        assert self._torch is not None
        for group in groups:
            if group["fused"] is None and not group["foreach"] and not group["differentiable"]:
                group["fused"] = all(p.device.type in self.fused_on and p.is_floating_point() for p in group["params"])
            for parameter in group["params"]:
                self.bring_state(parameter, group["fused"])
        self._torch.param_groups = groups
        self._torch.state = self.state
        self._torch.step()

    def bring_state(self, parameter: Tensor, with_step: bool | None) -> None:
        """Move a parameter's state to where the parameter is."""
        state = self.state[parameter]
        for key, kept in state.items():
            if isinstance(kept, Tensor) and kept.device != parameter.device and (with_step or key != "step"):
                state[key] = kept.to(parameter.device)

    def state_dict(self) -> dict[str, Any]:
        """As torch's, of numbers and tensors only. Rows that lag are stored as they lie, weights included: nothing is brought up to date.

        Load it after the model's own weights; as torch's, it refers to the live tensors.
        """
        state_dict = super().state_dict()
        for number, parameter in enumerate(self._parameters()):
            rows = self._rows.get(parameter)
            if rows is not None and self._tables[parameter].owner is rows and not rows.settled:
                state_dict["state"][number] = {**state_dict["state"][number], "lag": rows.lag()}
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's. A lagging table gets back its weights as they lay, so a run goes on bit for bit."""
        self.detach()
        entries = {number: dict(entry) for number, entry in state_dict["state"].items()}
        lags = {number: entry.pop("lag") for number, entry in entries.items() if "lag" in entry}
        parameters = list(self._parameters())
        for number, entry in entries.items():
            if number < len(parameters) and parameters[number] in self._tables:  # ours are changed in place: not the caller's
                entry.update({key: kept.clone() for key, kept in entry.items() if isinstance(kept, Tensor)})
        super().load_state_dict({**state_dict, "state": entries})
        for number, lag in lags.items():
            parameter = parameters[number]
            if parameter not in self._tables:
                raise ValueError(f"Parameter {number} must be an EmbeddingTable's weight: the state loaded holds rows that lag.")
            self._own(parameter, self._tables[parameter], self.rows_class).restore(lag)
        self.attach()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(f"{type(self).__name__} owns tables and cannot be copied or pickled. Make a new one and load state_dict() into it.")

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]

    def _owned(self) -> Iterator[tuple[Group, Tensor, EmbeddingTable]]:
        """Every table among the parameters, with its group."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter in self._tables:
                    yield group, parameter, self._tables[parameter]

    def _own(self, parameter: Tensor, table: EmbeddingTable, kind: type[TableRows]) -> TableRows:
        self._release(parameter)
        table.settle()
        self._rows[parameter] = kind(table, self.state[parameter])
        self._rows[parameter].take()
        return self._rows[parameter]

    def _release(self, parameter: Tensor) -> None:
        rows = self._rows.pop(parameter, None)
        if rows is not None:
            rows.release()

    def _say(self, reason: str) -> None:
        kind = type(self).__name__
        if kind not in self._said:
            self._said.add(kind)
            _log.info(
                "%s trains embedding tables densely, every row at every step, because %s. Faster on large tables: AdamW with its "
                "decoupled weight_decay, weight_decay=0, Adagrad or RowWiseAdagrad without decay.",
                kind,
                reason,
            )
