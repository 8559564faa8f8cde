"""Four ways to run one convolution on the same weights and data, and the check that they agree."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import torch
import torch.nn.functional as F
from shapes import Shape
from torch import Tensor, nn

from kerastorch.layers import Conv2D

TOLERANCE = 1e-4


class Disagreement(Exception):
    """Two variants computed different numbers, so that their times mean nothing."""


class HandWritten(nn.Module):
    """The best module a person would write for NHWC data of one known size."""

    def __init__(self, conv: nn.Conv2d, pads: tuple[int, int, int, int] | None) -> None:
        super().__init__()
        self.conv = conv
        self.pads = pads

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs.permute(0, 3, 1, 2)
        if self.pads is not None:
            x = F.pad(x, self.pads)
        return torch.relu_(self.conv(x)).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Case:
    """Weights in Keras's order and data in NHWC, which every variant shares."""

    shape: Shape
    relu: bool
    kernel: Tensor  # (kernel, kernel, channels // groups, filters)
    bias: Tensor
    inputs: Tensor  # (batch, size, size, channels)
    gradient: Tensor  # (batch, output_size, output_size, filters)

    @classmethod
    def random(cls, shape: Shape, batch: int, relu: bool, device: str) -> Case:
        generator = torch.Generator().manual_seed(0)

        def normal(*sizes: int) -> Tensor:
            return torch.randn(sizes, generator=generator).to(device)

        fan_in = shape.kernel**2 * shape.channels // shape.groups
        window = (shape.kernel, shape.kernel, shape.channels // shape.groups, shape.filters)
        return cls(
            shape,
            relu,
            normal(*window) / fan_in**0.5,
            normal(shape.filters),
            normal(batch, shape.size, shape.size, shape.channels),
            normal(batch, shape.output_size, shape.output_size, shape.filters),
        )

    @property
    def activation(self) -> str | None:
        return "relu" if self.relu else None

    @property
    def needs_input_gradient(self) -> bool:
        """An image, in the stem of a network, needs none."""
        return self.shape.channels != 3


@dataclass(frozen=True)
class Variant:
    """A module, and the leaves that collect gradients."""

    name: str
    module: nn.Module
    inputs: Tensor
    gradient: Tensor
    weight: Tensor
    bias: Tensor
    channels_first: bool = False  # inputs, gradient and outputs are NCHW
    weight_is_hwio: bool = False

    def forward(self) -> None:
        self.module(self.inputs)

    def train(self) -> None:
        torch.autograd.backward(self.module(self.inputs), self.gradient)
        self.weight.grad = self.bias.grad = self.inputs.grad = None

    def numbers(self, gradient: Tensor) -> Iterator[tuple[str, Tensor | None]]:
        """What the variant computes, in NHWC and OIHW, for a `gradient` in NHWC."""
        with torch.no_grad():
            yield "inference", self._nhwc(self.module(self.inputs))
        outputs = self._nhwc(self.module(self.inputs))
        yield "outputs", outputs.detach()
        torch.autograd.backward(outputs, gradient)
        weight_gradient = self.weight.grad
        if self.weight_is_hwio and weight_gradient is not None:
            weight_gradient = weight_gradient.permute(3, 2, 0, 1)
        yield "weight gradient", weight_gradient
        yield "bias gradient", self.bias.grad
        if self.inputs.grad is not None:
            yield "input gradient", self._nhwc(self.inputs.grad)
        self.weight.grad = self.bias.grad = self.inputs.grad = None

    def _nhwc(self, data: Tensor) -> Tensor:
        return data.permute(0, 2, 3, 1) if self.channels_first else data


def import_keras(device: str) -> ModuleType | None:
    """Keras on its torch backend, or None where it is not installed."""
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["KERAS_TORCH_DEVICE"] = device
    try:
        return importlib.import_module("keras")
    except ImportError:
        return None


def ours(case: Case) -> Variant:
    shape = case.shape
    layer = Conv2D(
        shape.filters,
        shape.kernel,
        strides=shape.stride,
        padding=shape.padding,
        data_format="channels_last",
        groups=shape.groups,
        activation=case.activation,
    )
    layer.build((None, shape.size, shape.size, shape.channels))
    layer.set_weights([case.kernel.cpu().numpy(), case.bias.cpu().numpy()])
    layer.to(case.inputs.device)
    return Variant(
        "kerastorch",
        layer,
        _leaf(case, case.inputs),
        case.gradient,
        layer.weight,
        _present(layer.bias),
    )


def hand_written(case: Case) -> Variant:
    before, after = case.shape.pads
    symmetric = before == after
    conv = _native_conv(case, padding=before if symmetric else 0)
    return Variant(
        "conv" if symmetric else "F.pad + conv",
        HandWritten(conv, None if symmetric else (before, after, before, after)),
        _leaf(case, case.inputs),
        case.gradient,
        conv.weight,
        _present(conv.bias),
    )


def bare(case: Case) -> Variant:
    """nn.Conv2d itself, on a view that somebody else has permuted, without an activation."""
    conv = _native_conv(case, padding=case.shape.pads[0])
    return Variant(
        "nn.Conv2d",
        conv,
        _leaf(case, case.inputs.permute(0, 3, 1, 2)),
        case.gradient.permute(0, 3, 1, 2),
        conv.weight,
        _present(conv.bias),
        channels_first=True,
    )


def keras_layer(case: Case, keras: ModuleType) -> Variant:
    shape = case.shape
    layer = keras.layers.Conv2D(
        shape.filters,
        shape.kernel,
        strides=shape.stride,
        padding=shape.padding,
        data_format="channels_last",
        groups=shape.groups,
        activation=case.activation,
        dtype="float32",
    )
    layer.build((None, shape.size, shape.size, shape.channels))
    layer.set_weights([case.kernel.cpu().numpy(), case.bias.cpu().numpy()])
    return Variant(
        "keras",
        layer,
        _leaf(case, case.inputs),
        case.gradient,
        layer.kernel.value,
        layer.bias.value,
        weight_is_hwio=True,
    )


def check_agreement(case: Case, variants: list[Variant]) -> None:
    """Compare every number of every variant with plain functional PyTorch on NCHW memory.

    An output within rounding error of zero may pass its gradient in one variant and not in another.
    No gradient is sent into such outputs.
    """
    weight = case.kernel.permute(3, 2, 0, 1).contiguous().requires_grad_()
    bias = case.bias.clone().requires_grad_()
    inputs = case.inputs.permute(0, 3, 1, 2).contiguous()
    inputs.requires_grad_(case.needs_input_gradient)
    padded = F.pad(inputs, case.shape.pads * 2)
    y = F.conv2d(padded, weight, bias, case.shape.stride, groups=case.shape.groups)
    linear = y.permute(0, 2, 3, 1)
    outputs = torch.relu(linear) if case.relu else linear
    gradient = case.gradient * (linear.abs() > 1e-3)
    torch.autograd.backward(outputs, gradient)

    expected = {
        "inference": outputs.detach(),
        "outputs": outputs.detach(),
        "weight gradient": weight.grad,
        "bias gradient": bias.grad,
        "input gradient": None if inputs.grad is None else inputs.grad.permute(0, 2, 3, 1),
    }
    for variant in variants:
        for what, actual in variant.numbers(gradient):
            difference = _relative_difference(actual, expected[what])
            if not difference <= TOLERANCE:
                raise Disagreement(
                    f"{case.shape}: the {what} of {variant.name} differ from plain PyTorch's "
                    f"by {difference:.1e} of the largest."
                )


def _relative_difference(actual: Tensor | None, expected: Tensor | None) -> float:
    if actual is None or expected is None or actual.shape != expected.shape:
        return float("inf")
    return float((actual - expected).abs().max() / expected.abs().max())


def _native_conv(case: Case, padding: int) -> nn.Conv2d:
    shape = case.shape
    conv = nn.Conv2d(
        shape.channels,
        shape.filters,
        shape.kernel,
        shape.stride,
        padding,
        groups=shape.groups,
        device=case.inputs.device,
    )
    with torch.no_grad():
        conv.weight.copy_(case.kernel.permute(3, 2, 0, 1))
        _present(conv.bias).copy_(case.bias)
    conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return conv


def _present(bias: Tensor | None) -> Tensor:
    if bias is None:
        raise ValueError("The convolution has no bias.")
    return bias


def _leaf(case: Case, inputs: Tensor) -> Tensor:
    return inputs.detach().requires_grad_(case.needs_input_gradient)
