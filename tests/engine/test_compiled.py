"""Compiled objectives whose backward pass or loss is not the ordinary one agree with those that are not compiled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import FEATURES, batches, trainer_of
from tasks import loaders_of
from tasks import trainer_of as task_trainer
from test_losses import Logits
from torch import nn


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("task", ["GradNorm", "MetaBalance", "PCGrad"])
def test_a_balancer_trains_compiled(task):
    """A compiled graph is walked backward once for each term; results agree with those of an uncompiled run."""
    trainers = [task_trainer(task, compile=compiled, n_epoch=1) for compiled in (False, True)]
    for trainer in trainers:
        trainer.fit(*loaders_of(task))
    np.testing.assert_allclose(trainers[1].history["loss"], trainers[0].history["loss"], rtol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_without_logits_trains_with_a_criterion_of_logits():
    """What the first batch decides is the same in a compiled objective."""
    trainers = []
    for compiled in (False, True):
        torch.manual_seed(0)
        trainers.append(trainer_of(Logits(FEATURES, FEATURES, {"dims": [8]}), compile=compiled))
        trainers[-1].criterion = nn.BCEWithLogitsLoss()
        trainers[-1].fit(batches())
    np.testing.assert_allclose(trainers[1].history["loss"], trainers[0].history["loss"], rtol=1e-5)
