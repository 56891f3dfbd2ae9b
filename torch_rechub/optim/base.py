"""The base class of the optimizers: tables are updated row by row, all other parameters by torch's own fused implementation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from torch_rechub.arguments import named_arguments
from torch_rechub.basic.layers.table import EmbeddingTable, table_of
from torch_rechub.optim.rows import TableRows, coalesced
from torch_rechub.optim.whole import WholeTable

__all__ = ["RowOptimizer"]

Group = dict[str, Any]

_log = logging.getLogger(__name__)


@named_arguments
class RowOptimizer(torch.optim.Optimizer):
    """An optimizer for all parameters of a model; the cost of updating an :class:`EmbeddingTable` depends on the batch, not on its size.

    The constructor attaches the optimizer: it becomes the owner of the tables, after the previous owner has brought all rows up to date.
    ``state`` has the entries of torch's optimizer of the same name, so the state of one loads into the other.
    """

    rows_class: ClassVar[type[TableRows]]
    fused_on: ClassVar[tuple[str, ...]] = ("cpu", "cuda")  # devices on which torch has a fused implementation
    dense_tables: ClassVar[bool] = True  # whether step_dense is correct for a table with a dense gradient

    def __init__(self, params: ParamsT, defaults: Group, torch_class: type[torch.optim.Optimizer] | None) -> None:
        if isinstance(defaults["lr"], Tensor):
            raise TypeError(f"{type(self).__name__}: lr must be a number; got a tensor. Use lr=float(lr); a scheduler can change it.")
        self._rows: dict[Tensor, TableRows] = {}
        self._tables: dict[Tensor, EmbeddingTable] = {}
        self._logged: set[str] = set()
        self._torch = None if torch_class is None else torch_class([torch.zeros(1)], **defaults)  # its constructor checks the arguments
        self._constructed = False
        super().__init__(params, defaults if self._torch is None else self._torch.defaults)
        self._constructed = True
        self.attach()

    def why_dense(self, group: Group) -> str | None:
        """The reason why a table cannot be updated row by row with these options and the same mathematics; None if it can."""
        for option in ("amsgrad", "maximize", "differentiable"):
            if group.get(option):
                return f"{option}=True"
        if group.get("weight_decay") and not group.get("decoupled_weight_decay"):
            return f"weight_decay={group['weight_decay']} is coupled: it changes every row at every step (AdamW decouples it)"
        return None

    def add_param_group(self, param_group: Group) -> None:
        """Add a parameter group, as in torch, and attach the tables among its parameters."""
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            table = table_of(parameter)
            if table is not None and parameter.requires_grad:
                self._tables[parameter] = table
            self.start_state(parameter, self.param_groups[-1])
        if self._constructed:  # torch's constructor calls this method too, before the tables can be attached
            self.attach()

    def start_state(self, parameter: Tensor, group: Group) -> None:
        """Create the state of a new parameter, if torch's optimizer creates it before the first step."""

    def attach(self) -> None:
        """Become the owner of the tables: their gradients then hold the rows of the batch, and other rows may lag."""
        for group, parameter, table in self._tables_with_groups():
            reason, rows_class = self.why_dense(group), self.rows_class
            if reason is not None:
                self._log_dense(reason)
                rows_class = WholeTable
            if group.get("differentiable"):
                self._detach_table(parameter)
            elif table.owner is None or table.owner is not self._rows.get(parameter) or type(table.owner) is not rows_class:
                self._attach_table(parameter, table, rows_class)

    def detach(self) -> None:
        """Bring all rows up to date and give up the tables, so that any other optimizer can train them; :meth:`attach` continues."""
        for parameter in list(self._rows):
            self._detach_table(parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        self.attach()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups: list[Group] = []
        for group in self.param_groups:
            with_gradient = [parameter for parameter in group["params"] if parameter.grad is not None]
            dense = [parameter for parameter in with_gradient if not self._step_rows(parameter, group)]
            groups += _by_layout(group, dense)
        try:
            if groups:
                self.step_dense(groups)
        finally:
            for rows in self._rows.values():
                if isinstance(rows, WholeTable):
                    rows.restore_sparse_grad()
        for group in groups:
            for parameter in group["params"]:
                if parameter in self._rows:
                    self._rows[parameter].after_dense_step()
        return loss

    def _step_rows(self, parameter: Tensor, group: Group) -> bool:
        """Update a table with a sparse gradient and return True; return False, with all rows up to date, if the dense step must do it."""
        grad, rows = parameter.grad, self._rows.get(parameter)
        assert grad is not None
        if rows is not None and grad.is_sparse:
            rows.move_state()
            if isinstance(rows, WholeTable):
                rows.set_dense_grad(*coalesced(grad))
                return False
            rows.step(*coalesced(grad), group)
            return True
        if rows is not None:
            self._log_dense("a loss reads all rows of a table (for example embedding_l1 or embedding_l2), so that their gradient is dense")
            rows.move_state()
            rows.settle()
            if not self.dense_tables:
                rows.step(torch.arange(len(grad), device=grad.device), grad, group)
                return True
        elif grad.is_sparse and (parameter in self._tables or self._torch is None):
            parameter.grad = grad.to_dense()
        return False

    def step_dense(self, groups: list[Group]) -> None:
        """Update the parameters of ``groups``, which all have dense gradients, by torch's own implementation, fused where possible."""
        assert self._torch is not None
        for group in groups:
            if group["fused"] is None and not group["foreach"] and not group["differentiable"]:
                group["fused"] = all(self._can_be_fused(parameter) for parameter in group["params"])
            for parameter in group["params"]:
                self.move_state(parameter, group["fused"])
        self._torch.param_groups = groups
        self._torch.state = self.state
        self._torch.step()

    def _can_be_fused(self, parameter: Tensor) -> bool:
        """Whether torch's fused implementation takes the parameter; it takes no sparse gradient (of ``nn.Embedding(sparse=True)``)."""
        is_sparse = parameter.grad is not None and parameter.grad.is_sparse
        return parameter.device.type in self.fused_on and parameter.is_floating_point() and not is_sparse

    def move_state(self, parameter: Tensor, with_step: bool | None) -> None:
        """Move a parameter's state to the parameter's device."""
        state = self.state[parameter]
        for key, value in state.items():
            if isinstance(value, Tensor) and value.device != parameter.device and (with_step or key != "step"):
                state[key] = value.to(parameter.device)

    def state_dict(self) -> dict[str, Any]:
        """The state as in torch, of numbers and tensors only. Lagging rows are not brought up to date; their weights are stored too.

        Load it after the weights of the model. As in torch, it refers to the live tensors.
        """
        state_dict = super().state_dict()
        for number, parameter in enumerate(self._all_parameters()):
            rows = self._rows.get(parameter)
            if rows is not None and self._tables[parameter].owner is rows and not rows.settled:
                state_dict["state"][number] = {**state_dict["state"][number], "lag": rows.lag_state()}
        return state_dict

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state as in torch. The lagging rows of a table are restored as they were, so that a run continues bit for bit."""
        self.detach()
        entries = {number: dict(entry) for number, entry in state_dict["state"].items()}
        lags = {number: entry.pop("lag") for number, entry in entries.items() if "lag" in entry}
        parameters = list(self._all_parameters())
        for number, entry in entries.items():
            if number < len(parameters) and parameters[number] in self._tables:  # copied, as a table's state changes in place
                entry.update({key: value.clone() for key, value in entry.items() if isinstance(value, Tensor)})
        super().load_state_dict({**state_dict, "state": entries})
        for number, lag in lags.items():
            parameter = parameters[number]
            if parameter not in self._tables:
                raise ValueError(
                    f"Parameter {number} must be an EmbeddingTable's weight, because the loaded state has lagging rows for it. "
                    "Load the state into an optimizer of the same model."
                )
            self._attach_table(parameter, self._tables[parameter], self.rows_class).load_lag_state(lag)
        self.attach()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            f"{type(self).__name__} owns tables and cannot be copied or pickled. Create a new optimizer and load state_dict() into it."
        )

    def _all_parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]

    def _tables_with_groups(self) -> Iterator[tuple[Group, Tensor, EmbeddingTable]]:
        """Every table among the parameters, with its group."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter in self._tables:
                    yield group, parameter, self._tables[parameter]

    def _attach_table(self, parameter: Tensor, table: EmbeddingTable, rows_class: type[TableRows]) -> TableRows:
        self._detach_table(parameter)
        table.settle()
        self._rows[parameter] = rows_class(table, self.state[parameter])
        self._rows[parameter].attach()
        return self._rows[parameter]

    def _detach_table(self, parameter: Tensor) -> None:
        rows = self._rows.pop(parameter, None)
        if rows is not None:
            rows.detach()

    def _log_dense(self, reason: str) -> None:
        """Log once why tables are trained densely."""
        name = type(self).__name__
        if name not in self._logged:
            self._logged.add(name)
            _log.info(
                "%s trains embedding tables densely, every row at every step, because %s. On large tables these are faster: AdamW with "
                "its decoupled weight_decay, weight_decay=0, and Adagrad or RowWiseAdagrad without decay.",
                name,
                reason,
            )


def _by_layout(group: Group, parameters: list[Tensor]) -> list[Group]:
    """``parameters`` of a group as one group with dense gradients and one with sparse gradients, without empty ones."""
    dense = [parameter for parameter in parameters if parameter.grad is None or not parameter.grad.is_sparse]
    sparse = [parameter for parameter in parameters if parameter.grad is not None and parameter.grad.is_sparse]
    return [{**group, "params": part} for part in (dense, sparse) if part]
