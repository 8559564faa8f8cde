"""LocallyConnected1D and LocallyConnected2D; `compat/layers/test_local.py` has their values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from kerastorch import config
from kerastorch.layers import Conv2D, LocallyConnected1D, LocallyConnected2D
from tests.layers.case import LayerCase, Shape, batch
from tests.models.building.examples import built
from tests.models.configs import chain
from tests.models.configs import layer as entry

# No input shape follows from the kernel alone, or from that of implementation 3 with "same".
NOT_FROM_THE_KERNEL = frozenset({"test_a_partial_state_dict_is_taken_where_it_may_be"})
REFUSED: list[tuple[str, Any, type[Exception]]] = [
    *(("filters", value, ValueError) for value in (0, -1, 2.5, None)),
    *(("kernel_size", value, ValueError) for value in (0, (1, 1, 1), "a", None)),
    *(("strides", value, ValueError) for value in (0, -1, (1, 1, 1), "a")),
    *(("padding", value, ValueError) for value in ("causal", "full", 1)),
    *(("implementation", value, ValueError) for value in (0, 4, None, "1")),
    *(("data_format", "NHWC", ValueError), ("activation", "foo", ValueError)),
    *(("dilation_rate", 2, ValueError), ("groups", 1, ValueError), ("lora_rank", 1, ValueError)),
]
FIRST = {"data_format": "channels_first"}
SAME = {"padding": "same"}


def _case(
    layer: Any, shape: Shape, refused: list[Shape], thorough: bool = False, **arguments: Any
) -> LayerCase:
    given = {"filters": 4, "bias_initializer": "random_normal", **arguments}
    only = arguments.get("implementation", 1) == 1
    more = [("padding", "same", ValueError)] if only else []
    exempt = frozenset() if layer is LocallyConnected1D and only else NOT_FROM_THE_KERNEL
    if arguments.get("implementation") == 2:
        exempt = frozenset()
    return LayerCase(layer, given, shape, (), refused, [*REFUSED, *more], thorough=thorough,
                     integers="converted", exempt=exempt)  # fmt: skip


def _one(**arguments: Any) -> LayerCase:
    first = arguments.get("data_format") == "channels_first"
    shape, refused = (2, 7, 3), [(2, 9, 3), (2, 7, 2), (7, 3)]
    if first:
        shape, refused = (2, 3, 7), [(2, 3, 9), (2, 2, 7), (3, 7)]
    return _case(LocallyConnected1D, shape, refused, **arguments)


def _two(**arguments: Any) -> LayerCase:
    first = arguments.get("data_format") == "channels_first"
    shape, refused = (2, 6, 7, 3), [(2, 8, 7, 3), (2, 7, 6, 3), (2, 6, 7, 2), (6, 7, 3)]
    if first:
        shape, refused = (2, 3, 6, 7), [(2, 3, 6, 9), (2, 3, 7, 6), (2, 2, 6, 7), (3, 6, 7)]
    return _case(LocallyConnected2D, shape, refused, **arguments)


CASES = [
    _one(kernel_size=2, activation="relu"),
    _one(kernel_size=(3,), strides=2, use_bias=False),
    _one(kernel_size=3, strides=2, activation="softmax", **FIRST),
    _one(kernel_size=2, strides=2, implementation=2, thorough=True, **SAME),
    _one(kernel_size=3, implementation=2, kernel_regularizer="l2", **FIRST),
    _one(kernel_size=3, implementation=3, thorough=True, **FIRST),
    _one(kernel_size=1, strides=2, implementation=3, activity_regularizer="l1", **SAME),
    _two(kernel_size=(2, 3), strides=(2, 1), thorough=True, activation="silu"),
    _two(kernel_size=(3, 2), kernel_constraint="max_norm", **FIRST),
    _two(kernel_size=(2, 3), implementation=2, activation="silu", thorough=True, **FIRST),
    _two(kernel_size=2, strides=(1, 2), implementation=2, **SAME),
    _two(kernel_size=(3, 2), strides=2, implementation=3, trainable=False),
    _two(kernel_size=(3, 2), strides=(1, 2), implementation=3, **FIRST, **SAME),
]


def local(rank: int, shape: Shape, **arguments: Any) -> Any:
    layer = (LocallyConnected1D, LocallyConnected2D)[rank - 1](**arguments)
    layer.build(shape)
    return layer


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("implementation", [1, 2, 3])
def test_with_one_kernel_everywhere_it_is_a_convolution(implementation, layout):
    """Of "valid" in every implementation: the order of the elements of a window."""
    shape = (2, 6, 7, 3) if layout == "channels_last" else (2, 3, 6, 7)
    conv = Conv2D(4, (2, 3), strides=(1, 2), data_format=layout)
    conv.build(shape)
    layer = local(2, shape, filters=4, kernel_size=(2, 3), strides=(1, 2), data_format=layout,
                  implementation=implementation)  # fmt: skip
    one = conv.kernel.detach()  # (2, 3, channels, filters)
    rows, columns = 5, 3
    with torch.no_grad():
        if implementation == 2:
            layer.kernel.fill_(7)  # what no window joins is ignored
        for p in range(rows):
            for q in range(columns):
                fill(layer, one, p, q, columns)
    x = batch(shape)
    assert_close(layer(x), conv(x))


def fill(layer: Any, one: torch.Tensor, p: int, q: int, columns: int) -> None:
    """Write a convolution's kernel into the place (p, q)."""
    last, kernel = layer.data_format == "channels_last", layer.kernel
    inner = one if last else one.permute(2, 0, 1, 3)  # with the window in the format's order
    if layer.implementation == 1:
        kernel[p * columns + q] = inner.flatten(0, -2)
    elif layer.implementation == 2 and last:
        kernel[p : p + 2, 2 * q : 2 * q + 3, :, p, q] = inner
    elif layer.implementation == 2:
        kernel[:, p : p + 2, 2 * q : 2 * q + 3, :, p, q] = inner
    else:
        listed = kernel.view(*((5, 3, 4) if last else (4, 5, 3)), -1)
        place = listed[p, q] if last else listed[:, p, q]
        place.copy_(inner.flatten(0, -2).T)


