"""Learning-rate schedules: any scheduler of torch, stepped at its own interval, with an optional warm-up before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from torch.optim import Optimizer, lr_scheduler

from torch_rechub.arguments import named_arguments, optional_name
from torch_rechub.basic.callback.base import Callback
from torch_rechub.basic.callback.schedules import GroupOf, Interval, SchedulerRecipe, Schedulers, WarmUp, scale_scheduler
from torch_rechub.basic.callback.training import Training
from torch_rechub.storage import NATURAL, REAL, UnexpectedContentError, check_like, check_shape

__all__ = ["Interval", "LearningRate"]


@named_arguments
class LearningRate(Callback):
    """Creates a scheduler for the trainer's optimizer and steps it.

    ``OneCycleLR`` and ``CyclicLR`` step per optimizer step, ``ReduceLROnPlateau`` per validation, all others per epoch.
    ``ReduceLROnPlateau`` monitors the trainer's metric and takes its direction from it (torch's default, "min", would lower the rate while
    AUC rises). ``OneCycleLR`` without ``total_steps`` takes it from the loader.

    **Warm-up** precedes any of them: the rate rises linearly to the scheduler's first rate, and the scheduler does not step before an
    epoch, validation or step has passed at the full rate (Goyal et al. 2017, see :class:`WarmUp`). **Embeddings and dense weights** may
    have separate schedules: give a dict of ``(scheduler_fn, scheduler_params)`` with the keys "embedding" and "dense", and the trainer
    makes these two parameter groups. A part that is left out keeps its rate. Records then have ``lr_embedding`` and ``lr_dense``.

    Args:
        scheduler_fn: a class of ``torch.optim.lr_scheduler``, or any function of the optimizer that returns a scheduler; a dict as above;
            None keeps the rate constant (after a warm-up).
        scheduler_params: its arguments after the optimizer.
        interval: "step", "validation" or "epoch" in place of the interval above; "check" is an old name of "validation".
        monitor: the metric of a plateau; by default the trainer's.
        warmup: optimizer steps, "500 steps" or "1 epoch"; 0 is none.
        warmup_start: the first step's part of the full rate, in [0, 1].
        then_stop: with ``ReduceLROnPlateau``, stop when the metric is on a plateau again after so many reductions of the rate (all in the
            run together; one that ``min_lr`` prevents counts as well).

    Raises:
        TypeError, ValueError: when the scheduler cannot be created, or its mode contradicts the monitored metric.

    Example:
        >>> LearningRate(lr_scheduler.ReduceLROnPlateau, {"factor": 0.1, "patience": 0}, warmup="1 epoch", then_stop=2)
        LearningRate(ReduceLROnPlateau, {'factor': 0.1, 'patience': 0}, warmup='1 epoch', then_stop=2)
        >>> LearningRate({"embedding": (lr_scheduler.ExponentialLR, {"gamma": 0.5}), "dense": (lr_scheduler.StepLR, {"step_size": 2})})
        LearningRate(embedding=LearningRate(ExponentialLR, {'gamma': 0.5}), dense=LearningRate(StepLR, {'step_size': 2}))
    """

    def __init__(
        self,
        scheduler_fn: Callable[..., Any] | Mapping[str, Any] | None = None,
        scheduler_params: Mapping[str, Any] | None = None,
        *,
        interval: Interval | Literal["check"] | None = None,
        monitor: str | None = None,
        warmup: int | str = 0,
        warmup_start: float = 0.1,
        then_stop: int | None = None,
    ) -> None:
        interval = "validation" if interval == "check" else interval
        if interval is not None and interval not in get_args(Interval):
            raise ValueError(f"scheduler_interval must be one of {list(get_args(Interval))}; got {interval!r}.")
        optional_name("LearningRate: monitor", monitor)
        self.parts: dict[str, LearningRate] = {}
        if isinstance(scheduler_fn, Mapping):
            rest: dict[str, Any] = {"interval": interval, "monitor": monitor, "warmup": warmup, "warmup_start": warmup_start}
            self.parts = _parts(scheduler_fn, {**rest, "then_stop": then_stop})
            scheduler_fn = None
        self.recipe = SchedulerRecipe(scheduler_fn, scheduler_params)
        self.given_interval: Interval | None = interval
        self.monitor = monitor
        self.warm_up = WarmUp(warmup, warmup_start)
        self.then_stop = then_stop
        self.scheduler: Any = None
        self._optimizer: Any = None
        self._restart()
        plateau = self.recipe.is_plateau
        if interval == "step" and plateau:
            raise ValueError(
                "ReduceLROnPlateau needs the metric of a validation: scheduler_interval must be 'validation' or 'epoch'; got 'step'."
            )
        if then_stop is not None and not self.parts and (not plateau or isinstance(then_stop, bool) or then_stop < 1):
            raise ValueError(f"then_stop must be a number of reductions >= 1 by ReduceLROnPlateau; got {then_stop!r} with {self!r}.")

    def _restart(self) -> None:
        self._warmed = 0  # optimizer steps of the warm-up; one more when it is over
        self._targets: list[float] = []  # the full rate of each group
        self._n_reduced = 0  # plateaus seen

    @property
    def interval(self) -> Interval:
        """When the scheduler steps."""
        return self.given_interval or self.recipe.interval_of(self.scheduler)

    def needs_length(self) -> bool:
        """Whether the scheduler must be told the number of steps of the whole run."""
        return any(part.needs_length() for part in self.parts.values()) or self.recipe.needs_length

    def make(self, optimizer: Optimizer, direction: Literal["max", "min"], n_step: int | None = None) -> Any:
        """The scheduler for ``optimizer``."""
        if self.parts:
            return Schedulers({name: part.make(GroupOf(optimizer, name), direction, n_step) for name, part in self.parts.items()})
        return self.recipe.make(optimizer, direction, n_step)

    def prepare(self, optimizer: Optimizer, direction: Literal["max", "min"]) -> None:
        """Create the scheduler for a new optimizer, unless the number of steps must be known first."""
        self.scheduler = None if self.needs_length() else self.make(optimizer, direction)

    def check_settings(self, trainer: Training, validates: bool) -> None:
        for part in self.parts.values():
            part.check_settings(trainer, validates)
        if self.parts:
            return
        direction = trainer.direction(self.monitor)
        plateau = self.recipe.is_plateau or isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau)
        if plateau and not validates:
            raise ValueError("ReduceLROnPlateau needs a validation metric: give fit a validation loader, or use another scheduler.")
        if plateau:
            self.recipe.check_direction(self.scheduler, direction)

    def on_fit_begin(self, trainer: Training) -> None:
        self._begin(trainer, trainer.optimizer, self.scheduler)

    def _begin(self, trainer: Training, optimizer: Any, scheduler: Any) -> None:
        """Use the scheduler that was created with the optimizer, or create one now that the run's length is known."""
        self._restart()
        self._optimizer, self.scheduler = optimizer, scheduler
        if self.parts:
            for name, part in self.parts.items():
                part._begin(trainer, GroupOf(optimizer, name), scheduler.schedulers[name] if isinstance(scheduler, Schedulers) else None)
            self.scheduler = Schedulers({name: part.scheduler for name, part in self.parts.items()})
            return
        self.warm_up.begin(trainer.steps_per_epoch)
        direction = trainer.direction(self.monitor)
        plateau = self.recipe.is_plateau or isinstance(scheduler, lr_scheduler.ReduceLROnPlateau)
        if not _is_for(scheduler, optimizer) or (plateau and scheduler.mode != direction):  # an evaluate_fn was assigned
            self.scheduler = self.make(optimizer, direction, self._n_step(trainer))
        self.recipe.check_cycle(self.scheduler, self._n_step(trainer))
        self._targets = [float(group["lr"]) for group in optimizer.param_groups]
        if self.warm_up.n_step:
            self._set_rates()

    def _n_step(self, trainer: Training) -> int | None:
        """How often the scheduler will step in the whole run, where that is known."""
        if self.interval == "step" or self.given_interval is None:
            return None if trainer.total_steps is None else trainer.total_steps - self.warm_up.n_step
        if self.interval == "validation":
            return None
        return trainer.n_epoch - (self.warm_up.n_step // (trainer.steps_per_epoch or 1) if self.warm_up.n_step else 0)

    def _set_rates(self) -> None:
        for group, target in zip(self._optimizer.param_groups, self._targets, strict=True):
            group["lr"] = target * self.warm_up.factor(self._warmed)

    def on_batch_end(self, trainer: Training) -> None:
        for part in self.parts.values():
            part.on_batch_end(trainer)
        if self.parts or not trainer.state.stepped:
            return
        n_step = self.warm_up.n_step
        if self._warmed < n_step:
            self._warmed += 1
            self._set_rates()
            return
        self._warmed = n_step + 1
        if self.interval == "step":
            self._step(trainer)

    def on_validation_end(self, trainer: Training) -> None:
        self._end_of("validation", trainer)

    def on_epoch_end(self, trainer: Training) -> None:
        self._end_of("epoch", trainer)

    def _end_of(self, interval: Interval, trainer: Training) -> None:
        """Step the schedulers of this interval, and add each part's rate to the latest record."""
        for name, part in self.parts.items():
            if (interval == "validation") == trainer.validates:
                trainer.history.update_last(**{f"lr_{name}": float(part._optimizer.param_groups[0]["lr"])})
            part._end_of(interval, trainer)
        if not self.parts and self.interval == interval and self._warmed > self.warm_up.n_step:
            self._step(trainer)

    def _step(self, trainer: Training) -> None:
        if not isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step()
            return
        best, n_bad, in_cooldown = self.scheduler.best, self.scheduler.num_bad_epochs, self.scheduler.in_cooldown
        self.scheduler.step(trainer.state.metrics[self.monitor or trainer.monitor])
        on_plateau = self.scheduler.best == best and not in_cooldown and n_bad + 1 > self.scheduler.patience
        self._n_reduced += on_plateau
        if self.then_stop is not None and self._n_reduced > self.then_stop:
            trainer.request_stop(f"no improvement after the learning rate was lowered {self.then_stop} times")

    def scale(self, factor: float) -> None:
        """Multiply all future rates of the schedule by ``factor``; the present rate is the optimizer's."""
        for part in self.parts.values():
            part.scale(factor)
        if not self.parts and self.scheduler is not None:
            self._targets = [target * factor for target in self._targets]
            for group in self._optimizer.param_groups:
                group.update({key: group[key] * factor for key in ("initial_lr", "max_lr", "min_lr") if key in group})
            scale_scheduler(self.scheduler, factor)

    def settings(self, trainer: Training) -> dict[str, Any]:
        """The arguments, with the interval as the scheduler gives it; the number of steps where the schedule was made for it."""
        if self.parts:
            return {f"{setting} ({name})": value for name, part in self.parts.items() for setting, value in part.settings(trainer).items()}
        default = "step" if self.needs_length() else self.recipe.interval_of(self.scheduler)
        params = {**self.recipe.params, **getattr(self.recipe.fn, "initial", {})}  # of a scheduler that was assigned
        resolved = {"scheduler_params": params, "interval": self.given_interval or default}
        total = {"total steps": trainer.total_steps} if self.needs_length() else {}
        return {**super().settings(trainer), **resolved, **total}

    def state_dict(self) -> dict[str, Any]:
        if self.parts:
            return {name: part.state_dict() for name, part in self.parts.items()}
        if self.scheduler is None:
            return {}
        warm_up = {"warmed": self._warmed, "targets": list(self._targets)}
        return {"scheduler": self.scheduler.state_dict(), **warm_up, "n_reduced": self._n_reduced}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        if state and not self.parts:
            check_shape(state, {"scheduler": dict, "warmed": NATURAL, "targets": [REAL], "n_reduced": NATURAL})
            of_torch = type(self.scheduler).__module__.startswith("torch.optim")
            check_like(state["scheduler"], self.scheduler.state_dict(), "scheduler", lengths=of_torch)
            if self._targets and len(state["targets"]) != len(self._targets):
                raise UnexpectedContentError(f"'targets' must hold {len(self._targets)} rates; it holds {len(state['targets'])}")
            self.scheduler.load_state_dict(state["scheduler"])
            self._warmed, self._targets, self._n_reduced = state["warmed"], list(state["targets"]), state["n_reduced"]

    def __repr__(self) -> str:
        if self.parts:
            return f"LearningRate({', '.join(f'{name}={part!r}' for name, part in self.parts.items())})"
        shown = {"warmup": self.warm_up.given, "then_stop": self.then_stop}
        rest = "".join(f", {name}={value!r}" for name, value in shown.items() if value)
        return f"LearningRate({self.recipe}{rest})"


def _parts(given: Mapping[str, Any], rest: Mapping[str, Any]) -> dict[str, LearningRate]:
    """A schedule for each named group of parameters."""
    parts: dict[str, LearningRate] = {}
    for name, part in given.items():
        if name not in {"embedding", "dense"}:
            raise ValueError(f"LearningRate: separate schedules are for 'embedding' and 'dense'; got {name!r}.")
        fn, params = part if isinstance(part, tuple | list) else (part, None)
        options = dict(rest)
        if not SchedulerRecipe(fn).is_plateau:
            options["then_stop"] = None
        parts[name] = LearningRate(fn, params, **options)
    if rest["then_stop"] is not None and all(part.then_stop is None for part in parts.values()):
        raise ValueError("then_stop counts the reductions of a ReduceLROnPlateau, and none is given.")
    return parts


def _is_for(scheduler: Any, optimizer: Any) -> bool:
    """Whether a scheduler changes the rates of ``optimizer``; it does not where another trainer made it meanwhile."""
    own = getattr(scheduler, "optimizer", optimizer)
    return scheduler is not None and _whole(own) is _whole(optimizer)


def _whole(optimizer: Any) -> Any:
    return optimizer.optimizer if isinstance(optimizer, GroupOf) else optimizer
