"""What two runs are compared by."""

from __future__ import annotations

import torch


def tensors_of(trainer):
    """Everything that is trained, and the buffers."""
    objective = trainer.objective
    return {name: tensor.detach().clone() for name, tensor in (*objective.named_parameters(), *objective.named_buffers())}


def records_of(trainer):
    return [{name: value for name, value in record.items() if name != "seconds"} for record in trainer.history]


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