@pytest.mark.parametrize("implementation", [2, 3])
def test_a_window_of_same_begins_half_a_kernel_before_its_place(implementation):
    """Unlike that of a convolution, whose padding is even and follows the input's size."""
    x = torch.tensor([1.0, 10, 100, 1000, 10000, 100000]).view(1, 6, 1)
    for size, strides, expected, convolved in (
        (3, 2, [11, 1110, 111000], [111, 11100, 110000]),
        (2, 3, [1, 1100], [11, 11000]),
        (4, 4, [11, 111100], [111, 111000]),
    ):
        layer = local(1, (1, 6, 1), filters=1, kernel_size=size, strides=strides, padding="same",
                      implementation=implementation, kernel_initializer="ones")  # fmt: skip
        conv = Conv2D(1, (size, 1), strides=strides, padding="same", kernel_initializer="ones")
        assert layer(x).flatten().tolist() == expected
        assert conv(x[:, :, None]).flatten().tolist() == convolved


@pytest.mark.parametrize("implementation", [1, 2, 3])
def test_a_bias_of_channels_first_is_added_in_the_order_of_its_elements(implementation):
    layer = local(1, (1, 2, 4), filters=2, kernel_size=2, implementation=implementation, **FIRST)
    layer.set_weights([0 * layer.kernel, torch.arange(6.0).view(3, 2)])
    assert layer(torch.ones(1, 2, 4)).tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_the_part_that_no_window_joins_has_no_gradient_and_is_regularized():
    layer = local(1, (1, 5, 1), filters=1, kernel_size=2, implementation=2, kernel_regularizer="l2",
                  kernel_initializer="ones")  # fmt: skip
    layer(torch.ones(1, 5, 1)).sum().backward()
    joined = [[int(0 <= n - o < 2) for o in range(4)] for n in range(5)]
    assert layer.kernel.grad[:, 0, :, 0].tolist() == joined
    assert layer.losses[0].item() == pytest.approx(0.01 * 20)


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize("implementation", [1, 2, 3])
def test_other_sizes_of_as_many_places_are_refused(implementation, use_bias):
    """Some have a kernel of the same shape; a mask of one place would be broadcast."""
    layer = local(2, (2, 4, 3, 2), filters=3, kernel_size=1, implementation=implementation,
                  use_bias=use_bias)  # fmt: skip
    for shape in ((2, 3, 4, 2), (2, 1, 1, 24), (2, 2, 6, 2), (2, 1, 12, 2)):
        with pytest.raises(ValueError, match="LocallyConnected2D: `inputs` must be of the sizes"):
            layer(torch.ones(shape))


