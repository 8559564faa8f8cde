"""What compare names for the mistakes of convolutions of any rank, and of normalizations."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kerastorch import compare, layers
from tests.comparison.models import Keras, Plain, batch, with_weights

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSE = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
SHAPES = {1: (2, 8, 4), 2: (2, 7, 6, 4), 3: (2, 4, 5, 6, 4)}  # "same" of stride 2 is uneven
RANKS, DEPTHWISE_RANKS = (1, 2, 3), (1, 2)
SAME = {"strides": 2, "padding": "same"}


def keras(kind, rank, *arguments, **options):
    """A built layer of a class and rank, `Conv{}DTranspose`, named "layer"."""
    made = getattr(layers, kind.format(rank))(*arguments, name="layer", **options)
    return with_weights(made, SHAPES[rank])


def plain(make, layer, *arguments, change=lambda weight: weight, **options):
    """A plain module with the weights of a layer, one of them changed."""
    module = make(4, *arguments, bias=layer.bias is not None, **options)
    state = layer.state_dict()
    module.load_state_dict({**state, "weight": change(state["weight"])})
    return module


def plain_depthwise(rank, layer, change=lambda weight: weight, **options):
    filters = 4 * layer.depth_multiplier
    return plain(CONV[rank], layer, filters, 3, groups=4, change=change, **options)


def plain_separable(rank, layer, change=lambda weight: weight, **options):
    first = CONV[rank](4, 4 * layer.depth_multiplier, 3, groups=4, bias=False, **options)
    last = CONV[rank](4 * layer.depth_multiplier, layer.filters, 1)
    first.load_state_dict({"weight": change(layer.depthwise_weight)})
    last.load_state_dict({"weight": layer.pointwise_weight, "bias": layer.bias})
    return nn.Sequential(first, last)


def with_weight(layer, change, name="weight"):
    """The same layer with one weight changed."""
    other = type(layer).from_config(layer.get_config()).eval()
    other.build(SHAPES[layer.rank])
    other.load_state_dict({**layer.state_dict(), name: change(layer.state_dict()[name])})
    return other


def check(model, layer, name=None, words=""):
    """Check the cause that is named, or that none is."""
    result = compare(model, Keras(layer), batch(*SHAPES[layer.rank]))
    assert result.ok == (name is None), str(result)
    found = result.cause
    assert (found and found.name) == name, str(result)
    assert found is None or words in found.text, found.text


def swap_first_axes(weight):
    return weight.transpose(0, 1)


def order_by_multiplier(weight):
    """The weight as it becomes if Keras's last two axes are exchanged and then joined."""
    return weight.unflatten(0, (4, -1)).transpose(0, 1).flatten(0, 1)


def reshape_kernel(weight):
    """The weight as it becomes if Keras's kernel is reshaped."""
    return weight.squeeze(1).movedim(0, -1).reshape(weight.shape)


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("rank", RANKS)
def test_symmetric_padding_of_a_strided_convolution(rank, activation):
    layer = keras("Conv{}D", rank, 4, 3, activation=activation, **SAME)
    own = partial(plain, CONV[rank], layer, 4, 3, stride=2)
    sides = {1: (0, 1), 2: (0, 1, 1, 1), 3: (0, 1, 1, 1, 0, 1)}[rank]
    after = {} if activation is None else {"relu": F.relu}
    first = {"nchw": lambda x: x.movedim(-1, 1)}
    padded = {**first, "pad": partial(F.pad, pad=sides)}
    check(Plain(**padded, layer=own(), **after), layer)
    check(Plain(layer=own(padding=1), **after), layer, "padding", "by (1,")
    wrong = {**first, "pad": partial(F.pad, pad=(1,) * 2 * rank)}
    check(Plain(**wrong, layer=own(), **after), layer, "padding", "its input is padded before it")


