"""Laws of how a model trains."""

from __future__ import annotations

import copy
import tempfile
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.basic.callback import Callback
from torch_rechub.basic.features import EmbeddedFeature
from torch_rechub.basic.layers import EmbeddingTable
from torch_rechub.basic.layers.parameters import table_weights
from torch_rechub.optim import Adam
from torch_rechub.testing.law import DoesNotApplyError, Sample, features_of, law, without_dropout
from torch_rechub.trainers import CTRTrainer

__all__: list[str] = []


@law("parameters")
def _parameters(model: nn.Module, sample: Sample) -> None:
    """Every parameter that is trained gets a finite gradient that is not zero, except a bias in front of a normalisation."""
    without_dropout(model).train()((sample.x, sample.y)).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"{name} has no gradient: it takes no part in the prediction"
            assert bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite"
    model.eval().zero_grad()
    model((sample.x, sample.y)).backward()  # a bias in front of a batch norm has a gradient in evaluation
    dead = [name for name, parameter in model.named_parameters() if parameter.grad is not None and not parameter.grad.any()]
    assert not dead, f"the gradient of {dead[0]} is zero: it takes no part in the prediction"


@law("gradients")
def _gradients(model: nn.Module, sample: Sample) -> None:
    """The gradient is the derivative of the loss, by finite differences in float64; the rows of padding ids aside.

    In training it is not where a part of the loss is a constant for its gradient (``stops_gradient``).
    """
    model = without_dropout(model).double()
    with torch.no_grad():  # away from the initial weights, where inputs of ReLUs may be zero
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    x = {name: column.double() if column.is_floating_point() else column for name, column in sample.x.items()}
    for training in (False,) if getattr(model, "stops_gradient", False) else (True, False):
        _compare_with_differences(model.train(training), x, sample.y.double())


def _compare_with_differences(model: nn.Module, x: dict[str, Tensor], y: Tensor, step: float = 1e-6) -> None:
    """Compare the gradient with central differences along one random direction for each parameter."""
    buffers = copy.deepcopy(dict(model.named_buffers()))
    padding = {id(table.weight): table.padding_rows.tolist() for table in model.modules() if isinstance(table, EmbeddingTable)}
    model.zero_grad()
    model((x, y)).backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        direction = torch.randn_like(parameter)
        direction[padding.get(id(parameter), [])] = 0.0
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                for key, buffer in model.named_buffers():
                    buffer.copy_(buffers[key])
                parameter.add_(direction, alpha=sign * step)
                values.append(model((x, y)).item())
                parameter.sub_(direction, alpha=sign * step)
        difference = (values[0] - values[1]) / (2 * step)
        derivative = 0.0 if parameter.grad is None else (parameter.grad * direction).sum().item()  # of another loss, in training only
        error = abs(difference - derivative)
        assert error <= 1e-6 + 1e-4 * abs(derivative), f"{name}: the gradient gives {derivative:.8f}, finite differences {difference:.8f}"


@law("padding rows")
def _padding_rows(model: nn.Module, sample: Sample) -> None:
    """The row of a padding id gets no gradient."""
    owners = {
        f.name: f for f in features_of(model) if isinstance(f, EmbeddedFeature) and f.shared_with is None and f.padding_idx is not None
    }
    if not owners:
        raise DoesNotApplyError("the model has no feature with a padding_idx")
    layer: Any = getattr(model, "embedding", None)
    if layer is None or not hasattr(layer, "table_of"):
        raise DoesNotApplyError("the model has no EmbeddingLayer `embedding`")
    without_dropout(model).train()((sample.x, sample.y)).backward()
    for name, feature in owners.items():
        table = layer.table_of(name)
        gradient = table.weight.grad[table.slices[name]][feature.padding_idx]
        assert not gradient.any(), f"the padding row of {name!r} has a gradient"


@law("row mode")
def _row_mode(model: nn.Module, sample: Sample) -> None:
    """Training by a row-wise optimizer gives the weights of torch's dense one, to rounding."""
    if not table_weights(model):
        raise DoesNotApplyError("the model has no embedding table")
    by_rows, dense = without_dropout(model), copy.deepcopy(model)
    # The gradient of a bias in front of a normalisation is rounding, of which Adam makes large steps unless eps is larger.
    optimizers: list[torch.optim.Optimizer] = [
        Adam(by_rows.parameters(), lr=1e-3, eps=1e-4),
        torch.optim.Adam(dense.parameters(), lr=1e-3, eps=1e-4),
    ]
    for step in range(4):
        part = sample.rows(torch.arange(len(sample.y)).roll(step)[: max(2, len(sample.y) // 2)])
        for one, optimizer in zip((by_rows, dense), optimizers, strict=True):
            optimizer.zero_grad()
            one.train()((part.x, part.y)).backward()
            optimizer.step()
    weights = dense.state_dict()
    for name, value in by_rows.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-2, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}")


@law("mixed precision")
def _mixed_precision(model: nn.Module, sample: Sample) -> None:
    """The trainer trains the model in bfloat16 with a finite loss, and its weights stay float32."""
    trainer = _trainer(model, None, precision="bf16")
    trainer.fit([(sample.x, sample.y)] * 2, [(sample.x, sample.y)])
    assert all(torch.isfinite(torch.tensor(loss)) for loss in trainer.history["loss"]), "the loss is not finite"
    assert {weight.dtype for weight in model.state_dict().values() if weight.is_floating_point()} == {torch.float32}


class _PauseAt(Callback):
    """Pauses the run after a step."""

    part_of_run = False

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, trainer: Any) -> None:
        if trainer.state.step == self.step:
            trainer.request_pause("a law is checked")


@law("resume")
def _resume(model: nn.Module, sample: Sample) -> None:
    """A run that was interrupted and resumed by another process's model ends with the bits of an uninterrupted one."""
    batches = [(part.x, part.y) for part in (sample, sample.rows(torch.arange(len(sample.y)).flip(0)), sample)]
    uninterrupted, interrupted, resumed = copy.deepcopy(model), copy.deepcopy(model), copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as folder:
        for one, callbacks in ((uninterrupted, []), (interrupted, [_PauseAt(2)]), (resumed, [])):
            torch.manual_seed(7 if one is not resumed else 8)
            trainer = _trainer(one, None if one is uninterrupted else folder, callbacks=callbacks)
            trainer.fit(batches, batches[:1], resume=None if one is uninterrupted else "auto")
    expected = uninterrupted.state_dict()
    differing = [name for name, value in resumed.state_dict().items() if not torch.equal(value, expected[name])]
    assert not differing, f"{differing[0]} differs after the run was resumed"


def _trainer(model: nn.Module, folder: str | None, **options: Any) -> CTRTrainer:
    return CTRTrainer(model, n_epoch=2, model_path=folder, progress=False, **options)
