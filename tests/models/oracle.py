"""What the oracles of models share: float64 models with random weights, and the embeddings of one row by name."""

from __future__ import annotations

import torch
import zoo
from torch import Tensor, nn


def random_model(name: str, **changes) -> tuple[nn.Module, dict[str, Tensor]]:
    """A model of a recipe in evaluation and float64, whose weights and statistics are all random, and five rows for it."""
    model = zoo.model(name, **changes).double().eval()
    generator = torch.Generator().manual_seed(1)
    for name_of, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point():
            random = torch.rand if name_of.endswith("running_var") else torch.randn
            tensor.data.copy_(random(tensor.shape, generator=generator, dtype=tensor.dtype) * 0.7)
    x, _ = zoo.tensors(5, name=name)
    return model, {key: column.double() if column.is_floating_point() else column for key, column in x.items()}


def embedding_of(layer: nn.Module, feature, x: dict[str, Tensor], row: int) -> Tensor:
    """The columns of one feature in one row, ``(embed_dim,)``."""
    table = dict(layer.embed_dict.items()).get(feature.name)
    column = x[feature.name][row]
    if table is None:
        return column.reshape(-1)
    if column.dim() == 0:
        return table.weight[column].detach().as_subclass(Tensor)
    vectors = [table.weight[i].detach().as_subclass(Tensor) for i in column if i != feature.padding_idx]
    return sum(vectors) / len(vectors) if vectors else torch.zeros(feature.embed_dim, dtype=torch.float64)


def inputs_of(layer: nn.Module, features, x: dict[str, Tensor], row: int) -> Tensor:
    """All columns of one row side by side: embedded ones first."""
    embedded = [feature for feature in features if feature.name in layer.embed_dict]
    dense = [feature for feature in features if feature.name not in layer.embed_dict]
    return torch.cat([embedding_of(layer, feature, x, row) for feature in [*embedded, *dense]])


def fields(layer: nn.Module, features, x: dict[str, Tensor], row: int) -> list[Tensor]:
    """The embeddings of one row, a vector for each field."""
    return [embedding_of(layer, feature, x, row) for feature in features if feature.name in layer.embed_dict]


def assert_rows(model, x, expected):
    """The logits of a model are those of a function of one row."""
    with torch.no_grad():
        rows = torch.stack([torch.as_tensor(expected(row)).reshape(()) for row in range(5)])
        torch.testing.assert_close(model.logits(x), rows, rtol=1e-9, atol=1e-9)


def stacked(model, x, row):
    """The fields of one row: the embedded ones and a linear map of all dense columns."""
    stack = model.stack
    vectors = fields(model.embedding, model.features, x, row)
    if stack.linear is None:
        return vectors
    dense = torch.cat([embedding_of(model.embedding, feature, x, row) for feature in stack.dense])
    return [*vectors, stack.linear.weight @ dense + stack.linear.bias]
