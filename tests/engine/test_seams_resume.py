"""Tomorrow's tasks, interrupted after every optimizer step and resumed: they end with the bits of a run that was never interrupted."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from comparing import assert_equal, records_of, tensors_of
from tasks import TASKS, loaders_of, trainer_of

from torch_rechub.basic.callback import Callback, Checkpoint


class BreaksAt(Callback):
    """Ends the run within the step after ``step``, as a kill would."""

    part_of_run = False

    def __init__(self, step):
        self.step = step

    def on_backward_end(self, trainer):
        if trainer.state.step == self.step:
            raise ZeroDivisionError


class Killed(Checkpoint):
    """Writes nothing after the run was interrupted."""

    def on_fit_end(self, trainer):
        if trainer.state.failure is None:
            super().on_fit_end(trainer)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_resumes_at_every_step_with_the_same_bits(task, tmp_path):
    """Interrupted after any step and resumed in another process's random states, a run ends with the bits of one never interrupted."""

    def run(folder, *callbacks, resume=None, seed=1):
        trainer = trainer_of(task, folder, val_every=3, callbacks=[*callbacks, Killed(every_n_steps=1)], n_epoch=2)
        for draw in (torch.manual_seed, np.random.seed, random.seed):
            draw(seed)
        trainer.fit(*loaders_of(task), resume=resume)
        return trainer

    whole = run(tmp_path / "whole")
    for step in range(1, whole.state.step):
        with pytest.raises(ZeroDivisionError):
            run(tmp_path / str(step), BreaksAt(step))
        resumed = run(tmp_path / str(step), resume="auto", seed=100 + step)
        assert resumed.resumed
        assert_equal(tensors_of(resumed), tensors_of(whole))
        assert records_of(resumed) == records_of(whole)
        assert resumed.early_stopper.decisions == whole.early_stopper.decisions
