"""DeepFM equals its formula, term by term."""

from __future__ import annotations

import pytest
import torch
import zoo

from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.ranking import DeepFM


def embeddings(model, x, row):
    """Each feature's embedding of one row, by name, from the state_dict."""
    state = {key.split(".")[2]: value for key, value in model.state_dict().items() if "embed_dict" in key}
    vectors = {name: state[name][x[name][row]] for name in ("user", "item")}
    tags = [state["tags"][i] for i in x["tags"][row] if i != 0]
    vectors["tags"] = sum(tags) / len(tags) if tags else torch.zeros(4)
    return vectors


@pytest.mark.parametrize("dims", [[], [8], [8, 4]])
def test_deepfm_is_the_sum_of_its_three_parts(dims):
    """The logits are linear weights of the embeddings, a double loop over pairs, and the network of all columns (eq. 1)."""
    model = zoo.model(dims=dims).eval()
    x, _ = zoo.tensors(9)
    with torch.no_grad():
        for table in model.embedding.tables.values():
            table.weight.normal_()
        logits = model.logits(x)
        for row in range(9):
            vectors = embeddings(model, x, row)
            fields = [vectors["user"], vectors["item"], vectors["tags"]]
            linear = (model.linear.fc.weight[0] * torch.cat(fields)).sum() + model.linear.fc.bias[0]
            pairs = sum(float(fields[i] @ fields[j]) for i in range(3) for j in range(i + 1, 3))
            dense = [x["age"][row : row + 1], x["taste"][row]]
            deep = model.mlp(torch.cat([*fields, *dense]).unsqueeze(0)).item()
            assert float(linear) + pairs + deep == pytest.approx(logits[row].item(), rel=1e-4, abs=1e-4)


def test_deepfm_keys_are_those_of_the_existing_package():
    """The state_dict has the names that the existing package writes."""
    assert set(zoo.model().state_dict()) == {
        *(f"embedding.embed_dict.{name}.weight" for name in ("user", "item", "tags")),
        *("linear.fc.weight", "linear.fc.bias", "mlp.mlp.0.weight", "mlp.mlp.0.bias", "mlp.mlp.4.weight", "mlp.mlp.4.bias"),
        *(f"mlp.mlp.1.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
    }


def test_deepfm_dense_columns_follow_the_embedded_ones():
    """The network's input is the embedded columns in the given order, then the dense ones, in any order of the list."""
    user, age = SparseFeature("user", 3, 2), DenseFeature("age")
    model = DeepFM([age, user], [user], {"dims": []})
    x = {"user": torch.tensor([1]), "age": torch.tensor([5.0])}
    seen = []
    model.mlp.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(x)
    assert torch.equal(seen[0], torch.cat([model.embedding.embed_dict["user"].weight[1], torch.tensor([5.0])]).unsqueeze(0))


@pytest.mark.parametrize(
    ("deep", "fm", "said"),
    [
        ([zoo.USER], [], "must hold at least one"),
        ([zoo.USER], [zoo.AGE], "Move it to deep_features"),
        ([zoo.USER], [zoo.USER, SparseFeature("wide", 5, 8)], r"must have one embed_dim.*'wide': 8"),
        ([zoo.USER], [SequenceFeature("s", 5, 4, "concat")], "pooled by 'mean' or 'sum'"),
        ([SequenceFeature("s", 5, 4, "concat")], [zoo.USER], "pooled by 'mean' or 'sum'"),
        ([], [zoo.USER], "deep_features must hold at least one feature; got none"),
    ],
)
def test_deepfm_refuses_features_that_it_cannot_read(deep, fm, said):
    """Features that DeepFM cannot use are an error at construction, which names the remedy."""
    with pytest.raises(ValueError, match=said):
        DeepFM(deep, fm, {"dims": [4]})


def test_deepfm_keeps_no_reference_to_its_arguments():
    """Changes of the given lists and dict do not change the model."""
    deep, fm, params = [zoo.USER, zoo.AGE], [zoo.USER], {"dims": [4]}
    model = DeepFM(deep, fm, params)
    x, _ = zoo.tensors(3)
    expected = model.eval()(x)
    deep.clear()
    fm.clear()
    params.clear()
    assert torch.equal(model(x), expected)
