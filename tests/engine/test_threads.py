"""Threads that find no free core are said once."""

import os

import pytest
import torch
import zoo

from torch_rechub.engine import threads


@pytest.mark.parametrize(("load", "n_thread", "is_said"), [(0.1, 2, False), (3.0, 2, True), (3.0, 1, False)])
def test_busy_cores_are_said_once(load, n_thread, is_said, monkeypatch, caplog):
    """On a busy machine the first fit of a process with several threads warns; one thread, or idle cores, say nothing."""
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_thread)
    monkeypatch.setattr(threads, "_warned", set())
    for _ in range(2):
        zoo.trainer(n_epoch=1).fit(*zoo.loaders())
    assert caplog.text.count("torch.set_num_threads(1)") == is_said
