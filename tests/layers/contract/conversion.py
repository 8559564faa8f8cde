"""What is checked of every row of a layer that plain modules of PyTorch can replace."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from kerastorch.layers import BatchNormalization, GroupNormalization
from kerastorch.layers.base.layer import Layer
from kerastorch.layers.base.torch_conversion import TorchCounterpart
from tests.layers.case import LayerCase


def channel_axis(layer: Any) -> int:
    """Return the axis of a layer's input that is axis 1 of the plain module's."""
    if isinstance(layer, (BatchNormalization, GroupNormalization)):
        return int(layer.axis)
    return layer._channel_axis if hasattr(layer, "data_format") else 1


def convert(layer: Any, shape: tuple[int, ...], **options: Any) -> nn.Module:
    """Call `to_torch` with what it asks for."""
    if "input_rank" in inspect.signature(layer.to_torch).parameters:
        options["input_rank"] = len(shape)
    elif hasattr(layer, "data_format") and layer.rank:
        options["input_size"] = shape[1:-1] if layer._channel_axis == -1 else shape[2:]
    return layer.to_torch(**options)  # type: ignore[no-any-return]


def call_plain(plain: nn.Module, layer: Any, x: Tensor) -> Tensor:
    """Return a plain module's outputs in the layout of the layer."""
    axis = channel_axis(layer)
    y = plain(x if axis == 1 else x.movedim(axis, 1))
    if isinstance(y, tuple):  # of a recurrent module: the outputs at all times, and the states
        return y[0] if layer.return_sequences else y[0][:, -1]
    return y if axis == 1 or y.ndim < x.ndim else y.movedim(1, axis)


class ConversionContract:
    def test_to_torch(self, case: LayerCase) -> None:
        layer, x = case.built(dtype="float64"), case.inputs(dtype=torch.float64)
        if not case.converts:
            with pytest.raises(ValueError, match=rf"^{case.name}.to_torch: `\w+` must be .+\.$"):
                convert(layer, case.shape)
            return
        for training in (not case.samples, False):
            layer.train(training)
            plain = convert(layer, case.shape)
            assert not any(isinstance(module, Layer) for module in plain.modules())
            frozen = isinstance(layer, BatchNormalization) and not layer.trainable
            assert plain.training is (training and not frozen)
            assert_close(call_plain(plain, layer, x), layer(x), rtol=1e-6, atol=1e-6)

    def test_to_torch_shares_unless_told_to_copy(self, case: LayerCase) -> None:
        layer = case.built()
        if not case.converts or getattr(layer, "lora_enabled", False):
            return
        own = {id(tensor) for tensor in layer.weights}
        shared, copied = (convert(layer, case.shape, copy=copy) for copy in (False, True))
        state = shared.state_dict(keep_vars=True)
        more = ("num_batches_tracked", "bias_hh_l0")  # which Keras does not have
        assert own <= {id(tensor) for tensor in state.values()}
        assert all(id(tensor) in own or name in more for name, tensor in state.items())
        for name, tensor in copied.state_dict(keep_vars=True).items():
            assert id(tensor) not in own and tensor.requires_grad is state[name].requires_grad
            assert_close(tensor, state[name], rtol=0, atol=0)

    def test_there_and_back(self, case: LayerCase) -> None:
        cls: Any = case.layer
        layer, x = case.built(dtype="float64").eval(), case.inputs(dtype=torch.float64)
        if not case.converts or not issubclass(cls, TorchCounterpart):
            return
        plain, padding = convert(layer, case.shape), case.arguments.get("padding")
        with_activation = isinstance(plain, nn.Sequential) and "activation" in case.arguments
        module = plain[0] if with_activation else plain
        try:
            made = cls._read_module(cls.__name__, module)
        except ValueError:
            assert padding == "same"  # whose amounts depend on the size, or are uneven
            return
        given = {n: v for n, v in case.arguments.items() if n not in made} | {"dtype": "float64"}
        again = cls.from_torch(module, **given, name=layer.name)
        assert not again.training
        if "lora_rank" not in given:  # whose update is in the module's weight
            assert_close(again(x), layer(x), rtol=0, atol=0)
        config, expected = again.get_config(), layer.get_config()
        if padding == "same":  # without amounts, at this size
            assert config["padding"] in ("valid", "same")
            expected["padding"] = config["padding"]
        assert config == expected

    def test_to_torch_refuses_a_computation_of_ones_own(self, case: LayerCase) -> None:
        class Mine(case.layer):  # type: ignore[name-defined, misc]
            pass

        class Other(case.layer):  # type: ignore[name-defined, misc]
            def forward(self, inputs: Any) -> Any:
                return inputs

        if not case.converts:
            return
        mine, other = Mine(**case.arguments), Other(**case.arguments)
        if not mine.built:
            with pytest.raises(ValueError, match=r"^Mine.to_torch: `layer` must be built"):
                convert(mine, case.shape)
            mine.build(case.shape)
            other.build(case.shape)
        assert type(convert(mine, case.shape)) is type(convert(case.built(), case.shape))
        with pytest.raises(ValueError, match=r"^Other.to_torch: `layer` must be one that computes"):
            convert(other, case.shape)