@pytest.mark.parametrize("rank", DEPTHWISE_RANKS)
def test_symmetric_padding_of_strided_depthwise_and_separable_convolutions(rank):
    depthwise = keras("DepthwiseConv{}D", rank, 3, depth_multiplier=2, **SAME)
    separable = keras("SeparableConv{}D", rank, 5, 3, depth_multiplier=2, **SAME)
    for layer, port in ((depthwise, plain_depthwise), (separable, plain_separable)):
        check(Plain(layer=layer.to_torch(SHAPES[rank][1:-1])), layer)
        check(Plain(layer=port(rank, layer, stride=2, padding=1)), layer, "padding", "by (1,")


def test_one_channel_in_which_the_other_layout_has_many():
    inputs = batch(2, 4, 5, 6, 1)
    layer = with_weights(layers.Conv3D(2, 3, name="layer", **SAME), inputs.shape)
    module = nn.Conv3d(1, 2, 3, 2, padding=1)
    module.load_state_dict(layer.state_dict())
    found = compare(Plain(layer=module), Keras(layer), inputs)
    assert found.cause.name == "padding"
    module = nn.Conv3d(1, 2, 3, 2, padding=1)
    assert compare(Plain(layer=module), Keras(layer), inputs).cause is None  # two mistakes


@pytest.mark.parametrize("rank", RANKS)
def test_symmetric_crop_of_a_strided_transpose(rank):
    layer = keras("Conv{}DTranspose", rank, 4, 3, **SAME)
    own = partial(plain, TRANSPOSE[rank], layer, 4, 3, stride=2)
    check(Plain(layer=own(padding=1, output_padding=1)), layer, "padding", "padding='same'")
    check(Plain(layer=own(padding=1)), layer, "padding")
    check(Plain(layer=own(), crop=partial(F.pad, pad=(0, -1) * rank)), layer)
    check(Plain(layer=own(), crop=partial(F.pad, pad=(-1, 0) * rank)), layer, "padding")


@pytest.mark.parametrize("rank", RANKS)
def test_a_transpose_kernel_with_swapped_filters_and_channels(rank):
    layer = keras("Conv{}DTranspose", rank, 4, 3, **SAME)
    own = with_weight(layer, swap_first_axes)
    check(Plain(layer=own), layer, "kernel transposed", "(..., filters, channels) in Keras")
    even = keras("Conv{}DTranspose", rank, 4, 2, strides=2, activation="relu")
    port = partial(plain, TRANSPOSE[rank], even, 4, 2, stride=2)
    check(Plain(layer=port(), relu=F.relu), even)
    wrong = Plain(layer=port(change=swap_first_axes), relu=F.relu)
    check(wrong, even, "kernel transposed", "(..., filters, channels) in Keras")


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize(
    "change, name",
    [
        (swap_first_axes, "kernel transposed"),
        (lambda w: w.flip(tuple(range(2, w.ndim))), "kernel flipped"),
        (lambda w: w.movedim((0, 1), (-1, -2)).reshape(w.shape), "kernel reshaped"),
        (torch.zeros_like, "weights"),
    ],
)
def test_kernels_of_every_rank(rank, change, name):
    layer = keras("Conv{}D", rank, 4, 3)
    check(Plain(layer=plain(CONV[rank], layer, 4, 3)), layer)
    check(Plain(layer=plain(CONV[rank], layer, 4, 3, change=change)), layer, name)


@pytest.mark.parametrize("rank", DEPTHWISE_RANKS)
@pytest.mark.parametrize(
    "change, name",
    [
        (order_by_multiplier, "depthwise channels"),
        (reshape_kernel, "kernel reshaped"),
        (torch.zeros_like, "weights"),
    ],
)
@pytest.mark.parametrize("multiplier", [2, 4])
def test_depthwise_filters(rank, change, name, multiplier):
    layer = keras("DepthwiseConv{}D", rank, 3, depth_multiplier=multiplier)
    check(Plain(layer=plain_depthwise(rank, layer)), layer)
    check(Plain(layer=plain_depthwise(rank, layer, change)), layer, name)
    check(Plain(layer=with_weight(layer, change)), layer, name)
    separable = keras("SeparableConv{}D", rank, 5, 3, depth_multiplier=multiplier)
    check(Plain(layer=plain_separable(rank, separable)), separable)
    check(Plain(layer=plain_separable(rank, separable, change)), separable, name)
    wrong = with_weight(separable, change, "depthwise_weight")
    check(Plain(layer=wrong), separable, name)


