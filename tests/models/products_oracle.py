"""What the oracles of models of products need: a model in float64 with large weights, its columns, and its vectors row by row."""

from __future__ import annotations

import torch
import zoo


def model_of(name, **changes):
    """A model in float64 and evaluation whose weights are of order 1, and rows."""
    model = zoo.model(name, **changes).double().eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    x, _ = zoo.tensors(9, name=name)
    return model, {key: column.double() if column.is_floating_point() else column for key, column in x.items()}


def pooled(weights, x, row):
    """The vectors of user, item and tags of one row, from ``{name: weight}``; the mean of the tags that are not padding."""
    vectors = [weights["user"][x["user"][row]], weights["item"][x["item"][row]]]
    tags = [weights["tags"][tag] for tag in x["tags"][row] if tag != 0]
    return [*vectors, sum(tags) / len(tags) if tags else torch.zeros_like(vectors[0])]


def vectors(model, x, row, prefix="embedding"):
    """The vectors of one row from the state of a model's embedding layer."""
    start = f"{prefix}.embed_dict."
    return pooled(
        {key.removeprefix(start).removesuffix(".weight"): w for key, w in model.state_dict().items() if key.startswith(start)}, x, row
    )


def numbers(x, row):
    """The dense columns of one row."""
    return torch.cat([x["age"][row : row + 1], x["taste"][row]])


def first_order(linear, x, row):
    """``b + sum of the weights of the ids + <w, numbers>`` of a FeatureLinear."""
    return linear.bias.sum() + sum(vectors(linear, x, row)).sum() + linear.fc.weight[0] @ numbers(x, row)


def same_for_all_rows(model, x, formula):
    """Compare the logits with a formula of ``(row)``."""
    with torch.no_grad():
        torch.testing.assert_close(model.logits(x), torch.stack([formula(row) for row in range(9)]).reshape(9), rtol=1e-9, atol=1e-9)
