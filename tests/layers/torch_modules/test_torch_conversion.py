"""Layers from modules of torch.nn; what Keras or torch lacks; what the rows cannot show."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from kerastorch import activations, layers
from tests.layers.case import batch
from tests.layers.contract.conversion import call_plain

EVEN = {"pool_size": (3, 5), "strides": (1, 1), "padding": "same"}
# What is made of a module: the layer, and its arguments
MADE: list[tuple[nn.Module, str, dict[str, Any]]] = [
    (nn.MaxPool1d(3, 2), "MaxPooling1D", {"pool_size": (3,), "strides": (2,)}),
    (nn.MaxPool2d(2), "MaxPooling2D", {"pool_size": (2, 2), "strides": (2, 2)}),
    (nn.MaxPool2d((3, 5), 1, (1, 2)), "MaxPooling2D", EVEN),
    (nn.MaxPool3d((2, 1, 3), 1), "MaxPooling3D", {"pool_size": (2, 1, 3), "strides": (1, 1, 1)}),
    (nn.AvgPool1d(2), "AveragePooling1D", {"pool_size": (2,), "padding": "valid"}),
    (nn.AvgPool2d((3, 5), 1, (1, 2), count_include_pad=False), "AveragePooling2D", EVEN),
    (nn.AvgPool3d(3, (1, 2, 1)), "AveragePooling3D", {"strides": (1, 2, 1)}),
    (nn.AdaptiveAvgPool2d(1), "GlobalAveragePooling2D", {"keepdims": True}),
    (nn.AdaptiveMaxPool3d((1, 1, 1)), "GlobalMaxPooling3D", {"keepdims": True}),
    (nn.Sequential(nn.AdaptiveMaxPool1d(1), nn.Flatten()), "GlobalMaxPooling1D", {}),
    (nn.AdaptiveAvgPool1d(4), "AdaptiveAveragePooling1D", {"output_size": (4,)}),
    (nn.AdaptiveMaxPool2d((2, 3)), "AdaptiveMaxPooling2D", {"output_size": (2, 3)}),
    (nn.ZeroPad1d((1, 2)), "ZeroPadding1D", {"padding": (1, 2)}),
    (nn.ZeroPad2d((1, 2, 3, 0)), "ZeroPadding2D", {"padding": ((3, 0), (1, 2))}),
    (nn.ConstantPad3d(1, 0.0), "ZeroPadding3D", {"padding": ((1, 1),) * 3}),
    (nn.ZeroPad2d((-1, -2, 0, -1)), "Cropping2D", {"cropping": ((0, 1), (1, 2))}),
    (nn.ConstantPad1d(-1, 0), "Cropping1D", {"cropping": (1, 1)}),
    (nn.Upsample(scale_factor=3), "UpSampling1D", {"size": 3}),
    (nn.Upsample(scale_factor=(2, 3), mode="bilinear"), "UpSampling2D", {"size": (2, 3)}),
    (nn.UpsamplingNearest2d(scale_factor=2), "UpSampling2D", {"interpolation": "nearest"}),
    (nn.Upsample(scale_factor=47, mode="nearest-exact"), "UpSampling1D", {"size": 47}),
    (nn.Upsample(scale_factor=(1, 2, 3)), "UpSampling3D", {"size": (1, 2, 3)}),
    (nn.Identity(), "Identity", {}),
    (nn.ReLU(inplace=True), "Activation", {"activation": activations.relu}),
    (nn.Softmax(-1), "Activation", {"activation": activations.softmax}),
    (nn.Identity(), "Activation", {"activation": activations.linear}),
    (nn.ReLU(), "ReLU", {"max_value": None}),
    (nn.ReLU6(), "ReLU", {"max_value": 6.0}),
    (nn.LeakyReLU(), "LeakyReLU", {"negative_slope": 0.01}),
    (nn.ELU(0.5), "ELU", {"alpha": 0.5}),
    (nn.Softmax(1), "Softmax", {"axis": 1}),
    (nn.Dropout(0.3, inplace=True).eval(), "Dropout", {"rate": 0.3}),
    (nn.Dropout1d(0.3).eval(), "SpatialDropout1D", {"rate": 0.3}),
    (nn.Dropout3d(0.3).eval(), "SpatialDropout3D", {"rate": 0.3}),
    (nn.AlphaDropout(0.3).eval(), "AlphaDropout", {"rate": 0.3}),
    (nn.Linear(6, 4, bias=False), "Dense", {"units": 4, "use_bias": False}),
    (nn.BatchNorm1d(3, momentum=0.25), "BatchNormalization", {"momentum": 0.75, "scale": True}),
    (nn.BatchNorm3d(3, affine=False), "BatchNormalization", {"scale": False, "center": False}),
]
SHAPES = {1: (2, 3, 9), 2: (2, 3, 8, 9), 3: (2, 3, 5, 6, 7)}


@pytest.mark.parametrize(
    ("module", "name", "expected"), MADE, ids=[f"{module}-{name}" for module, name, _ in MADE]
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_from_torch(module: nn.Module, name: str, expected: Any, data_format: str) -> None:
    cls: Any = getattr(layers, name)
    given = {"data_format": data_format} if "data_format" in cls.arguments() else {}
    layer = cls.from_torch(module, **given)
    assert layer.training is module.training and layer.built
    assert {key: getattr(layer, key) for key in expected} == expected
    shape = SHAPES[getattr(layer, "rank", None) or (3 if "3d" in str(module) else 1)]
    shape = (4, 6) if name == "Dense" else shape
    axis = layer._channel_axis if hasattr(layer, "data_format") else 1
    axis = -1 if name == "BatchNormalization" else axis
    x = batch(shape).movedim(1, axis)
    assert_close(layer(x), call_plain(module, layer, x), rtol=1e-6, atol=1e-6)


LACKING = "since Keras has no argument for it"
AMOUNTS = "Keras has a layer to pad and another one to crop: use two modules."
# The layer, what is converted, the argument, and the rule
REFUSED: list[tuple[str, Any, str, str]] = [
    ("MaxPooling2D", nn.MaxPool1d(2), "module", "an initialized nn.MaxPool2d"),
    ("MaxPooling2D", 5, "module", "an initialized nn.MaxPool2d"),
    ("MaxPooling2D", nn.MaxPool2d(2, ceil_mode=True), "module.ceil_mode", f"False, {LACKING}"),
    ("MaxPooling2D", nn.MaxPool2d(2, dilation=2), "module.dilation", f"1, {LACKING}"),
    ("MaxPooling2D", nn.MaxPool2d(2, dilation=(1, 3)), "module.dilation", f"1, {LACKING}"),
    ("MaxPooling1D", nn.MaxPool1d(2, return_indices=True), "module.return_indices", "False"),
    ("MaxPooling2D", nn.MaxPool2d(3, 2, 1), "module.padding", "0 or what 'same' is at every size"),
    ("AveragePooling2D", nn.AvgPool2d(3, 1, 1), "module.count_include_pad", f"False, {LACKING}"),
    ("AveragePooling2D", nn.AvgPool2d(3, divisor_override=2), "module.divisor_override", "None"),
    ("AveragePooling3D", nn.AvgPool3d(5, 1, 1), "module.padding", "0 or what 'same' is"),
    ("GlobalMaxPooling2D", nn.AdaptiveMaxPool2d((1, 2)), "module.output_size", f"1, {LACKING}"),
    ("GlobalMaxPooling2D", nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(2)), "module",
     "an initialized nn.AdaptiveMaxPool2d"),
    ("AdaptiveMaxPooling1D", nn.AdaptiveMaxPool1d(2, True), "module.return_indices", "False"),
    ("ZeroPadding2D", nn.ConstantPad2d(1, 2.0), "module.value", f"0, {LACKING}"),
    ("ZeroPadding2D", nn.ReflectionPad2d(1), "module", "an initialized nn.ConstantPad2d"),
    ("ZeroPadding2D", nn.ZeroPad2d((1, 0, -1, 0)), "module.padding", ">= 0"),
    ("Cropping2D", nn.ZeroPad2d((1, 0, -1, 0)), "module.padding", "<= 0, which crop"),
    ("UpSampling2D", nn.Upsample(size=(4, 6)), "module.size", f"None, {LACKING}"),
    ("UpSampling2D", nn.Upsample(scale_factor=1.5), "module.scale_factor", "a positive integer"),
    ("UpSampling2D", nn.UpsamplingBilinear2d(scale_factor=2), "module.align_corners", "False"),
    ("UpSampling2D", nn.Upsample(scale_factor=2, mode="bicubic"), "module.mode",
     "'nearest' or 'nearest-exact' or 'bilinear'"),
    ("UpSampling1D", nn.Upsample(scale_factor=2, mode="linear"), "module.mode", "'nearest' or"),
    ("UpSampling3D", nn.Upsample(scale_factor=41), "module.mode", "'nearest-exact'"),
    ("Dropout", nn.Dropout2d(0.5), "module", "an initialized nn.Dropout"),
    ("Activation", nn.LeakyReLU(), "module", "an activation of torch.nn with the arguments that"),
    ("Activation", nn.GELU("tanh"), "module", "an activation of torch.nn with the arguments that"),
    ("Activation", nn.Softmax(1), "module", "an activation of torch.nn with the arguments that"),
    ("ReLU", nn.Hardtanh(), "module", "an nn.ReLU, nn.ReLU6, nn.LeakyReLU, or an nn.Hardtanh or"),
    ("Softmax", nn.Softmax(), "module.dim", "one integer. Received: module.dim=None."),
    ("Dense", nn.LazyLinear(3), "module", "an initialized nn.Linear"),
    ("BatchNormalization", nn.InstanceNorm2d(3), "module", "an initialized nn.BatchNorm1d or nn."),
    ("BatchNormalization", nn.LazyBatchNorm1d(affine=False), "module", "an initialized nn.Batch"),
    ("BatchNormalization", nn.BatchNorm1d(3, track_running_stats=False),
     "module.track_running_stats", f"True, {LACKING}"),
    ("BatchNormalization", nn.BatchNorm1d(3, momentum=None), "module.momentum", "a number: Keras"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "module", "argument", "rule"), REFUSED, ids=str)
@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_what_keras_lacks_is_refused(name: str, module: Any, argument: str, rule: str) -> None:
    with pytest.raises(ValueError) as caught:
        getattr(layers, name).from_torch(module)
    message = str(caught.value)
    assert message.startswith(f"{name}.from_torch: `{argument}` must be {rule}"), message
    assert re.search(rf"Received: {re.escape(argument)}=", message), message
    assert message.endswith(".") and "  " not in message.partition("Received: ")[0]


def test_what_the_module_decides_is_no_argument() -> None:
    for layer, module, name in (
        (layers.MaxPooling2D, nn.MaxPool2d(2), "strides"),
        (layers.Conv2D, nn.Conv2d(3, 4, 2), "padding"),
        (layers.Dense, nn.Linear(2, 3), "units"),
    ):
        with pytest.raises(ValueError, match=rf"from_torch: `{name}` must be left to the module"):
            layer.from_torch(module, **{name: 1})


@pytest.mark.parametrize(("layer", "argument", "rule"), [
    (layers.MaxPooling2D(3, 2, "same"), "input_size", "given, since this 'same' padding depends"),
    (layers.AveragePooling2D(2, 1, "same"), "padding", "'valid' or even on both sides"),
    (layers.AveragePooling1D(3, 2, "same"), "input_size", "given, since this 'same' padding"),
    (layers.UpSampling2D(2, interpolation="bicubic"), "interpolation", "'nearest' or 'bilinear'"),
    (layers.Dropout(0.5, (None, 1)), "noise_shape", "None, since PyTorch has no argument for it"),
    (layers.AlphaDropout(1), "rate", "below 1, since the module outputs zeros"),
    (layers.MaxPooling2D(dtype="mixed_float16"), "dtype", "one that computes in its weights'"),
    (layers.ReLU(max_value=2, threshold=1), "max_value", "above 0 and the only one of these"),
    (layers.Softmax((1, 2)), "axis", "one integer"),
    (layers.Dense(3), "layer", "built"),
    (layers.Dense(3, "sparsemax", input_shape=(2,)), "activation", "a built-in one that PyTorch"),
], ids=str)  # fmt: skip
def test_what_torch_lacks_is_refused(layer: Any, argument: str, rule: str) -> None:
    with pytest.raises(ValueError) as caught:
        layer.to_torch()
    message = str(caught.value)
    assert message.startswith(f"{type(layer).__name__}.to_torch: `{argument}` must be {rule}")
    assert "Received: " in message and message.endswith(".")


def test_batch_normalization_asks_for_the_rank() -> None:
    layer = layers.BatchNormalization(input_shape=(3,))
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    for rank, kind in kinds.items():
        plain = layer.to_torch(rank)
        assert type(plain) is kind and (plain.eps, plain.momentum) == (1e-3, 1 - 0.99)
    for other, rank, message in (
        (layer, 6, "`input_rank` must be 2, 3, 4 or 5. Received: input_rank=6."),
        (layers.BatchNormalization(input_shape=(3,), renorm=True), 4, "`renorm` must be False"),
        (
            layers.BatchNormalization(axis=-2, input_shape=(3, 2)),
            2,
            "`axis` must be that of the ch",
        ),
    ):
        with pytest.raises(ValueError, match=f"BatchNormalization.to_torch: {message}"):
            other.to_torch(rank)


def test_batch_normalization_shares_its_statistics() -> None:
    plain = nn.BatchNorm2d(3)
    layer, x = layers.BatchNormalization.from_torch(plain, axis=1), batch((4, 3, 5, 6))
    copied = layers.BatchNormalization.from_torch(plain, axis=1, copy=True)
    layer(x)
    assert plain.running_mean is layer.running_mean and plain.running_mean.any()
    assert not copied.running_mean.any()
    plain.eval()
    assert_close(layer.eval()(x), plain(x))
    biased = x.var((0, 2, 3), unbiased=False)
    assert_close(layer.running_var, 0.9 + 0.1 * biased)  # torch's own would be the unbiased one


def test_modules_for_same_padding() -> None:
    even = layers.MaxPooling2D((3, 5), 1, "same").to_torch()
    assert type(even) is nn.MaxPool2d and even.padding == (1, 2)
    uneven: Any = layers.MaxPooling2D((2, 3), (1, 2), "SAME").to_torch((8, 8))
    assert [type(module) for module in uneven] == [nn.ConstantPad2d, nn.MaxPool2d]
    assert uneven[0].padding == (0, 1, 0, 1) and uneven[0].value == -torch.inf
    assert layers.AveragePooling2D(3, 2, "same").to_torch(7).count_include_pad is False


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_dropout_has_the_same_values_and_the_same_rate(rate: float) -> None:
    for layer, shape in (
        (layers.Dropout(rate, seed=1), (50, 400)),
        (layers.AlphaDropout(rate, seed=1), (50, 400)),
        (layers.SpatialDropout2D(rate, seed=1), (50, 2, 3, 400)),
    ):
        x = torch.full(shape, 0.5)
        plain = layer.to_torch()
        torch.manual_seed(0)
        mine, theirs = layer(x), call_plain(plain, layer, x)
        if isinstance(layer, layers.SpatialDropout2D):
            assert torch.equal(theirs[:, :1, :1].expand(shape), theirs)
        values, counts = zip(*(y.unique(return_counts=True) for y in (mine, theirs)), strict=True)
        assert_close(*values)
        assert len(values[0]) == 2 and (counts[0] - counts[1]).abs().max() < 0.03 * x.numel()


def test_lora_is_merged() -> None:
    layer = layers.Dense(3, "relu", lora_rank=2, input_shape=(4,))
    nn.init.normal_(layer.lora_kernel_b)
    plain, x = layer.to_torch(), batch((2, 4))
    assert_close(plain(x), layer(x))
    assert list(plain.state_dict()) == ["0.weight", "0.bias"]
    again = layers.Dense.from_torch(plain[0], copy=True, activation="relu", lora_rank=2)
    assert_close(again(x), layer(x))
    assert not again.weight.requires_grad and again.lora_kernel_a.requires_grad
