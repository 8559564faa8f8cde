"""Transposed convolutions: values, crops, and what is special about them."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import layers
from kerastorch._ops import transposed_convolution
from kerastorch.layers import Conv1DTranspose, Conv2D, Conv2DTranspose, Conv3DTranspose
from tests.layers.case import batch, each_case
from tests.layers.test_transpose import CASES, TRANSPOSED

F64 = torch.float64
APART = ("activation", "kernel_regularizer", "activity_regularizer", "kernel_constraint")
EACH = each_case(CASES)


def transposed(x, kernel, bias, strides, padding, output_padding, dilation):
    """Convolve (batch, *spatial, in) with (*window, out, in), as TensorFlow does, in NumPy."""
    sizes, window = x.shape[1:-1], kernel.shape[:-2]
    spans = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    axes = list(zip(sizes, strides, spans, strict=True))
    whole = [(n - 1) * s + span for n, s, span in axes]
    room = [w + n * s for w, (n, s, _) in zip(whole, axes, strict=True)]
    y = np.zeros((len(x), *room, kernel.shape[-2]))
    for place in np.ndindex(*sizes):
        for tap in np.ndindex(*window):
            steps = zip(place, tap, strides, dilation, strict=True)
            at = tuple(p * s + t * d for p, t, s, d in steps)
            y[(slice(None), *at)] += x[(slice(None), *place)] @ kernel[tap].T
    extra = output_padding or [None] * len(sizes)
    for axis, ((n, s, span), more) in enumerate(zip(axes, extra, strict=True), 1):
        if padding == "same":
            size = n * s if more is None else (n - 1) * s + span % 2 + more
            before = max(whole[axis - 1] - size, 0) // 2
        else:
            size, before = whole[axis - 1] + (max(s - span, 0) if more is None else more), 0
        y = np.take(y, range(before, before + size), axis)
    return y + bias


def make(case, **arguments):
    given = {name: value for name, value in case.arguments.items() if name not in APART}
    return case.layer(**{**given, **arguments})


def is_first(case):
    return case.arguments.get("data_format") == "channels_first"


def from_oracle(case, layer, x, arrays):
    x = np.moveaxis(x.numpy(), 1, -1) if is_first(case) else x.numpy()
    kernel, *bias = arrays
    options = layer.strides, layer.padding, layer.output_padding, layer.dilation_rate
    y = transposed(x, kernel, bias[0] if bias else 0.0, *options)
    return torch.from_numpy(np.moveaxis(y, -1, 1) if is_first(case) else y)


@EACH
def test_outputs_and_gradients_are_the_oracle_s(case):
    layer = make(case, dtype="float64")
    for shape in (case.shape, *case.others):
        x = batch(shape, F64)
        for mode in (torch.enable_grad, torch.no_grad):
            with mode():
                y = layer(x)
            assert_close(y.detach(), from_oracle(case, layer, x, layer.get_weights()))
    x.requires_grad_()
    layer.zero_grad()
    y = layer(x)
    along = batch(y.shape, F64, seed=1)
    y.backward(along)
    kernel, *rest = (variable.value for variable in layer.variables)
    dx, dkernel = batch(x.shape, F64, seed=2), batch(kernel.shape, F64, seed=3)
    by_x = from_oracle(case, layer, dx, [kernel.detach().numpy()])
    assert_close((x.grad * dx).sum(), (by_x * along).sum())
    by_kernel = from_oracle(case, layer, x.detach(), [dkernel.numpy()])
    grad = layer.weight.grad.permute(*range(2, kernel.ndim), 1, 0)
    assert_close((grad * dkernel).sum(), (by_kernel * along).sum())
    assert layer.weight.grad.squeeze().stride() == layer.weight.squeeze().stride()
    if rest:
        axis = 1 if is_first(case) else along.ndim - 1
        assert_close(layer.bias.grad, along.movedim(axis, -1).flatten(0, -2).sum(0))


def line(values, kernel, **arguments):
    """Return what Conv1DTranspose makes of numbers, with a kernel and a bias of 0.5."""
    layer = Conv1DTranspose(1, len(kernel), input_shape=(len(values), 1), **arguments)
    layer.set_weights([np.array(kernel, np.float32).reshape(-1, 1, 1), np.array([0.5], np.float32)])
    return (layer(torch.tensor(values).reshape(1, -1, 1)) - 0.5).flatten().tolist()


def test_numbers_worked_out_by_hand():
    whole, kernel, values = [1, 10, 102, 20, 200], [1.0, 10, 100], [1.0, 2]
    assert line(values, kernel, strides=2) == whole
    assert line(values, kernel, strides=2, output_padding=1) == [*whole, 0]  # the bias alone
    assert line(values, [3.0], strides=3) == [3, 0, 0, 6, 0, 0]
    assert line(values, [1.0, 10], padding="same") == [1, 12]
    assert line(values, kernel, padding="same") == [12, 120]


def test_a_strided_same_crops_at_the_end():
    """The usual port, `padding=1, output_padding=1`, is shifted: so was Keras 3.14 on torch."""
    kernel, values = [1.0, 10, 100], [1.0, 2]
    assert line(values, kernel, strides=2, padding="same") == [1, 10, 102, 20]
    shifted = torch.conv_transpose1d(
        torch.tensor(values).view(1, 1, 2), torch.tensor(kernel).view(1, 1, 3), None, 2, 1, 1
    )
    assert shifted.flatten().tolist() == [10, 102, 20, 200]


@pytest.mark.parametrize("kernel, stride", [(3, 2), (5, 2), (4, 2), (2, 2), (5, 3), (3, 1)])
def test_a_strided_same_is_the_gradient_of_a_convolution(kernel, stride):
    size = (3 * stride, 4 * stride)
    forward = Conv2D(3, kernel, stride, "same", use_bias=False, dtype="float64")
    x = batch((2, *size, 2), F64).requires_grad_()
    y = forward(x)
    along = batch(y.shape, F64, seed=1)
    y.backward(along)
    layer = Conv2DTranspose(2, kernel, stride, "same", use_bias=False, dtype="float64")
    layer.build(along.shape)
    layer.load_state_dict(forward.state_dict())
    assert_close(layer(along), x.grad)


@pytest.mark.parametrize("padding, output_padding", [("same", None), ("valid", None), ("valid", 1)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_one_filter_and_an_input_of_one_place_along_the_width(rank, padding, output_padding):
    """oneDNN computes its gradient wrong on some processors, most often with other strides of 1."""
    kind = (Conv1DTranspose, Conv2DTranspose, Conv3DTranspose)[rank - 1]
    geometries = [(2, 2, True), (3, 2, False), (3, 4, True), (5, 3, True)]
    for (kernel, last, use_bias), first in itertools.product(geometries, (1, 2)):
        if output_padding == first:
            continue  # refused
        shape, stride = (2, *(4, 3)[: rank - 1], 1, 5), (*(first,) * (rank - 1), last)
        layer = kind(1, kernel, stride, padding, output_padding=output_padding, use_bias=use_bias)
        found = []
        for dtype in (torch.float32, F64):
            layer.to(dtype)
            x = batch(shape).to(dtype).requires_grad_()
            y = layer(x)
            along = batch(y.shape, seed=1).to(dtype)
            wanted = (x, *layer.parameters())
            found.append([y.double(), *map(torch.Tensor.double, torch.autograd.grad(
                (y * along).sum(), wanted))])  # fmt: skip
        assert_close(*found, rtol=1e-4, atol=1e-5)


def test_the_stride_along_a_width_of_one_is_left_out(monkeypatch):
    """The same on a processor that computes it right anyway."""
    strides, plain = [], torch.conv_transpose2d

    def spy(x, weight, bias, stride, *others):
        strides.append(stride)
        return plain(x, weight, bias, stride, *others)

    monkeypatch.setitem(transposed_convolution._TRANSPOSED, 2, spy)
    layer = Conv2DTranspose(1, 3, 2, "same")
    layer(batch((2, 5, 1, 3))), layer(batch((2, 5, 4, 3)))
    with torch.no_grad():  # the forward pass is right
        layer(batch((2, 5, 1, 3)))
    assert strides == [(2, 1), (2, 2), (2, 2)]


def test_an_output_without_places_is_refused():
    layer = Conv2DTranspose(2, 2, padding="same", output_padding=0)
    assert layer.compute_output_shape((1, 1, 4, 3)) == (1, 0, 3, 2)
    with pytest.raises(ValueError, match="an output of at least one position"):
        layer(batch((1, 1, 4, 3)))


@pytest.mark.parametrize("activation", ["relu", "silu", "softmax", torch.sin, None])
def test_activations_after_the_crop(activation):
    layer = Conv2DTranspose(4, 3, 2, "same", activation=activation, input_shape=(5, 4, 3))
    plain = Conv2DTranspose(4, 3, 2, "same", input_shape=(5, 4, 3))
    plain.load_state_dict(layer.state_dict())
    x = batch((2, 5, 4, 3))
    expected = layer.activation(plain(x))
    found, wanted = (torch.autograd.grad(y.square().sum(), m.weight)
                     for y, m in ((layer(x), layer), (expected, plain)))  # fmt: skip
    assert_close(found, wanted)
    with torch.no_grad():
        assert_close(layer(x), expected)


def test_keras_has_no_lora_and_no_groups_here():
    layer = Conv2DTranspose(4, 3, input_shape=(5, 4, 3))
    with pytest.raises(AttributeError, match="no LoRA for Conv2DTranspose"):
        layer.enable_lora(2)
    assert not {"groups", "lora_rank", "lora_alpha"} & set(layer.arguments())
    with pytest.raises(ValueError, match="`groups` must be one of its arguments"):
        Conv2DTranspose(4, 3, groups=1)


def test_the_shapes_in_a_repr():
    layer = Conv2DTranspose(4, (3, 2), 2, "same", 1, activation="relu", input_shape=(5, 4, 3))
    assert repr(layer) == (
        "Conv2DTranspose(3, 4, kernel_size=(3, 2), strides=(2, 2), padding='same', "
        "activation=relu, output_padding=(1, 1))"
    )


def test_positional_arguments_are_keras_s():
    for kind in (Conv1DTranspose, Conv2DTranspose):
        assert kind(4, 3, 2, "same", 1, "channels_first").output_padding == (1,) * kind.rank
    volume = Conv3DTranspose(4, 3, 2, "same", "channels_first", 1)
    assert (volume.data_format, volume.output_padding) == ("channels_first", (1, 1, 1))
    keys = list(volume.get_config())
    assert keys == list(Conv2DTranspose(4, 3).get_config())
    assert keys.index("output_padding") == keys.index("data_format") - 1


# From and to torch.nn


@EACH
def test_to_torch(case):
    layer = make(case, dtype="float64")
    x = batch(case.shape, F64)
    expected = layer(x)
    plain = layer.to_torch()
    assert not any(isinstance(m, type(layer)) for m in plain.modules())
    if not is_first(case):
        x, expected = x.movedim(-1, 1), expected.movedim(-1, 1)
    assert_close(plain(x), expected)
    assert next(plain.parameters()) is layer.weight
    if isinstance(plain, nn.Sequential):  # PyTorch has no padding for its crop
        assert isinstance(plain[1], (nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d))
        return
    again = type(layer).from_torch(plain, data_format=layer.data_format)
    assert_close(again(batch(case.shape, F64)), layer(batch(case.shape, F64)))


def test_to_torch_has_the_activation():
    layer = Conv2DTranspose(4, 3, 2, "same", activation="relu", input_shape=(5, 4, 3))
    kinds = [nn.ConvTranspose2d, nn.ZeroPad2d, nn.ReLU]
    assert [type(module) for module in layer.to_torch()] == kinds
    whole = Conv2DTranspose(4, 2, 2, activation="softmax", input_shape=(5, 4, 3)).to_torch()
    assert [type(module) for module in whole] == [nn.ConvTranspose2d, nn.Softmax]


# kernel, stride, padding, output_padding, dilation -> Keras's padding and output_padding
PLAIN = [
    ((3, 2, 0, 0, 1), ("valid", None)),
    ((2, 3, 0, 1, 1), ("valid", None)),
    ((2, 3, 0, 2, 1), ("valid", (2, 2))),
    ((2, 3, 0, 0, 1), ("valid", (0, 0))),
    ((4, 2, 1, 0, 1), ("same", None)),
    ((3, 1, 1, 0, 1), ("same", None)),
    ((3, 1, 2, 0, 2), ("same", None)),
    ((3, 2, 1, 0, 1), ("same", (0, 0))),
    ((5, 2, 2, 0, 1), ("same", (0, 0))),
    ((5, 3, 1, 0, 1), ("same", None)),
    ((3, 2, 1, 1, 1), None),
    ((4, 2, 2, 0, 1), ("same", (0, 0))),
    ((5, 1, 1, 0, 1), None),
    ((5, 2, 3, 0, 1), None),
    ((3, 1, 0, 1, 2), None),
]


@pytest.mark.parametrize("given, expected", PLAIN)
def test_from_torch(given, expected):
    kernel, stride, padding, more, dilation = given
    native = nn.ConvTranspose2d(3, 4, kernel, stride, padding, more, 1, True, dilation).double()
    if expected is None:
        with pytest.raises(ValueError, match="must be one that crops as Keras"):
            Conv2DTranspose.from_torch(native)
        return
    layer = Conv2DTranspose.from_torch(native)
    assert (layer.padding, layer.output_padding) == expected and layer.weight is native.weight
    x = batch((2, 3, 5, 7), F64)
    assert_close(layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), native(x))


def test_from_torch_refuses_what_keras_has_not():
    for module, named in [
        (nn.ConvTranspose2d(4, 4, 3, groups=2), "groups"),
        (nn.ConvTranspose1d(4, 4, 3), "an initialized nn.ConvTranspose2d"),
        (nn.Conv2d(4, 4, 3), "an initialized nn.ConvTranspose2d"),
        (nn.LazyConvTranspose2d(4, 3), "an initialized nn.ConvTranspose2d"),
    ]:
        with pytest.raises(ValueError, match=named):
            Conv2DTranspose.from_torch(module)
    assert isinstance(Conv1DTranspose.from_torch(nn.ConvTranspose1d(3, 4, 3)), Conv1DTranspose)
    assert isinstance(Conv3DTranspose.from_torch(nn.ConvTranspose3d(3, 4, 3)), Conv3DTranspose)


def test_the_state_dict_is_that_of_torch_nn():
    for rank, kind in enumerate((Conv1DTranspose, Conv2DTranspose, Conv3DTranspose), 1):
        native = getattr(nn, f"ConvTranspose{rank}d")(3, 4, (2, 3, 1)[:rank])
        layer = kind(4, (2, 3, 1)[:rank])
        layer.load_state_dict(native.state_dict())  # builds it
        assert_close(layer.weight, native.weight)
        assert layer.kernel.shape == (*(2, 3, 1)[:rank], 4, 3)


def test_swapped_filters_and_channels_are_refused_where_the_shape_tells():
    layer = Conv2DTranspose(4, 2, input_shape=(5, 6, 3))
    kernel, bias = layer.get_weights()
    with pytest.raises(ValueError, match="a list of arrays for"):
        layer.set_weights([kernel.swapaxes(2, 3), bias])
    assert kernel.shape == (2, 2, 4, 3)


def test_names_of_keras_2_are_for_files_only():
    assert not {"Deconvolution2D", "Deconv2D", "Deconv3D"} & set(dir(layers))
    assert layers.Convolution2DTranspose is Conv2DTranspose


def test_every_row_differs():
    assert len({str(case) for case in TRANSPOSED.values()}) == len(TRANSPOSED)


@pytest.mark.parametrize("kernel_size", [2, 3])  # 3 is cropped
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_no_view_is_overwritten_in_training(rank, kernel_size):
    """Autograd would copy the gradient for it."""
    cls = (Conv1DTranspose, Conv2DTranspose, Conv3DTranspose)[rank - 1]
    layer = cls(2, kernel_size, strides=2, padding="same", activation="relu")
    names, nodes = set(), [layer(torch.randn(2, *(5,) * rank, 3)).grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None:
            names.add(node.name())
            nodes += [before for before, _ in node.next_functions]
    assert "ReluBackward0" in names
    assert not {"CopySlices", "AsStridedBackward0"} & names
