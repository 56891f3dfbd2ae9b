"""NaN and infinities in a loss or gradient: the step is skipped, counted, and its batch is written to a file."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torch_rechub.arguments import named_arguments, whole_number
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.snapshot import copy_weights
from torch_rechub.basic.callback.training import Training
from torch_rechub.storage import NATURAL, check_shape, make_folder, write_file
from torch_rechub.torch_private import foreach_norm, sparse_values

__all__ = ["NonFiniteGuard"]

logger = logging.getLogger(__name__)
Action = Literal["skip", "rollback", "stop"]

SAVED = {
    **{"count": NATURAL, "last_bad": NATURAL, "in_a_row": NATURAL},
    **{"pending": (None, list), "to_roll_back": bool, "copy_due": bool, "good": dict},
}


@named_arguments
class NonFiniteGuard(Callback):
    """Prevents an optimizer step with a NaN or infinite loss or gradient from changing the weights.

    On the CPU the step is skipped: weights and moments keep their bits. On a GPU the test runs on the device and its result is read after
    the next step was queued, so that nothing waits: the gradients of a bad step are set to zero. Plain SGD then changes no weight; Adam
    continues by its momentum, as in any step with a zero gradient. In both cases the statistics of batch norm and the recorded mean loss
    do not contain the bad batch, and the step counts as one. The history's ``nonfinite`` is the number of bad steps so far.

    The batch is written to ``model_path/nonfinite/step-<n>.safetensors``: columns ``x.<name>``, ``y``, ``weight``.

    Args:
        action: "skip" continues; "rollback" also restores the weights and the optimizer state of the last validation (the last epoch
            where there is no validation), of which it keeps a copy on the CPU, and multiplies the learning rate by ``factor``; "stop"
            ends the run.
        factor: of the rate at each rollback, in (0, 1].
        limit: number of bad steps in a row that ends the run, with any action.
        n_file: number of batches written at most.
        late: read the result one step later, without waiting for the device; None does so everywhere but on the CPU.

    Raises:
        ValueError: when an argument has another type or is out of its range.

    Example:
        >>> NonFiniteGuard("rollback", factor=0.1)
        NonFiniteGuard('rollback')
    """

    free_settings = frozenset({"n_file"})

    def __init__(
        self, action: Action = "skip", *, factor: float = 0.5, limit: int = 10, n_file: int = 10, late: bool | None = None
    ) -> None:
        if action not in get_args(Action):
            raise ValueError(f"NonFiniteGuard: action must be one of {list(get_args(Action))}; got {action!r}.")
        if not 0 < factor <= 1:
            raise ValueError(f"NonFiniteGuard: factor must be above 0 and at most 1; got {factor!r}.")
        limit, n_file = whole_number("NonFiniteGuard: limit", limit), whole_number("NonFiniteGuard: n_file", n_file, least=0)
        self.action, self.factor, self.limit, self.n_file, self.late = action, factor, limit, n_file, late
        self._reset()

    def _reset(self) -> None:
        self.count = 0  # bad steps
        self._last_bad, self._in_a_row = 0, 0
        self._pending: tuple[_Flag, int, list[Any]] | None = None  # a step whose result is not read yet
        self._batches: list[Any] = []  # of the present step
        self._losses: list[Tensor] = []
        self._before: dict[str, Tensor] = {}
        self._to_roll_back = False
        self._copy_due = self.action == "rollback"
        self._good: dict[str, Any] = {}

    def on_fit_begin(self, trainer: Training) -> None:
        self._reset()

    def on_batch_begin(self, trainer: Training) -> None:
        if self._batches:  # within an accumulated step
            return
        self._roll_back(trainer)
        if self._copy_due:
            self._copy_due = False
            weights = copy_weights(trainer.weights(), into=self._good.get("weights"))
            self._good = {"weights": weights, "optimizer": _on_cpu(trainer.optimizer.state_dict()["state"])}
        self._before = {name: tensor.clone() for name, tensor in _moving(trainer).items()}

    def on_backward_end(self, trainer: Training) -> None:
        self._read(trainer)
        state = trainer.state
        assert state.loss is not None
        batches, losses = [*self._batches, state.current_batch], [*self._losses, state.loss]
        grads = [_values(p.grad) for _, p in trainer.named_parameters() if p.grad is not None]
        finite = _all_finite([grad for grad in grads if grad.numel()], losses)
        late = finite.device.type != "cpu" if self.late is None else self.late
        if late:
            for grad in grads:
                grad.masked_fill_(~finite, 0.0)
        elif not finite:
            trainer.optimizer.zero_grad(set_to_none=True)
        if late or not finite:
            for name, tensor in _moving(trainer).items():
                if name in self._before or name.startswith("mean_loss."):  # sums that this step began were 0 before
                    tensor.copy_(torch.where(finite, tensor, self._before.get(name, torch.zeros_like(tensor))))
        self._pending = (_Flag(finite), state.step + 1, batches)
        if not late:
            self._read(trainer)

    def on_batch_end(self, trainer: Training) -> None:
        state = trainer.state
        if not state.stepped:
            assert state.loss is not None
            self._batches.append(state.current_batch)
            self._losses.append(state.loss)
            return
        self._batches, self._losses = [], []
        self._roll_back(trainer)

    def on_record(self, trainer: Training) -> None:
        self._read(trainer)
        trainer.history.update_last(nonfinite=self.count)
        self._copy_due = self.action == "rollback" and not self._to_roll_back  # the weights are good if the last step was

    def on_fit_end(self, trainer: Training) -> None:
        self._read(trainer)
        self._batches, self._losses, self._before, self._good = [], [], {}, {}

    def _read(self, trainer: Training) -> None:
        """Read the result of the pending step."""
        if self._pending is None:
            return
        (flag, step, batches), self._pending = self._pending, None
        if flag.read():
            return
        self.count += 1
        self._in_a_row = self._in_a_row + 1 if step == self._last_bad + 1 else 1
        self._last_bad = step
        what = f"the loss or a gradient was not finite at step {step}"
        logger.warning("%s: %s", what, {"skip": "the step is skipped", "rollback": "rolling back", "stop": "stopping"}[self.action])
        self._write(trainer, step, batches)
        self._to_roll_back = self.action == "rollback"
        if self.action == "stop":
            trainer.request_stop(what)
        elif self._in_a_row >= self.limit:
            trainer.request_stop(f"{what}, as in all of the last {self._in_a_row}")

    def _roll_back(self, trainer: Training) -> None:
        """Roll back where a bad step was read: between two steps, when the model holds the training weights."""
        if not self._to_roll_back:
            return
        self._to_roll_back = False
        groups = trainer.optimizer.state_dict()["param_groups"]
        trainer.optimizer.load_state_dict({"state": copy.deepcopy(self._good["optimizer"]), "param_groups": groups})
        trainer.load_weights(self._good["weights"])
        trainer.scale_rate(self.factor)

    def _write(self, trainer: Training, step: int, batches: list[Any]) -> None:
        if trainer.output_folder is None or self.count > self.n_file or not batches:
            return
        from safetensors.torch import save

        tensors: dict[str, Tensor] = {}
        for i, batch in enumerate(batches):
            prefix = f"{i}." if len(batches) > 1 else ""
            tensors |= {prefix + name: tensor for name, tensor in _named(batch)}
        content = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
        try:
            folder = make_folder(Path(trainer.output_folder) / "nonfinite")
            write_file(folder / f"step-{step:08d}.safetensors", lambda file: file.write(content))
        except OSError as error:
            logger.error("the batch of step %d was not written: %s", step, error)

    def state_dict(self) -> dict[str, Any]:
        pending = None if self._pending is None else [self._pending[0].read(), self._pending[1]]
        numbers = {"count": self.count, "last_bad": self._last_bad, "in_a_row": self._in_a_row, "pending": pending}
        return {**numbers, "to_roll_back": self._to_roll_back, "copy_due": self._copy_due, "good": self._good}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_shape(state, SAVED)
        self.count, self._last_bad, self._in_a_row = state["count"], state["last_bad"], state["in_a_row"]
        self._to_roll_back, self._copy_due, self._good = state["to_roll_back"], state["copy_due"], state["good"]
        pending = state["pending"]
        self._pending = None if pending is None else (_Flag(torch.tensor(pending[0])), pending[1], [])

    def __repr__(self) -> str:
        return f"NonFiniteGuard({self.action!r})"


class _Flag:
    """A truth value that is copied from the device; reading it does not wait for work that was queued later."""

    def __init__(self, value: Tensor) -> None:
        self._event = None
        if value.is_cuda:
            self._value = torch.empty((), dtype=torch.bool, pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            self._value = value

    def read(self) -> bool:
        if self._event is not None:
            self._event.synchronize()
        return bool(self._value)


def _values(grad: Tensor) -> Tensor:
    """The numbers of a gradient; a change of them changes the gradient."""
    return sparse_values(grad) if grad.is_sparse else grad


def _all_finite(grads: list[Tensor], losses: list[Tensor]) -> Tensor:
    """Whether all numbers are finite, ``()`` on their device."""
    largest = foreach_norm(grads, math.inf) if grads else ()
    device = losses[-1].device
    return torch.stack([value.to(device, torch.float32) for value in (*largest, *losses)]).isfinite().all()


def _moving(trainer: Training) -> dict[str, Tensor]:
    """What a training step changes besides weights and gradients: statistics of batch norm, and the sums of the mean loss."""
    buffers = {name: buffer for name, buffer in trainer.named_buffers() if buffer.is_floating_point() or buffer.dim() == 0}
    return buffers | {f"mean_loss.{name}": total for name, total in trainer.loss_sums().items()}


def _on_cpu(tree: Any) -> Any:
    """A deep copy on the CPU of dicts and lists of tensors and plain values."""
    if isinstance(tree, Tensor):
        return tree.detach().cpu().clone() if tree.device.type == "cpu" else tree.detach().cpu()
    if isinstance(tree, Mapping):
        return {key: _on_cpu(value) for key, value in tree.items()}
    return [_on_cpu(value) for value in tree] if isinstance(tree, list) else copy.deepcopy(tree)


def _named(tree: Any, name: str = "") -> list[tuple[str, Tensor]]:
    """The tensors of a batch, named by the keys that lead to them."""
    if isinstance(tree, Tensor):
        return [(name, tree)]
    below: Any = ()
    if isinstance(tree, Mapping):
        below = tree.items()
    elif hasattr(tree, "_asdict"):
        below = tree._asdict().items()
    elif isinstance(tree, list | tuple):
        below = enumerate(tree)
    return [entry for key, value in below for entry in _named(value, f"{name}.{key}" if name else str(key))]
