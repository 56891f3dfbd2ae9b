"""Trees of numbers and tensors survive a save, and work in the background reports its errors."""

from __future__ import annotations

import errno
import json
from collections import Counter, OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
import zoo
from hypothesis import given
from hypothesis import strategies as st

from torch_rechub.basic.callback import Checkpoint
from torch_rechub.storage import files as storage
from torch_rechub.storage.background import Background
from torch_rechub.storage.saves import SaveFolder
from torch_rechub.storage.tree import join_tree, split_tree

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=12,
)


@given(trees)
def test_a_tree_survives_a_round_trip(tree):
    """Tuples, integer keys, infinities and keys that look like our tags are read as they were written."""
    plain, tensors = split_tree(tree)
    joined = join_tree(json.loads(json.dumps(plain)), tensors)
    assert joined == tree
    assert repr(joined) == repr(tree)


def test_tensors_of_every_layout_survive_a_round_trip(tmp_path):
    """Views, transposed, empty and shared tensors, arrays, counters and all common dtypes are read as they were written."""
    base = torch.arange(12.0).reshape(3, 4)
    tree = {
        "all": base,
        "view": base[1:],
        "column": base[:, 1],
        "turned": base.t(),
        "empty": torch.zeros(0, 3),
        "again": base,
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "types": [torch.ones(2, dtype=kind) for kind in (torch.bool, torch.uint8, torch.int32, torch.bfloat16, torch.float16)],
        "array": np.arange(3),
        "counter": Counter({1: 2}),
        "ordered": OrderedDict(b=1, a=2),
    }
    saves = SaveFolder(tmp_path)
    state = saves.read(saves.write(tree, {}))
    assert state.keys() == tree.keys()
    for name in ("all", "view", "column", "turned", "empty", "again", "scalar"):
        assert torch.equal(state[name], tree[name])
    assert [tensor.dtype for tensor in state["types"]] == [tensor.dtype for tensor in tree["types"]]
    assert state["array"].tolist() == [0, 1, 2]
    assert type(state["counter"]) is Counter
    assert list(state["ordered"].items()) == [("b", 1), ("a", 2)]
    with pytest.raises(TypeError, match=r"state\['x'\]\[0\] cannot be saved: it is a object"):
        saves.write({"x": [object()]}, {})
    assert saves.names() == ["save-00000001"]


def test_an_error_in_the_background_is_raised_and_the_thread_is_gone(tmp_path, monkeypatch):
    """An error of the saving thread is raised at the next save or at the end, and the earlier saves are complete."""
    import threading

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    calls = []

    def second_fails(*arguments):
        calls.append(1)
        (full if len(calls) > 1 else safetensors.torch.save_file)(*arguments)

    monkeypatch.setattr(storage, "save_file", second_fails)
    trainer = zoo.trainer(model_path=tmp_path, callbacks=[Checkpoint(every_n_steps=2, background=True)])
    with pytest.raises(OSError, match=r"No space left.*save-00000002"):
        trainer.fit(*zoo.loaders())
    assert [thread.name for thread in threading.enumerate() if "torch_rechub" in thread.name] == []
    assert SaveFolder(tmp_path / "resume").names() == ["save-00000001"]
    assert SaveFolder(tmp_path / "resume").newest() is not None


def test_background_work_runs_one_at_a_time_in_order():
    """The background writer never does two pieces of work at once, and does them in order."""
    import threading

    order, go = [], threading.Event()
    background = Background()
    background.run(lambda: (go.wait(), order.append(1)))
    threading.Timer(0, go.set).start()
    background.run(lambda: order.append(2))
    background.join()
    assert order == [1, 2]
