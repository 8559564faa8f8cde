"""Every case of every layer beside Keras on torch."""

from __future__ import annotations

import copy
import inspect
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from compat.layers.configurations import random_array, relative_difference
from kerastorch._core.registry import ALIASES
from kerastorch.layers.base import nesting
from kerastorch.layers.base.layer import Layer
from tests.layers.case import LayerCase, each_case, every_case

keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`, which is deprecated")
EVERY = [case for case in every_case() if case.in_keras]
EACH = each_case(EVERY)
AGREEING = [case for case in EVERY if case.agrees]
POLICIES = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
TOLERANCE = {"float64": 1e-13, "float32": 5e-6, "float16": 5e-3, "bfloat16": 4e-2}


@pytest.fixture(autouse=True)
def _keras_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both convolve without oneDNN, which computes one channel wrong on some processors.

    `compat/torch_reports/one_channel_convolution.py` shows it.
    """
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)


def find_keras_class(case: LayerCase) -> Any:
    """Return Keras's class, which may be known by another name or only in Keras's own files."""
    from keras.src.applications import convnext, inception_resnet_v2

    places = (keras.layers, convnext, inception_resnet_v2)
    names = (case.name, *(alias for alias, name in ALIASES.items() if name == case.name))
    pairs = ((one, name) for one in places for name in names)
    return next(getattr(one, name) for one, name in pairs if hasattr(one, name))


def make_theirs(case: LayerCase, arguments: dict[str, Any]) -> Any:
    """Return Keras's layer; arguments that are our layers become Keras's."""
    given = {
        name: convert(value) if name in case.layer.nested_arguments else value
        for name, value in arguments.items()
    }
    return find_keras_class(case)(**given)


def convert(value: Any) -> Any:
    """Return Keras's layers for ours or a list of them, and all else unchanged."""
    if isinstance(value, list):
        return [convert(one) for one in value]
    is_layer = isinstance(value, Layer)
    return keras.layers.deserialize(nesting.serialize(value)) if is_layer else value


def pair(case: LayerCase, **changed: Any) -> tuple[Any, Any]:
    """Return our layer and Keras's, with the same random weights."""
    arguments = {**case.arguments, "name": "one", **changed}
    ours = case.layer(**copy.deepcopy(arguments))
    theirs = make_theirs(case, arguments)
    generator = np.random.default_rng(5)
    theirs.build(*repeat(theirs, case.shape))
    if theirs.get_weights():
        ours.build(case.shape)
        values = []
        for weight in theirs.weights:
            value = random_array(generator, tuple(weight.shape)) / 2
            values.append(np.abs(value) + 0.1 if "variance" in weight.name else value)
        theirs.set_weights(values), ours.set_weights(values)
        getattr(theirs, "finalize_state", lambda: None)()
    return ours, theirs


def repeat(layer: Any, given: Any) -> list[Any]:
    """Return an input, or a shape, as the arguments of Keras's layer: query and value for some."""
    return [given] * (2 if "query" in inspect.signature(layer.call).parameters else 1)


def arrays(case: LayerCase, seed: int, dtype: str = "float32") -> Any:
    generator = np.random.default_rng(seed)
    if isinstance(case.shape, list):
        return [random_array(generator, shape).astype(dtype) for shape in case.shape]
    return random_array(generator, case.shape).astype(dtype)


def as_tensors(given: Any, grad: bool = False) -> Any:
    if isinstance(given, list):
        return [torch.tensor(x, requires_grad=grad) for x in given]
    return torch.tensor(given, requires_grad=grad)


def called(layer: Any, x: Any, *, training: bool) -> torch.Tensor:
    """Call either library's layer, with the same state of torch's global generator."""
    torch.manual_seed(11)
    if isinstance(layer, Layer):
        return layer.train(training)(x)
    given = repeat(layer, x)
    return layer(*given, training=training) if layer._call_has_training_arg else layer(*given)


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def trained_weights(layer: Any) -> list[tuple[Any, Any]]:
    """Return the parameters of each trained weight, and how their gradients make Keras's."""
    if isinstance(layer, Layer):
        return [(v.parameters, v.view) for v in layer.variables if v.parameter.requires_grad]
    return [((weight.value,), lambda gradient: gradient) for weight in layer.trainable_weights]


def results(layer: Any, x: Any, training: bool) -> list[torch.Tensor]:
    """Return the output, the gradients of inputs and weights, and the loss terms."""
    inputs = as_tensors(x, grad=True)
    outputs = called(layer, inputs, training=training)
    losses = [loss.detach() for loss in layer.losses]
    if not outputs.requires_grad:  # dropped as a whole
        return [outputs, *losses]
    cotangent = torch.linspace(-1, 2, outputs.numel()).reshape(outputs.shape)
    given, trained = inputs if isinstance(inputs, list) else [inputs], trained_weights(layer)
    wanted = [*given, *(one for parameters, _ in trained for one in parameters)]
    found = iter(torch.autograd.grad((outputs * cotangent).sum(), wanted, allow_unused=True))
    gradients = [next(found) for _ in given]
    for parameters, view in trained:
        own = [next(found) for _ in parameters]
        gradients.append(None if own[0] is None else view(*own))
    return [outputs.detach(), *losses, *(one for one in gradients if one is not None)]


@each_case(AGREEING)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_outputs_gradients_losses_and_states(case: LayerCase, training: bool) -> None:
    if training and not case.trains:
        pytest.skip("refused in training")
    ours, theirs = pair(case)
    for seed in range(2):  # the second call draws another mask, and replaces the loss terms
        x = arrays(case, seed)
        found = [results(layer, x, training) for layer in (ours, theirs)]
        for mine, yours in zip(*found, strict=True):
            assert mine.dtype == yours.dtype
            assert relative_difference(numbers(mine), numbers(yours), least=0.1) < 2e-5
        for left, right in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            assert relative_difference(left * 1.0, right * 1.0, least=0.1) < 1e-5


@each_case([case for case in AGREEING if case.policies_agree])
def test_dtype_policies(case: LayerCase) -> None:
    for policy in POLICIES:
        ours, theirs = pair(case, dtype=policy)
        assert ours.compute_dtype == theirs.compute_dtype
        assert [v.parameter.dtype for v in ours.variables] == [
            w.value.dtype for w in theirs.weights
        ]
        in_single = policy == "float64" and not case.in_double
        most = 5e-6 if in_single else TOLERANCE[policy.removeprefix("mixed_")]
        for given in ("float64", "float32", "float16"):
            x = as_tensors(arrays(case, 2, given))
            with torch.no_grad():
                got = called(ours, x, training=False)
                try:
                    wanted = called(theirs, x, training=False)
                except NotImplementedError as error:  # PyTorch lacks it
                    assert "not implemented for" in str(error)
                    continue
            assert got.dtype == (torch.float64 if in_single else wanted.dtype), (policy, given)
            assert relative_difference(numbers(got), numbers(wanted), 0.1) < most, (policy, given)


@each_case([case for case in AGREEING if case.integers_agree])
def test_integers_and_booleans(case: LayerCase) -> None:
    for dtype in ("int32", "int64", "uint8", "bool"):
        ours, theirs = pair(case)
        x = as_tensors(
            [np.abs(a * 3).astype(dtype) for a in arrays(case, 3)]
            if isinstance(case.shape, list)
            else np.abs(arrays(case, 3) * 3).astype(dtype)
        )
        try:
            wanted = called(theirs, x, training=False)
        except RuntimeError as error:  # PyTorch lacks it
            assert "not implemented" in str(error) or "not supported" in str(error)
            continue
        got = called(ours, x, training=False)
        assert got.dtype == wanted.dtype, dtype
        assert relative_difference(numbers(got), numbers(wanted)) < 1e-6, dtype


DROPOUTS = [f"SpatialDropout{rank}D" for rank in (1, 2, 3)]
TAKES_LESS = (
    "ActivityRegularization",
    "ELU",
    "Identity",
    "InputLayer",
    *DROPOUTS,
)  # or has it in the caller's order


def untrack(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config without Keras's own kind of list, which cannot be copied."""
    return {key: list(value) if isinstance(value, list) else value for key, value in config.items()}


@EACH
def test_configs_travel_both_ways(case: LayerCase) -> None:
    theirs = find_keras_class(case)
    base = {**case.arguments, "name": "n"}
    extras = [{}, {"trainable": False, "dtype": "mixed_float16"}, {"activity_regularizer": "l2"}]
    for extra in extras[:1] if case.name in TAKES_LESS else extras:
        arguments = {**base, **extra}
        made = case.layer(**copy.deepcopy(arguments)), make_theirs(case, arguments)
        config, wanted = (untrack(layer.get_config()) for layer in made)
        assert config == wanted
        assert list(config) == list(wanted)
        kept = copy.deepcopy(wanted)
        assert case.layer.from_config(wanted).get_config() == config
        assert wanted == kept
        again = [theirs.from_config(copy.deepcopy(one)) for one in (config, kept)]
        assert again[0].get_config() == again[1].get_config()
        through = json.loads(json.dumps(config))
        assert json.dumps(case.layer.from_config(through).get_config()) == json.dumps(config)


def open_shapes(shape: Any) -> list[Any]:
    """Return a shape with its batch unknown, and with each other size unknown."""
    if isinstance(shape, list):
        return [shape, [(None, *one[1:]) for one in shape]]
    return [shape, *((*shape[:axis], None, *shape[axis + 1 :]) for axis in range(len(shape)))]


@each_case(AGREEING)
def test_shapes_and_weights(case: LayerCase) -> None:
    ours, theirs = pair(case)
    for shape in open_shapes(case.shape):
        try:
            wanted = theirs.compute_output_shape(*repeat(theirs, shape))
        except Exception:  # sizes that Keras, too, must know
            continue
        assert ours.compute_output_shape(shape) == tuple(wanted), shape
    names = [re.sub("_[0-9]+$", "", w.name) for w in theirs.weights]  # of variables without a name
    assert [v.name for v in ours.variables] == names
    assert ours.count_params() == theirs.count_params()
    trained = [v.parameter.requires_grad for v in ours.variables]
    assert trained == [w.trainable for w in theirs.weights]
    for mine, yours in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert mine.dtype == yours.dtype and np.array_equal(mine, yours)


def exception_of(case: LayerCase, arguments: Any, *shapes: Any) -> Any:
    """Return the type of what Keras's layer raises when called on inputs of these shapes."""
    try:
        layer = make_theirs(case, arguments)
        for shape in shapes:
            layer(*repeat(layer, as_tensors(arrays(replace(case, shape=shape), 0))))
    except Exception as error:
        return type(error)
    return None


@EACH
def test_refused_arguments_raise_what_keras_raises(case: LayerCase) -> None:
    for name, value, kind in case.refused_arguments:
        arguments = case.with_argument(name, value)
        assert exception_of(case, arguments, case.shape) is kind, (name, value)
    for name, value, kind in case.refused_here:
        arguments = case.with_argument(name, value)
        assert exception_of(case, arguments, case.shape) is not kind, (name, value)


@each_case(AGREEING)
def test_refused_shapes_are_refused_by_keras(case: LayerCase) -> None:
    for shape in case.refused:  # by torch where Keras lets the shape through to it
        found = [exception_of(case, case.arguments, *shapes)
                 for shapes in ([shape], [case.shape, shape])]  # fmt: skip
        assert {ValueError, RuntimeError, IndexError} & {*found}, (shape, found)


def test_the_comparisons_can_fail() -> None:
    case = next(case for case in EVERY if case.name == "Dense")
    ours, theirs = pair(case)
    with torch.no_grad():
        ours.weight[0, 0] += 1e-3
    x = arrays(case, 0)
    found = [results(layer, x, False)[0] for layer in (ours, theirs)]
    assert relative_difference(*map(numbers, found)) > 2e-5
    assert exception_of(case, case.arguments, case.shape) is None
    a = np.ones((2, 3))
    assert relative_difference(a, a) == 0.0
    assert relative_difference(a + 1e-4, a) > 1e-5
    assert relative_difference(a[:1], a) == float("inf")
    assert relative_difference(np.full((2, 3), np.nan), a) == float("inf")
