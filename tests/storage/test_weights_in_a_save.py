"""A ``state_dict`` in a save keeps its metadata, and files without metadata hold the tensors of it as entries."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from torch_rechub.basic.activation import Dice
from torch_rechub.storage import UnexpectedContentError, join_tree, save_safetensors, split_tree


def weights_of(module):
    weights = nn.Sequential(module, nn.Linear(2, 1)).state_dict()
    weights._metadata["1"]["of a user"] = {"a", "set"}
    return weights


def test_weights_in_a_save_keep_their_metadata():
    """Values, order and metadata are those that were saved; what a save cannot hold of the metadata is left out."""
    weights = weights_of(Dice(n_neuron=2))
    plain, tensors = split_tree({"best": weights, "plain": dict(weights)})
    joined = join_tree(json.loads(json.dumps(plain)), tensors)
    assert [*joined["best"]] == [*joined["plain"]] == [*weights]
    assert not hasattr(joined["plain"], "_metadata")
    metadata = joined["best"]._metadata
    assert torch.equal(metadata["0"]["running_var"], torch.ones(2))
    assert metadata["1"] == {"version": 1}
    assert weights._metadata["1"]["of a user"] == {"a", "set"}


def test_weights_whose_metadata_have_another_shape_are_refused():
    """A save with metadata that are no dict of dicts is not one that this library writes."""
    plain, tensors = split_tree(weights_of(Dice()))
    for wrong in (None, 3, {"0": 1}, []):
        with pytest.raises(UnexpectedContentError, match="'metadata' must be a dict of dicts"):
            join_tree({**plain, "metadata": wrong}, tensors)


def test_a_safetensors_file_has_the_tensors_of_the_metadata_as_entries(tmp_path):
    """A file without metadata holds the averages of Dice under their names, also of a Dice alone; the weights are not changed."""
    for module, prefix in ((nn.Sequential(Dice(n_neuron=2)), "0."), (Dice(n_neuron=2), "")):
        weights = module.state_dict()
        save_safetensors(tmp_path / "w.safetensors", weights)
        assert {*load_file(tmp_path / "w.safetensors")} == {prefix + name for name in ("alpha", "running_mean", "running_var")}
        assert [*weights] == [f"{prefix}alpha"]
        module.load_state_dict(load_file(tmp_path / "w.safetensors"))
