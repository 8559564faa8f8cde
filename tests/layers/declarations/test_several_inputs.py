"""A layer whose weights follow from several inputs is built by a call or by their shapes."""

from __future__ import annotations

import pytest
import torch

from kerastorch.layers.base.layer import Layer
from kerastorch.layers.base.weights import declare_weight


class Scores(Layer):
    """Multiplies two inputs by a weight of the sizes of their last axes."""

    takes_list = True
    weight_specs = (declare_weight("weight", "kernel"),)
    kernel_initializer = kernel_regularizer = kernel_constraint = None

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._register_weights(None)

    def _weight_shapes(self, shape, argument="input_shape"):
        return {"weight": (shape[0][-1], shape[1][-1])}

    def forward(self, inputs):
        return inputs[0] @ self.weight @ inputs[1].mT


X = torch.ones(2, 5, 3), torch.ones(2, 4, 6)


@pytest.mark.parametrize("given", [((list(X),), {}), ((), {"inputs": list(X)})])
def test_the_first_call_builds_for_all_inputs(given):
    layer = Scores()
    assert layer(*given[0], **given[1]).shape == (2, 5, 4)
    assert layer.weight.shape == (3, 6)


def test_build_takes_the_shapes_of_all_inputs():
    layer = Scores()
    layer.build([(None, 5, 3), (None, 4, 6)])
    assert layer.weight.shape == (3, 6)


def test_an_input_that_is_no_tensor_is_refused_and_builds_nothing():
    layer = Scores()
    with pytest.raises(ValueError, match=r"^Scores: `inputs` must be a tensor or an array"):
        layer([X[0], "text"])
    assert not layer.built
