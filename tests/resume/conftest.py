"""Tests of resume write many small files, and none of them pulls the plug: waiting for the disk would only take time."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_wait_for_the_disk(request, monkeypatch):
    if "real_disk" not in request.fixturenames:
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def real_disk():
    """For tests of writing itself."""
