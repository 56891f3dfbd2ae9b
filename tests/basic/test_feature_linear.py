"""The first-order part with one weight for each id."""

import pytest
import torch
from torch import nn

from torch_rechub.basic import layers
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature


def test_feature_linear_is_a_sum_over_ids_and_numbers():
    """Each id adds its weight, a list the pooled weights of its ids without the padding, and each number its product."""
    features = [
        DenseFeature("age"),
        SparseFeature("user", 5, 4),
        SequenceFeature("tags", 6, 3, padding_idx=0),
        SequenceFeature("past", 5, 4, pooling="concat", shared_with="user", padding_idx=1),
        DenseFeature("taste", 2),
    ]
    linear = layers.FeatureLinear(features)
    for parameter in linear.parameters():
        nn.init.normal_(parameter)
    x = {"user": torch.tensor([0, 4]), "tags": torch.tensor([[1, 2, 0], [5, 0, 0]]), "past": torch.tensor([[2, 1], [3, 3]])}
    x |= {"age": torch.tensor([0.5, -1.0]), "taste": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}
    weights = {name: part.weight[:, 0] for name, part in linear.embedding.embed_dict.items()}
    for i in range(2):
        expected = linear.bias[0] + weights["user"][x["user"][i]] + weights["tags"][x["tags"][i][x["tags"][i] > 0]].mean()
        expected = expected + sum(weights["user"][p] for p in x["past"][i] if p != 1)
        expected = expected + linear.fc.weight[0] @ torch.cat([x["age"][i : i + 1], x["taste"][i]])
        torch.testing.assert_close(linear(x)[i, 0], expected)


def test_feature_linear_needs_a_feature():
    """No feature is an error."""
    with pytest.raises(ValueError, match="at least one feature"):
        layers.FeatureLinear([])


@pytest.mark.parametrize("norm", ["batch", "layer", None])
def test_a_network_has_the_normalisation_that_was_asked_for(norm):
    """Behind each hidden layer stands batch normalisation, layer normalisation, or none."""
    network = layers.MLP(3, dims=[4, 5], norm=norm)
    kinds = [type(layer) for layer in network.mlp]
    one = {"batch": [layers.BatchNorm1d], "layer": [nn.LayerNorm], None: []}[norm]
    assert kinds == [layers.Linear, *one, nn.ReLU, layers.Dropout] * 2 + [nn.Linear]
    network(torch.randn(6, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_an_unknown_normalisation_is_refused():
    """The error names the choices."""
    with pytest.raises(ValueError, match="norm must be 'batch' or 'layer' or None"):
        layers.MLP(3, dims=[4], norm="group")
