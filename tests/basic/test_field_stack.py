"""FieldStack: fields of embeddings, and one of all dense columns."""

import pytest
import torch

from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.basic.layers import EmbeddingLayer, FieldStack

USER, ITEM, AGE, TASTE = SparseFeature("user", 5, 4), SparseFeature("item", 6, 4), DenseFeature("age"), DenseFeature("taste", 2)
X = {"user": torch.tensor([1, 4]), "item": torch.tensor([5, 0]), "age": torch.tensor([0.5, -1.0]), "taste": torch.rand(2, 2)}


def test_field_stack_has_one_more_field_for_all_dense_columns():
    """The embedded columns keep their order, and the last field is a linear map of the dense columns."""
    features = [AGE, USER, TASTE, ITEM]
    stack, embedded = FieldStack(features), EmbeddingLayer(features).look_up(X, features)
    fields = stack(embedded)
    assert (stack.num_fields, stack.embed_dim) == fields.shape[1:] == (3, 4)
    assert torch.equal(fields[:, :2], embedded.stacked([USER, ITEM]))
    dense = torch.cat([X["age"].unsqueeze(1), X["taste"]], dim=1)
    torch.testing.assert_close(fields[:, 2], dense @ stack.linear.weight.T + stack.linear.bias)


def test_field_stack_without_dense_columns_is_the_embeddings():
    """Without dense columns it has no parameters."""
    features = [USER, ITEM]
    stack, embedded = FieldStack(features), EmbeddingLayer(features).look_up(X, features)
    assert torch.equal(stack(embedded), embedded.stacked(features))
    assert not list(stack.parameters())
    with pytest.raises(ValueError, match="at least one SparseFeature"):
        FieldStack([AGE])