@pytest.mark.parametrize("shape", [(None, None, 3), (None, 7, None), (None, 0, 3), (None, 1, 3)])
def test_sizes_must_be_known_and_fit_to_build(shape):
    layer = LocallyConnected1D(4, 2)
    with pytest.raises(ValueError, match="LocallyConnected1D: `input_shape` must be a shape"):
        layer.build(shape)
    assert not layer.built
    assert layer.compute_output_shape((None, None, 3)) == (None, None, 4)


def test_a_state_dict_from_which_no_shape_follows_is_for_a_built_layer():
    arguments = {"filters": 2, "kernel_size": 2, "use_bias": False}
    source, target = (local(2, (1, 4, 5, 3), **arguments), LocallyConnected2D(**arguments))
    with pytest.raises(RuntimeError, match="LocallyConnected2D: `state_dict` must be"):
        target.load_state_dict(source.state_dict())
    assert not target.built
    target.build((1, 4, 5, 3))
    target.load_state_dict(source.state_dict())
    assert_close(target(batch((2, 4, 5, 3))), source(batch((2, 4, 5, 3))))


KERAS_1: dict[str, Any] = {
    "name": "a",
    "trainable": True,
    "nb_filter": 4,
    "init": "uniform",
    "activation": "relu",
    "border_mode": "valid",
    "W_regularizer": None,
    "b_constraint": None,
    "bias": False,
}


def test_configs_of_keras_1():
    one = {**KERAS_1, "filter_length": 3, "subsample_length": 2, "input_dim": 2, "input_length": 9}
    two = {**KERAS_1, "nb_row": 3, "nb_col": 2, "subsample": [2, 1], "dim_ordering": "th"}
    made = LocallyConnected1D.from_config(one), LocallyConnected2D.from_config(two)
    for layer, kernel_size, strides in zip(made, [(3,), (3, 2)], [(2,), (2, 1)], strict=True):
        assert (layer.filters, layer.kernel_size, layer.strides) == (4, kernel_size, strides)
        assert not layer.use_bias and layer.implementation == 1
    assert [layer.data_format for layer in made] == ["channels_last", "channels_first"]
    assert "filter_length" in one and "nb_row" in two


def test_in_1d_keras_1_has_channels_last_only():
    before = config.image_data_format()
    config.set_image_data_format("channels_first")
    try:
        layer = LocallyConnected1D.from_config({**KERAS_1, "filter_length": 3})
    finally:
        config.set_image_data_format(before)
    assert layer.data_format == "channels_last"


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_in_a_lowered_model(layout, training):
    """Between layers that overwrite their input or move the channels."""
    given = {"filters": 3, "kernel_size": [2, 2], "data_format": layout}
    found: Any = model_of(
        chain(
            entry("Conv2D", "c", data_format=layout, filters=2, kernel_size=[1, 2]),
            entry("LocallyConnected2D", "a", **given, activation="tanh"),
            entry("ReLU", "r", trainable=True),
            entry("LocallyConnected2D", "b", **given, implementation=3, padding="same"),
            entry("LocallyConnected2D", "d", **given, implementation=2, activation="softmax"),
            entry("Activation", "e", trainable=True, activation="relu"),
        ),
        layout,
    )
    x = batch((2, 6, 7, 2) if layout == "channels_last" else (2, 2, 6, 7)).requires_grad_()
    y = found.train(training)(x)
    expected = x
    for one in list(found.layers.values())[1:]:
        expected = one(expected)
    assert_close(y, expected)
    if training:
        gradients = [torch.autograd.grad(z.square().sum(), x)[0] for z in (y, expected)]
        assert_close(*gradients)


def model_of(config: dict[str, Any], layout: str) -> Any:
    shape = [None, 6, 7, 2] if layout == "channels_last" else [None, 2, 6, 7]
    config["config"]["layers"][0]["config"]["batch_shape"] = shape
    return built(config)


def test_what_a_users_activation_returns_is_not_overwritten():
    found = model_of(
        chain(
            entry("LocallyConnected2D", "a", filters=3, kernel_size=[2, 2]),
            entry("ReLU", "r", trainable=True),
        ),
        "channels_last",
    ).eval()
    kept: list[torch.Tensor] = []
    found.layers["a"].activation = lambda y: kept.append(y) or y
    with torch.no_grad():
        found(batch((2, 6, 7, 2)))
    assert (kept[0] < 0).any()
