"""Loading from what a test makes in place of a file."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from kerastorch.saving import weight_loading


@pytest.fixture
def load(monkeypatch):
    @contextmanager
    def opened(source, **_):
        yield source

    monkeypatch.setattr(weight_loading, "open_weight_file", opened)
    return weight_loading.load_weights
