"""Makes Keras run on torch, with its own defaults rather than the user's."""

import functools
import os
import tempfile
from pathlib import Path

import pytest
import torch

from compat.models import archives

os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras-home-")
# Inductor of torch 2.13 takes graphs that it kept on disk for those of other strides.
os.environ["TORCHINDUCTOR_FX_GRAPH_CACHE"] = os.environ["TORCHINDUCTOR_AUTOGRAD_CACHE"] = "0"
torch.set_num_threads(1)  # what is tested is small: more threads only wait for each other
HERE = Path(__file__).parent
collect_ignore = [  # scripts and what they read and write, not tests
    *("bench", "digits", "files", "golden", "ecosystem/torch_reports"),
    *("models/masks/record.py", "models/parity", "models/rebuild.py", "record_reference.py"),
    *("layers/sequences/record.py", "security/hostile"),
]
EXPECTED_WARNINGS = (
    "ignore:.*softmax.*:UserWarning",  # over an axis of size 1: both warn
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
    "ignore:.*input_shape.*argument to a layer:UserWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these warnings pass here; everywhere else a warning is an error."""
    for item in items:
        if HERE in item.path.parents:
            for warning in EXPECTED_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(scope="module")
def unpack(tmp_path_factory: pytest.TempPathFactory):
    """Return a function that unpacks the files of a writer once, and returns their folder."""

    @functools.cache
    def unpack(writer: str) -> Path:
        folder = tmp_path_factory.mktemp(writer)
        archives.unpack(writer, folder)
        return folder

    return unpack
