"""Tests of resume write many small files, and no power failure can happen in them, so that fsync is left out."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_wait_for_the_disk(request, monkeypatch):
    if "real_disk" not in request.fixturenames:
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def real_disk():
    """For tests of writing itself: fsync is called."""
