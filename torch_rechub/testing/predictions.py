"""Laws of what a model predicts."""

from __future__ import annotations

import copy
import io
import pickle
import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torch_rechub.basic.features import EmbeddedFeature
from torch_rechub.data import Table
from torch_rechub.testing.law import DoesNotApplyError, Sample, features_of, law, sequences_of

__all__: list[str] = []

#: Equal to float rounding.
_close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-6)


@law("probabilities")
def _probabilities(model: nn.Module, sample: Sample) -> None:
    """Features give one probability a row, and a batch the mean cross-entropy of its labels."""
    prediction = model.eval()(sample.x)
    n_row = len(sample.y)
    assert isinstance(prediction, Tensor), f"a prediction must be a tensor; got {type(prediction).__name__}"
    assert prediction.shape == (n_row,), f"predictions must be ({n_row},), one number a row; got {tuple(prediction.shape)}"
    assert bool(((prediction > 0) & (prediction < 1)).all()), f"probabilities must be within (0, 1); got {prediction.tolist()[:4]}"
    loss = model((sample.x, sample.y))
    expected = nn.functional.binary_cross_entropy(prediction, sample.y)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


@law("varies")
def _varies(model: nn.Module, sample: Sample) -> None:
    """Predictions depend on the features: rows that differ get different ones."""
    prediction = model.eval()(sample.x)
    assert len(prediction.unique()) > 1, "all rows have the same prediction"


@law("rows")
def _rows(model: nn.Module, sample: Sample) -> None:
    """In evaluation a row's prediction does not depend on the other rows of its batch."""
    model.eval()
    one_by_one = torch.cat([model(sample.rows(slice(i, i + 1)).x) for i in range(len(sample.y))])
    _close(one_by_one, model(sample.x))


@law("repeatable")
def _repeatable(model: nn.Module, sample: Sample) -> None:
    """Predicting twice gives the same bits, and changes neither the weights nor the batch."""
    model.eval()
    before, batch = copy.deepcopy(model.state_dict()), sample.clone()
    prediction = model(sample.x)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert not changed, f"predicting changed {changed[0]}"
    written = [name for name, column in sample.x.items() if name not in batch.x or not torch.equal(column, batch.x[name])]
    assert not written, f"predicting wrote to the column {written[0]!r}"
    assert torch.equal(model(sample.x), prediction), "two predictions of one batch differ"


@law("packed")
def _packed(model: nn.Module, sample: Sample) -> None:
    """The packed batches of a TableLoader and a dict of tensors give the same predictions."""
    packed = Table.from_columns({name: column.numpy() for name, column in sample.x.items()}).x
    _close(model.eval()(packed), model(sample.x))


@law("copies")
def _copies(model: nn.Module, sample: Sample) -> None:
    """deepcopy, pickle, state_dict and .to() give equal models that share no weight."""
    model.eval()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    loaded = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.fill_(0.5)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    copies = {"deepcopy": copy.deepcopy(model), "state_dict": loaded}
    if all(getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind for kind in map(type, model.modules())):
        copies["pickle"] = pickle.loads(pickle.dumps(model))  # a class within a function has no place where pickle finds it
    copies["double().float()"] = copy.deepcopy(model).double().float()
    expected = model(sample.x)
    for how, other in copies.items():
        assert torch.equal(other.eval()(sample.x), expected), f"the model made by {how} predicts something else"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.25)
    for how, other in copies.items():
        assert torch.equal(other(sample.x), expected), f"the model made by {how} shares weights with the one it was made from"


@law("missing feature")
def _missing_feature(model: nn.Module, sample: Sample) -> None:
    """A batch without a column that a prediction reads is an error that names it; further columns are allowed."""
    training = {id(feature) for feature in getattr(model, "training_features", [])}  # columns that only the training loss reads
    names = {str(getattr(feature, "name", "")) for feature in features_of(model) if id(feature) not in training}
    model.eval()({**sample.x, "a further column": torch.zeros(len(sample.y))})
    for name in sorted(names):
        error = _error_of(model, {key: column for key, column in sample.x.items() if key != name})
        assert error is not None, f"a batch without the column {name!r} gives predictions"
        assert name in str(error), f"the error of a missing column {name!r} does not name it: {error}"


@law("unknown id")
def _unknown_id(model: nn.Module, sample: Sample) -> None:
    """An id outside the vocabulary is an error that names the feature."""
    training = {id(feature) for feature in getattr(model, "training_features", [])}
    for feature in features_of(model):
        if isinstance(feature, EmbeddedFeature) and id(feature) not in training:
            column = sample.x[feature.name].clone()
            column.view(-1)[0] = feature.vocab_size
            error = _error_of(model.eval(), {**sample.x, feature.name: column})
            assert error is not None, f"an id of {feature.name!r} beyond its vocabulary gives predictions"
            assert feature.name in str(error), f"the error of an unknown id of {feature.name!r} does not name it: {error}"


def _error_of(model: nn.Module, x: dict[str, Tensor]) -> Exception | None:
    try:
        model(x)
    except (ValueError, KeyError) as error:
        return error
    return None


@law("padding")
def _padding(model: nn.Module, sample: Sample) -> None:
    """More padding at the end of the sequences changes no prediction."""
    x = dict(sample.x)
    for feature in sequences_of(model):
        column = x[feature.name]
        x[feature.name] = torch.cat([column, torch.full_like(column[:, :2], feature.padding_idx or 0)], dim=1)
    _close(model.eval()(x), model(sample.x))


@law("precision")
def _precision(model: nn.Module, sample: Sample) -> None:
    """In double and bfloat16 the predictions are those of float32, to rounding."""
    expected = model.eval()(sample.x)
    double = copy.deepcopy(model).double()(sample.x)
    torch.testing.assert_close(double.float(), expected, rtol=1e-4, atol=1e-5)
    half = copy.deepcopy(model).bfloat16()(sample.x)
    assert bool(half.isfinite().all()), "predictions in bfloat16 are not finite"
    error = (half.float() - expected).abs().max().item()
    assert error < 0.1, f"predictions in bfloat16 differ from those in float32 by {error:.3f}"


@law("export")
def _export(model: nn.Module, sample: Sample) -> None:
    """torch.export gives a program that predicts the same for batches of any size."""
    names = [name for name in sample.x if name in {getattr(f, "name", None) for f in getattr(model, "features", [])}] or list(sample.x)
    x = {name: sample.x[name] for name in names}
    size = torch.export.Dim("batch")
    program = torch.export.export(model.eval(), (x,), dynamic_shapes=({name: {0: size} for name in x},), strict=False).module()
    for rows in (slice(0, 1), slice(0, 3), slice(None)):
        part = {name: column[rows] for name, column in x.items()}
        _close(program(part), model(part))


@law("compile")
def _compile(model: nn.Module, sample: Sample) -> None:
    """torch.compile, with the graphs of the forward and the backward pass, predicts the same and gives the same gradients."""
    if not hasattr(torch, "compile"):
        raise DoesNotApplyError("this torch has no torch.compile")
    model.eval()
    torch.compiler.reset()  # graphs of other models count towards the limit above which a model runs without one
    compiled: Any = torch.compile(copy.deepcopy(model), backend="aot_eager")
    expected, loss = model(sample.x), model((sample.x, sample.y))
    _close(compiled(sample.x), expected)
    loss.backward()
    compiled((sample.x, sample.y)).backward()
    for (name, parameter), other in zip(model.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-3, atol=1e-5, msg=f"the gradient of {name} differs when compiled")
