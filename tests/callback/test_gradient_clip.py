"""GradientClip gives the gradients of torch's own clipping of dense gradients."""

from __future__ import annotations

import math

import pytest
import torch
import zoo

from torch_rechub.basic.callback import Callback, GradientClip


class Gradients(Callback):
    """Records the dense gradients of each step."""

    def __init__(self):
        self.all = []

    def on_backward_end(self, trainer):
        self.all.append([p.grad.to_dense().clone() for p in trainer.model.parameters() if p.grad is not None])


@pytest.mark.parametrize("options", [{"max_norm": 0.01}, {"max_value": 0.001}, {"max_norm": 0.01, "max_value": 0.001}])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_are_clipped_as_torch_clips_dense_ones(options, accumulate):
    """Each step's gradients, row gradients included, equal those that torch's clipping makes of dense ones."""
    before, after = Gradients(), Gradients()
    trainer = zoo.trainer(callbacks=[before, GradientClip(**options), after], n_epoch=1, accumulate=accumulate)
    trainer.fit(zoo.loaders()[0])
    for given, clipped in zip(before.all, after.all, strict=True):
        parameters = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in given]
        for parameter, grad in zip(parameters, given, strict=True):
            parameter.grad = grad
        if "max_value" in options:
            torch.nn.utils.clip_grad_value_(parameters, options["max_value"])
        if "max_norm" in options:
            torch.nn.utils.clip_grad_norm_(parameters, options["max_norm"])
        for parameter, grad in zip(parameters, clipped, strict=True):
            torch.testing.assert_close(grad, parameter.grad, rtol=1e-5, atol=1e-8)


def test_gradient_clip_by_norm_equals_clip_norm():
    """GradientClip(max_norm) and clip_norm train to the same bits."""
    weights = []
    for options in ({"callbacks": [GradientClip(max_norm=0.01)]}, {"clip_norm": 0.01}):
        trainer = zoo.trainer(**options)
        trainer.fit(zoo.loaders()[0])
        weights.append(trainer.model.state_dict())
    assert zoo.same(*weights)


@pytest.mark.parametrize("options", [{}, {"max_norm": 0}, {"max_value": -1.0}, {"max_norm": math.inf}, {"max_value": math.nan}])
def test_gradient_clip_refuses_bad_bounds(options):
    """A bound must be given, finite and above 0."""
    with pytest.raises(ValueError, match="GradientClip"):
        GradientClip(**options)
