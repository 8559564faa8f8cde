"""The Keras code in README runs in Keras."""

import numpy as np
import pytest

from tests.architecture.documents import README, labelled_block

pytest.importorskip("keras")


def test_the_keras_code_runs():
    random = np.random.default_rng(0)
    names = {"images": random.random((64, 28, 28, 1)), "labels": random.integers(10, size=64)}
    exec(labelled_block(README, "keras"), names)
    shapes = [weight.shape for weight in names["model"].get_weights()]
    assert shapes == [(3, 3, 1, 32), (32,), (14 * 14 * 32, 10), (10,)]
