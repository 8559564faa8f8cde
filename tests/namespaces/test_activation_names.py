"""Activations by name, and functions of a user's own."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from kerastorch import activations
from kerastorch._ops import inplace_activations
from kerastorch.activations.serialization import TORCH_FUNCTIONS
from tests.namespaces.test_activations import NAMES, grid


def test_none_is_linear():
    assert activations.get(None) is activations.linear
    assert activations.deserialize(None) is None
    assert activations.serialize(None) is None
    x = grid()
    assert activations.linear(x) is x


@pytest.mark.parametrize(
    ("function", "name"), TORCH_FUNCTIONS.items(), ids=lambda one: getattr(one, "__name__", one)
)
def test_torch_functions_that_are_written_as_keras_names(function, name):
    assert activations.serialize(function) == name
    x = grid().requires_grad_()
    theirs, ours = function(x), activations.get(name)(x)
    assert torch.equal(theirs, ours)
    weights = torch.linspace(-1, 2, ours.numel()).double().reshape(ours.shape)
    gradients = [torch.autograd.grad(y, x, weights)[0] for y in (theirs, ours)]
    assert torch.equal(*gradients)


@pytest.mark.parametrize(
    "function", [F.leaky_relu, F.softmax, torch.softmax, torch.sin, torch.nn.ReLU(), len]
)
def test_torch_functions_that_mean_something_else_are_not_written(function):
    with pytest.raises(ValueError):
        activations.serialize(function)


@pytest.mark.parametrize("name", NAMES)
def test_functions_can_be_copied_and_pickled(name):
    function = activations.get(name)
    in_place = inplace_activations.get_inplace_activation(function)
    assert copy.deepcopy(function) is pickle.loads(pickle.dumps(function)) is function
    assert pickle.loads(pickle.dumps(in_place)) == in_place