def test_weights_of_a_separable_convolution():
    layer = keras("SeparableConv{}D", 2, 8, 3, depth_multiplier=2, activation="relu")
    swapped = with_weight(layer, swap_first_axes, "pointwise_weight")
    check(Plain(layer=swapped), layer, "kernel transposed")
    both = plain_separable(2, layer, torch.zeros_like)
    nn.init.zeros_(both[1].weight)
    check(Plain(layer=both), layer, "weights", "`depthwise_kernel` and `pointwise_kernel`")
    nn.init.zeros_(both[1].bias)
    check(Plain(layer=both), layer, "weights", "`pointwise_kernel` and `bias`")


class ByMultiplier(nn.Module):
    """A depthwise convolution as one for each filter of a channel, whose outputs are joined."""

    def __init__(self, layer, channels_last):
        super().__init__()
        weights = layer.weight.unflatten(0, (4, -1)).unbind(1)
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, groups=4, bias=False) for _ in weights)
        for conv, weight in zip(self.convs, weights, strict=True):
            conv.load_state_dict({"weight": weight})
        self.channels_last = channels_last

    def forward(self, x):
        y = torch.cat([conv(x.movedim(-1, 1)) for conv in self.convs], 1)
        return y.movedim(1, -1) if self.channels_last else y


@pytest.mark.parametrize("channels_last", [False, True])
def test_depthwise_outputs_in_the_order_of_the_multiplier(channels_last):
    layer = keras("DepthwiseConv{}D", 2, 3, depth_multiplier=3, use_bias=False)
    model = ByMultiplier(layer, channels_last)
    check(Plain(layer=model), layer, "depthwise channels", "output channels")
    model.convs = nn.ModuleList([plain_depthwise(2, layer)])
    check(Plain(layer=model), layer)


@pytest.mark.parametrize("activation", [None, "tanh"])
@pytest.mark.parametrize("kind", ["LocallyConnected1D", "LocallyConnected2D"])
def test_weights_of_a_layer_of_unknown_computation(kind, activation):
    layer = keras(kind, int(kind[-2]), 3, 2, activation=activation)
    check(Plain(layer=with_weight(layer, torch.clone, "kernel")), layer)
    wrong = with_weight(layer, torch.zeros_like, "kernel")
    check(Plain(layer=wrong), layer, "weights", "`kernel`")


# Causal


@pytest.mark.parametrize("dilation", [1, 2])
def test_causal_and_same(dilation):
    causal = keras("Conv{}D", 1, 4, 3, padding="causal", dilation_rate=dilation)
    same = keras("Conv{}D", 1, 4, 3, padding="same", dilation_rate=dilation)
    own = partial(plain, nn.Conv1d, causal, 4, 3, dilation=dilation)
    check(Plain(layer=causal), same, "padding", "'causal', where Keras pads by TensorFlow's 'same'")
    check(Plain(layer=same), causal, "padding", "'same', where Keras pads before the first step")
    check(Plain(layer=own(padding="same")), causal, "padding", "padding='causal'")
    check(Plain(layer=own(padding=dilation)), causal, "padding", "padding='causal'")
    before = {"ncl": lambda x: x.movedim(-1, 1), "pad": partial(F.pad, pad=(2 * dilation, 0))}
    check(Plain(**before, layer=own()), causal)
    check(Plain(**before, layer=own()), same, "padding", "its input is padded before it")


