"""LayerNormalization, RMSNormalization and UnitNormalization."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import config
from kerastorch.layers import LayerNormalization, RMSNormalization, UnitNormalization
from kerastorch.models.build import build_model
from kerastorch.saving.configs.parse import parse_model_config
from tests.layers.case import NoModule, batch, cases
from tests.models.configs import input_layer, layer

F64 = torch.float64
RANDOM = {"gamma_initializer": "random_normal", "beta_initializer": "random_normal"}
AXES = [
    ("axis", "a", TypeError),
    ("axis", 1.0, TypeError),
    ("axis", None, TypeError),
    ("axis", ["a"], TypeError),
    ("axis", 3, IndexError),
    ("axis", [7], IndexError),
    ("epsilon", "a", TypeError),
]
NO_AXES = [("axis", [], ValueError), ("axis", [1, 1], ValueError)]
# Half precision and integers are rounded to the input's dtype, as in Keras: see below
ROUNDED = frozenset({"test_inputs_of_all_dtypes"})
# The initial values are always the same
CONSTANT = ROUNDED | {
    "test_weights_round_trip",
    "test_two_layers_start_with_values_of_their_own",
    "test_reset_parameters_draws_in_place",
    "test_functional_call",
}
CASES = [
    *cases(
        LayerNormalization,
        RANDOM,
        {**RANDOM, "center": False, "epsilon": 1e-6},
        {**RANDOM, "scale": False},
        {**RANDOM, "gamma_regularizer": "l2", "beta_regularizer": "l1", "trainable": False},
        NoModule({**RANDOM, "rms_scaling": True}),
        {**RANDOM, "axis": 2},
        shape=(3, 4, 6),
        other=[(2, 5, 6)],
        refused_arguments=AXES,
        refused_here=NO_AXES,
        exempt=ROUNDED,
        in_double=False,
    ),
    *cases(
        LayerNormalization,
        NoModule({"center": False, "scale": False, "epsilon": None}),
        shape=(3, 4, 6),
        other=[(2, 5, 7)],
        refused=[()],
        exempt=ROUNDED,
        in_double=False,
    ),
    *cases(
        LayerNormalization,
        {**RANDOM, "axis": [-1, -2]},
        {**RANDOM, "axis": [1, 2]},
        {**RANDOM, "axis": (2, 1)},
        shape=(3, 4, 6),
        refused=[(3, 6, 4), (3, 4, 7), (6,)],
        exempt=ROUNDED,
        in_double=False,
        thorough=True,
    ),
    *cases(  # Keras on torch fails
        LayerNormalization,
        NoModule({**RANDOM, "axis": 1}),
        NoModule({**RANDOM, "axis": [1, -1]}),
        NoModule({**RANDOM, "axis": [-2, -3], "center": False}),
        shape=(3, 4, 5, 6),
        refused=[(3, 7, 7, 7)],
        exempt=ROUNDED,
        in_double=False,
        agrees=False,
        thorough=True,
    ),
    *cases(
        RMSNormalization,
        {},
        {"epsilon": 0.1},
        {"epsilon": None},
        {"axis": [1, 2]},
        shape=(3, 4, 6),
        refused=[(3, 4, 7), (3,)],
        exempt=CONSTANT,
        in_double=False,
        refused_arguments=AXES,
        refused_here=NO_AXES,
    ),
    *cases(
        RMSNormalization,
        NoModule({"axis": 1}),
        NoModule({"axis": [1, -1]}),  # the weight's axes are in the order -1, 1
        shape=(3, 4, 6),
        refused=[(3, 7, 7)],
        exempt=CONSTANT,
        in_double=False,
        agrees=False,
        thorough=True,
    ),
    *cases(
        UnitNormalization,
        {"axis": 1},
        {"axis": [1, -1]},
        shape=(3, 4, 6),
        other=[(2, 3, 7)],
        in_double=False,
        refused=[(3,)],
        refused_arguments=[("axis", "a", TypeError), ("axis", ["a"], TypeError)],
        refused_here=[("axis", 3, ValueError), ("axis", [1, 1], ValueError)],
        integers="converted",
    ),
    *cases(
        UnitNormalization,
        {},
        shape=(3, 4, 6),
        refused_arguments=[("axis", "a", TypeError)],
        integers="converted",
        in_double=False,
        thorough=True,
    ),
]


def normalized(x: torch.Tensor, axes: list[int], gamma: torch.Tensor) -> torch.Tensor:
    """Return the formula of Keras, whose gamma is reshaped and not moved."""
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
    sizes = [n if axis in [a % x.ndim for a in axes] else 1 for axis, n in enumerate(x.shape)]
    return (x - mean) / (variance + 1e-3).sqrt() * gamma.reshape(sizes)


@pytest.mark.parametrize("axis", [-1, 1, [1, 2], [2, 1], [-1, 1], [1, 3], [3, 2, 1], -2])
def test_any_axes_are_those_of_the_formula(axis):
    layer = LayerNormalization(axis, dtype="float64", gamma_initializer="random_normal")
    x, axes = batch((2, 3, 4, 5), F64) + 2, sorted(axis if isinstance(axis, list) else [axis])
    y = layer(x)
    assert tuple(layer.weight.shape) == tuple(x.shape[n] for n in axes)
    assert_close(y, normalized(x, axes, layer.weight), rtol=1e-12, atol=1e-12)
    scaling = LayerNormalization(axis, dtype="float64", rms_scaling=True)
    scale = (x.var(axes, correction=0, keepdim=True) + 1e-3).sqrt()
    assert_close(scaling(x), x / scale, rtol=1e-12, atol=1e-12)
    rms = RMSNormalization(axis, dtype="float64", epsilon=1e-3)
    scale = (x.square().mean(axes, keepdim=True) + 1e-3).sqrt()
    assert_close(rms(x), x / scale, rtol=1e-12, atol=1e-12)


def test_the_config_has_the_axes_of_the_build():
    layer = LayerNormalization([2, 1])
    assert layer.get_config()["axis"] == [2, 1]
    layer.build((None, 3, 4))
    assert layer.get_config()["axis"] == [1, 2]
    layer = RMSNormalization()
    assert layer.get_config()["axis"] == -1
    layer.build((None, 3))
    assert layer.get_config()["axis"] == [-1]
    assert list(LayerNormalization().get_config())[3:8] == [
        *("axis", "epsilon", "center", "scale", "rms_scaling")
    ]


@pytest.mark.parametrize("make", [LayerNormalization, RMSNormalization])
def test_half_precision_is_computed_in_single(make):
    x = torch.full((1, 3000), 300.0)  # the sum of squares exceeds what float16 holds
    x[:, ::2] = 1.0
    expected = make()(x)
    assert_close(make(dtype="float16")(x.half()).float(), expected, rtol=2e-3, atol=2e-3)
    assert_close(make(dtype="mixed_float16")(x).float(), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float16])
def test_the_output_has_the_precision_of_the_input_as_in_keras(dtype):
    x = (batch((3, 6)) * 4).to(dtype)
    expected = LayerNormalization()(x.float())
    found = LayerNormalization()(x)
    assert found.dtype is torch.float32 and torch.equal(found, expected.to(dtype).float())
    assert not torch.equal(found, expected)
    if dtype is torch.int32:
        assert RMSNormalization()(x).dtype is dtype


def test_without_weights_it_follows_the_dtype_of_the_model():
    layer = LayerNormalization(center=False, scale=False)
    model = nn.Sequential(nn.Linear(4, 4), layer).half()
    assert layer.compute_dtype == "float16" and model(batch((2, 4)).half()).dtype is torch.float16


def test_the_default_epsilon_follows_the_config():
    before, layer, x = config.epsilon(), LayerNormalization(epsilon=None), batch((2, 4)) * 1e-3
    expected = LayerNormalization(epsilon=before)(x)
    assert torch.equal(layer(x), expected)
    config.set_epsilon(1e-3)
    try:
        assert not torch.allclose(layer(x), expected)
    finally:
        config.set_epsilon(before)


@pytest.mark.parametrize(
    "plain, made",
    [
        (nn.LayerNorm(6), LayerNormalization),
        (nn.LayerNorm((4, 6), eps=0.1, bias=False), LayerNormalization),
        (nn.LayerNorm(6, elementwise_affine=False), LayerNormalization),
        (nn.RMSNorm(6), RMSNormalization),
        (nn.RMSNorm((4, 6), eps=0.1), RMSNormalization),
    ],
    ids=str,
)
@pytest.mark.parametrize("copied", [False, True])
def test_from_and_to_torch(plain, made, copied):
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    x, layer = batch((3, 4, 6)), made.from_torch(plain, copy=copied)
    assert_close(layer(x), plain(x))
    assert [*layer.state_dict()] == [*plain.state_dict()]
    if not layer.weights:
        with pytest.raises(ValueError, match="`layer` must be a layer with weights"):
            layer.to_torch()
        return
    assert (layer.weight is plain.weight) is not copied
    back = layer.to_torch(copy=copied)
    assert type(back) is type(plain) and torch.equal(back(x), plain(x))
    assert [*back.state_dict()] == [*plain.state_dict()]


def test_what_torch_does_not_have_is_refused():
    layer = LayerNormalization([1, 2], input_shape=(4, 6))
    assert layer.to_torch(3).normalized_shape == (4, 6)
    refused = [
        (layer, {}, "`input_rank` must be given"),
        (layer, {"input_rank": 4}, "`axis` must be the last axes"),
        (LayerNormalization(), {}, "must be built"),
        (LayerNormalization(rms_scaling=True, input_shape=(3,)), {}, "`rms_scaling` must be False"),
        (LayerNormalization(dtype="mixed_float16", input_shape=(3,)), {}, "`dtype` must be"),
    ]
    for one, arguments, message in refused:
        with pytest.raises(ValueError, match=message):
            one.to_torch(**arguments)
    for wrong in (nn.GroupNorm(1, 2), nn.RMSNorm(2, elementwise_affine=False)):
        with pytest.raises(ValueError, match="must be"):
            RMSNormalization.from_torch(wrong)


def test_unit_normalization_of_tiny_and_zero_samples():
    x = torch.tensor([[3e-8, 4e-8], [0.0, 0.0]])
    layer = UnitNormalization()
    assert_close(layer(x), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    layer.keras_2 = True  # the factor was at most 1e6
    assert_close(layer(x), torch.tensor([[0.03, 0.04], [0.0, 0.0]]))


@pytest.mark.parametrize("content, kept", [({}, 0.03), ({"trainable": True}, 0.6)])
def test_a_file_of_keras_2_has_the_unit_normalization_of_keras_2(content, kept):
    layers = [input_layer("x", (None, 2)), layer("UnitNormalization", "a", axis=-1)]
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": layers, **content}}
    model = build_model(parse_model_config(config, "here"))
    for one in (model, copy.deepcopy(model)):
        assert_close(one(torch.tensor([[3e-8, 4e-8]])), torch.tensor([[kept, kept * 4 / 3]]))
    written = model.layers["a"].get_config()
    assert written.pop("keras_2", False) is (kept == 0.03)
    again = UnitNormalization.from_config(model.layers["a"].get_config())
    assert_close(again(torch.tensor([[3e-8, 4e-8]])), torch.tensor([[kept, kept * 4 / 3]]))
