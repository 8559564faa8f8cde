"""Three hundred steps of training, beside Keras's own."""

import numpy as np
import pytest

pytest.importorskip("keras")

from compat.models.parity.runs import OPTIMIZERS, STEPS, keras_run, torch_run


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_losses_and_the_weights_agree(optimizer):
    expected, found = keras_run(optimizer), torch_run(optimizer)
    losses = np.array(expected.losses)
    assert len(losses) == STEPS
    assert losses[-20:].mean() < 0.2 * losses[0]  # it does learn
    np.testing.assert_allclose(found.losses, losses, rtol=1e-4)
    assert not np.isclose(losses[1:], losses[:-1], rtol=1e-4).any()  # a step shows
    for ours, theirs in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
