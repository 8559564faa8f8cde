"""Layers as plain PyTorch: open sizes, frozen and shared layers, and training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kerastorch.models.base import Model
from kerastorch.plain.api import to_source, to_torch
from kerastorch.plain.printed.modules import OnlyInEvaluation
from kerastorch.plain.proof.reference import make_reference
from kerastorch.plain.registry import LOWERINGS
from tests.layers.case import LayerCase, each_case, thorough_cases
from tests.models.configs import functional, input_layer, layer, node, tensor
from tests.plain.models import assert_plain, build, model_of
from tests.plain.test_every_layer import EVERY, REFUSED

# Those of sequences have tests of their own.
SEQUENCES = ("recurrent", "attention", "embedding", "masking", "time_distributed", "bidirectional")
ROWS = [
    case
    for case in EVERY
    if case.layer in LOWERINGS and not any(one in case.layer.__module__ for one in SEQUENCES)
]
FIRST = thorough_cases(ROWS)
# Indices have no gradients, and must be in range: see test_sequences.
FIRST = [case for case in FIRST if "Embedding" not in case.name]
OPEN = (
    *(
        "Conv",
        "Depthwise",
        "Separable",
        "MaxPooling",
        "Average",
        "Adaptive",
        "Global",
        "UpSampling",
    ),
    *("Cropping", "ZeroPadding", "Resizing", "CenterCrop", "RandomCrop", "SpatialDropout"),
    *("BatchNormalization", "GroupNormalization", "Rescaling", "ReLU", "Add", "Multiply"),
)


def listed(inputs: Tensor | list[Tensor]) -> list[Tensor]:
    return inputs if isinstance(inputs, list) else [inputs]


def can_be_open(case: LayerCase) -> bool:
    """Return whether a layer has a model for inputs whose spatial sizes are open."""
    if not case.name.startswith(OPEN) or case.name.startswith("ConvLSTM"):
        return False
    shapes = case.shape if isinstance(case.shape, list) else [case.shape]
    needs_size = "axis" in case.arguments or "[[" in str(case)
    return not needs_size and all(len(shape) > 2 for shape in shapes)


OPEN_ROWS = [case for case in ROWS if can_be_open(case)]


@each_case(OPEN_ROWS, thorough_cases(OPEN_ROWS))
def test_open_sizes(case: LayerCase) -> None:
    model = model_of(case, sized=False)
    try:
        assert_plain(model, listed(case.inputs()))
    except ValueError as error:
        reasons = (*REFUSED.get(case.name, ()), "its crop depends on the size of the input")
        assert any(reason in str(error) for reason in reasons), error


@each_case([case for case in FIRST if case.has_parameters])
def test_frozen_layers_stay_frozen(case: LayerCase) -> None:
    model = model_of(case)
    for one in model.layers.values():
        one.trainable = False
    assert_plain(model, listed(case.inputs()))
    written = to_torch(model)
    assert not [name for name, one in written.named_parameters() if one.requires_grad]
    text = to_source(model).text
    assert "requires_grad_(False)" in text or "requires_grad=False" in text


def model_of_two_calls(case: LayerCase) -> Model:
    """Return a model that calls one layer on two inputs."""
    config = case.make().get_config()
    config.pop("name")
    calls = [node(tensor(name)) for name in ("a", "b")]
    one = layer(case.layer.registered_name, "the_layer", calls, **config)
    inputs = [input_layer(name, (None, *case.shape[1:])) for name in ("a", "b")]
    outputs = [["the_layer", 0, 0], ["the_layer", 1, 0]]
    return build(functional(*inputs, one, inputs=[["a", 0, 0], ["b", 0, 0]], outputs=outputs))


@each_case([case for case in FIRST if not isinstance(case.shape, list)])
def test_shared_layers_are_one_attribute(case: LayerCase) -> None:
    model = model_of_two_calls(case)
    assert_plain(model, [case.inputs(seed=1), case.inputs(seed=2)])
    written = to_torch(model)
    alone = to_torch(model_of(case)).state_dict()
    assert {name: one.shape for name, one in written.state_dict().items()} == {
        name: one.shape for name, one in alone.items()
    }


@each_case([case for case in FIRST if not case.samples])
def test_training_is_the_same(case: LayerCase) -> None:
    model = model_of(case)
    written = to_torch(model)
    if any(isinstance(one, OnlyInEvaluation) for one in written.modules()):
        with pytest.raises(RuntimeError, match="call eval"):
            written.train()(*listed(case.inputs()))
        return
    gradients = []
    for one in (make_reference(model), written.double()):
        inputs = [x.double().requires_grad_() for x in listed(case.inputs())]
        given = inputs[0] if one is not written and len(inputs) == 1 else inputs
        y = one.train()(*given) if one is written else one.train()(given)
        weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape)
        (y * weights).sum().backward()
        gradients.append([y, *(x.grad for x in inputs)])
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, ours, rtol=1e-9, atol=1e-11)


INTEGERS = {
    "Rescaling": {"scale": 0.1, "offset": -1},
    "Conv2D": {"filters": 2, "kernel_size": 3},
    "Normalization": {"mean": [1.0, 2.0, 3.0], "variance": [4.0, 5.0, 6.0]},
    "AveragePooling2D": {"pool_size": 2},
    "GlobalAveragePooling2D": {},
    "LeakyReLU": {},
    "Flatten": {},
    "MaxPooling2D": {},
}


@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_converted_where_the_layer_does(name: str, dtype: str) -> None:
    first = {**input_layer("x", (None, 8, 7, 3)), "name": "x"}
    first["config"]["dtype"] = dtype
    given = node({**tensor("x"), "config": {**tensor("x")["config"], "dtype": dtype}})
    one = layer(name, "the_layer", [given], **INTEGERS[name])
    after = layer("Flatten", "flat", [node(tensor("the_layer"))])
    dense = layer("Dense", "dense", [node(tensor("flat"))], units=2)
    model = build(functional(first, one, after, dense, inputs=["x", 0, 0], outputs=["dense", 0, 0]))
    if (name, dtype) == ("MaxPooling2D", "bool"):
        with pytest.raises(ValueError, match="its input holds booleans"):
            to_source(model)
        return
    x = torch.randint(0, 2 if dtype == "bool" else 100, (2, 8, 7, 3)).to(getattr(torch, dtype))
    assert assert_plain(model, [x]).count(".float()") == 1


@pytest.mark.parametrize("keras_2", [False, True])
def test_the_least_norm_of_dot_is_that_of_its_keras(keras_2: bool) -> None:
    call = [node([tensor("a"), tensor("b")])]
    options = {"axes": 1, "normalize": True} | ({"keras_2": True} if keras_2 else {})
    inputs = [input_layer(name, (None, 3)) for name in ("a", "b")]
    one = layer("Dot", "dot", call, **options)
    ends = {"inputs": [["a", 0, 0], ["b", 0, 0]], "outputs": [["dot", 0, 0]]}
    x = 1e-7 * torch.rand(2, 3)
    text = assert_plain(build(functional(*inputs, one, **ends)), [x, x])
    assert ("eps=1e-06" if keras_2 else "eps=1e-07") in text