def test_a_causal_convolution_whose_end_is_cropped():
    """As temporal convolutional networks have it: padded on both sides, with an activation."""
    layer = keras("Conv{}D", 1, 4, 3, padding="causal", activation="relu")
    second = layers.Conv1D(3, 2, name="second")
    with_weights(second, SHAPES[1])
    steps = {
        "layer": plain(nn.Conv1d, layer, 4, 3, padding=2),
        "crop": lambda y: y[..., :-2],
        "relu": F.relu,
        "second": plain(nn.Conv1d, second, 3, 2),
    }
    inputs = batch(*SHAPES[1])
    result = compare(Plain(**steps), Keras(layer, second), inputs)
    assert result.ok, str(result)
    assert [row.note for row in result.layers] == ["crop comes after it", ""]
    steps["crop"] = lambda y: y[..., 1:-1]
    result = compare(Plain(**steps), Keras(layer, second), inputs)
    assert (result.first.layer, result.cause.name) == ("layer", "padding")
    assert "Keras then applies `relu`" in result.cause.text


# Epsilon

NORMS = {
    "batch": (layers.BatchNormalization, lambda **options: nn.BatchNorm2d(4, **options)),
    "layer": (layers.LayerNormalization, lambda **options: nn.LayerNorm(4, **options)),
    "group": (partial(layers.GroupNormalization, 2), lambda **o: nn.GroupNorm(2, 4, **o)),
    "rms": (layers.RMSNormalization, lambda **options: nn.RMSNorm(4, **options)),
}


@pytest.mark.parametrize("scale", [1.0, 0.01], ids=["usual", "small"])
@pytest.mark.parametrize("epsilon, own", [(1e-3, None), (None, 1e-3), (0.0312, 1e-3), (1e-3, 1e-2)])
@pytest.mark.parametrize("norm", NORMS)
def test_epsilons(norm, epsilon, own, scale):
    """None is torch's default, and in the reference the same; but RMSNorm's is tiny."""
    make, make_plain = NORMS[norm]
    module = make_plain() if own is None else make_plain(eps=own)
    default = make_plain().eps or 1e-6
    layer = make(epsilon=default if epsilon is None else epsilon, name="layer")
    inputs = batch(2, 5, 3, 4) * scale
    with_weights(layer, inputs.shape)
    module.load_state_dict(layer.state_dict(), strict=False)
    after = {} if norm in ("layer", "rms") else {"nchw": lambda x: x.movedim(-1, 1)}
    result = compare(Plain(**after, layer=module), Keras(layer), inputs)
    assert result.cause is not None, str(result)
    assert result.cause.name == "epsilon"
    assert f"Keras's is {layer.epsilon:g}" in result.cause.text
    other = type(layer).from_config({**layer.get_config(), "epsilon": module.eps or 1.1920929e-07})
    with_weights(other, inputs.shape)
    assert compare(Plain(layer=other), Keras(layer), inputs).cause == result.cause
    module.eps = layer.epsilon
    assert compare(Plain(**after, layer=module), Keras(layer), inputs).ok
    assert compare(Plain(layer=layer), Keras(layer), inputs).ok


@pytest.mark.parametrize("norm", NORMS)
def test_weights_of_normalizations(norm):
    make, make_plain = NORMS[norm]
    layer, module = make(name="layer"), make_plain(eps=1e-6 if norm == "rms" else 1e-3)
    inputs = batch(2, 5, 3, 4)
    with_weights(layer, inputs.shape)
    module.load_state_dict(layer.state_dict(), strict=False)
    nn.init.zeros_(module.weight)
    after = {} if norm in ("layer", "rms") else {"nchw": lambda x: x.movedim(-1, 1)}
    result = compare(Plain(**after, layer=module), Keras(layer), inputs)
    assert result.cause.name == "weights"
    assert ("`scale`" if norm == "rms" else "`gamma`") in result.cause.text
