"""Convolutions from torch.nn's and back."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close

from kerastorch import activations
from kerastorch._core.layout import CHANNELS_FIRST, CHANNELS_LAST
from kerastorch.layers import Conv1D, Conv2D, Conv3D
from tests.layers.case import batch
from tests.layers.contract import assert_no_trace, assert_same_state
from tests.layers.convolution.rows import EACH, ROWS, is_channels_first, make

F64 = torch.float64

# (in, out, kernel), arguments of nn.Conv2d, expected padding of the layer
NATIVE = {
    "plain": ((3, 4, (2, 3)), {}, "valid"),
    "no-bias": ((3, 4, (2, 3)), {"bias": False}, "valid"),
    "strided": ((3, 4, (2, 3)), {"stride": (2, 3)}, "valid"),
    "dilated": ((3, 4, (2, 3)), {"dilation": (2, 1)}, "valid"),
    "grouped": ((4, 6, (2, 3)), {"groups": 2}, "valid"),
    "named-valid": ((3, 4, (2, 3)), {"padding": "valid"}, "valid"),
    "named-same": ((3, 4, (3, 5)), {"padding": "same"}, "same"),
    "named-same-even": ((3, 4, (2, 4)), {"padding": "same"}, "same"),
    "padded": ((3, 4, (3, 5)), {"padding": (1, 2)}, "same"),
    "padded-dilated": ((3, 4, (2, 3)), {"padding": (1, 2), "dilation": (2, 2)}, "same"),
    "pointwise-same": ((3, 4, 1), {"padding": "same"}, "same"),
    "half": ((3, 4, (2, 3)), {"dtype": torch.bfloat16}, "valid"),
    "double": ((3, 4, (2, 3)), {"dtype": F64}, "valid"),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_from_torch(name, data_format):
    sizes, arguments, padding = NATIVE[name]
    native = nn.Conv2d(*sizes, **arguments)
    layer = Conv2D.from_torch(native, data_format=data_format)
    assert layer.padding == padding and layer.weight is native.weight
    for size in ((7, 9), (8, 6)):
        x = batch((2, sizes[0], *size), native.weight.dtype)
        expected = native(x)
        if data_format == "channels_last":
            x, expected = x.permute(0, 2, 3, 1), expected.permute(0, 2, 3, 1)
        outputs = layer(x)
        assert outputs.dtype is native.weight.dtype
        assert_close(outputs, expected)
    assert_no_trace(layer)


def test_from_torch_shares_unless_told_to_copy():
    native = nn.Conv2d(3, 4, (2, 3)).eval()
    native.bias.requires_grad = False
    shared, copied = (Conv2D.from_torch(native, copy=copy) for copy in (False, True))
    for layer in (shared, copied):
        assert not layer.training
        assert [p.requires_grad for p in layer.parameters()] == [True, False]
        assert_same_state(layer.state_dict(), native.state_dict())
        assert layer.weight.stride() == native.weight.stride()
    with torch.no_grad():
        native.weight.zero_()
    assert not shared.weight.any() and copied.weight.any()


def test_from_torch_takes_further_arguments():
    native = nn.Conv2d(3, 4, (2, 3))
    layer = Conv2D.from_torch(native, activation="relu", name="mine", kernel_regularizer="l2")
    x = batch((2, 5, 6, 3))
    assert_close(layer(x), native(x.permute(0, 3, 1, 2)).relu().permute(0, 2, 3, 1))
    assert layer.name == "mine" and len(layer.losses) == 1
    assert not Conv2D.from_torch(native, copy=True, trainable=False)(x).requires_grad


@EACH
def test_to_torch(case):
    layer, shape = make(case, dtype="float64"), case.shape
    x = batch(shape, F64)
    expected, last = layer(x), not is_channels_first(case)
    rank = layer.rank
    plain = layer.to_torch(shape[1:-1] if last else shape[2:])
    assert type(plain) in (getattr(nn, f"Conv{rank}d"), nn.Sequential)
    assert not any(isinstance(module, case.layer) for module in plain.modules())
    outputs = plain(x.permute(CHANNELS_FIRST[rank]) if last else x)
    assert_close(outputs.permute(CHANNELS_LAST[rank]) if last else outputs, expected)
    assert next(plain.parameters()) is layer.weight


def test_to_torch_is_one_module_where_one_will_do():
    kinds = {
        "valid": [nn.Conv2d],
        "same-odd": [nn.Conv2d],
        "same-dilated-odd": [nn.Conv2d],
        "same-even": [nn.ZeroPad2d, nn.Conv2d],
        "valid-1d": [nn.Conv1d],
        "causal": [nn.ZeroPad1d, nn.Conv1d],
        "causal-pointwise": [nn.Conv1d],
        "same-odd-3d": [nn.Conv3d],
        "same-even-3d": [nn.ZeroPad3d, nn.Conv3d],
    }
    for name, expected in kinds.items():
        layer = make(ROWS[name])
        layer.build(ROWS[name].shape)
        plain = layer.to_torch()
        assert [type(m) for m in ([plain] if len(expected) == 1 else plain)] == expected


@pytest.mark.parametrize(
    "name",
    [
        "relu", "relu6", "leaky_relu", "celu", "elu", "selu", "softplus", "softsign",
        "soft_shrink", "hard_shrink", "silu", "gelu", "tanh", "tanh_shrink", "sigmoid",
        "hard_sigmoid", "hard_silu", "hard_tanh", "mish", "log_sigmoid", "softmax", "log_softmax",
        "glu",
    ],
)  # fmt: skip
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_to_torch_with_an_activation(name, data_format):
    layer = Conv2D(4, (2, 3), activation=name, data_format=data_format, dtype="float64")
    x = batch((2, 5, 6, 8), F64).mul(4)
    expected, last = layer(x), data_format == "channels_last"
    outputs = layer.to_torch()(x.permute(0, 3, 1, 2) if last else x)
    assert_close(outputs.permute(0, 2, 3, 1) if last else outputs, expected)


def test_to_torch_of_what_torch_has_no_module_for():
    for activation in ("squareplus", "sparsemax", lambda x: x):
        layer = Conv2D(4, 2, activation=activation, input_shape=(5, 6, 3))
        with pytest.raises(ValueError, match="`activation` must be a built-in one"):
            layer.to_torch()
    assert activations.squareplus is not activations.sparsemax


def test_to_torch_of_a_computed_weight_says_so():
    layer = Conv2D(4, 2, input_shape=(5, 6, 3))
    parametrizations.weight_norm(layer, "weight")
    with pytest.raises(ValueError, match="Conv2D"):
        layer.to_torch()


def test_to_torch_shares_unless_told_to_copy():
    layer = Conv2D(4, (2, 3), input_shape=(5, 6, 3)).eval()
    layer.trainable = False
    shared, copied = (layer.to_torch(copy=copy) for copy in (False, True))
    for plain in (shared, copied):
        assert not plain.training and not any(p.requires_grad for p in plain.parameters())
        assert plain.weight.stride() == layer.weight.stride()
    with torch.no_grad():
        layer.weight.zero_()
    assert not shared.weight.any() and copied.weight.any()


@pytest.mark.parametrize("cls", [Conv1D, Conv2D, Conv3D])
def test_there_and_back(cls):
    layer = cls(4, (3, 5, 1)[: cls.rank], padding="same", input_shape=(*(5, 6, 7)[: cls.rank], 3))
    again = cls.from_torch(layer.to_torch(), name=layer.name)
    assert again.get_config() == layer.get_config()
    assert_same_state(again.state_dict(), layer.state_dict())
