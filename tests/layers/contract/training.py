"""Dtypes, devices and training of a layer with parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from kerastorch import regularization_loss
from tests.layers.contract.checks import (
    FLOATS,
    assert_same_state,
    outputs_and_gradients,
    state_of,
    step,
)


class TrainingContract:
    @pytest.mark.parametrize("dtype", FLOATS, ids=str)
    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_to_another_type(self, case, dtype, built):
        layer = (case.built() if built else case.make()).to(dtype)
        outputs = layer(case.inputs())
        assert outputs.dtype is dtype and {p.dtype for p in layer.parameters()} == {dtype}
        assert layer.dtype == layer.compute_dtype == str(dtype).removeprefix("torch.")
        assert type(layer).from_config(layer.get_config()).dtype == layer.dtype

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_to_the_meta_device_and_back(self, case, built):
        layer = (case.built() if built else case.make()).to("meta")
        shapes = {name: tuple(p.shape) for name, p in case.built().named_parameters()}
        x = case.inputs()
        outputs = layer(x.to("meta"))
        assert outputs.is_meta and outputs.shape == layer.compute_output_shape(case.shape)
        assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == shapes
        source = case.built()
        layer.to_empty(device="cpu").load_state_dict(source.state_dict())
        assert_close(layer(x), source(x), rtol=0, atol=0)

    def test_made_on_a_device(self, case):
        with torch.device("meta"):
            inside = case.make()
        for layer in (inside, case.make(device="meta")):
            assert all(p.is_meta for p in layer.parameters())
            layer.build(case.shape)
            assert layer.weights and all(weight.is_meta for weight in layer.weights)
            assert layer(torch.empty(case.shape, device="meta")).is_meta

    @pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_in_another_order_of_memory(self, case, order, device):
        layer, x = case.built().to(device), case.inputs().to(device)
        expected = outputs_and_gradients(layer, x)
        if order is torch.channels_last and any(p.ndim == 5 for p in layer.parameters()):
            order = torch.channels_last_3d
        layer.to(memory_format=order)
        images = [p for p in layer.parameters() if p.ndim in (4, 5)]
        assert all(p.is_contiguous(memory_format=order) for p in images)
        assert_close(outputs_and_gradients(layer, x), expected)

    @pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    def test_under_autocast(self, case, dtype, policy, device):
        layer, x = case.built(dtype=policy).to(device), case.inputs().to(device)
        expected = layer(x).float()
        with torch.autocast(device, dtype):
            outputs = layer(x)
        assert_close(outputs.float(), expected, rtol=3e-2, atol=3e-2)
        outputs.float().square().sum().backward()
        assert {p.grad.dtype for p in layer.trainable_weights} == {torch.float32}

    def test_inputs_of_all_dtypes(self, case):
        layer, x = case.built(), case.inputs().mul(3).round()
        expected = layer(x)
        dtypes = (*FLOATS, torch.int8, torch.int64)
        for value in (x.double().numpy(), x.numpy().astype(">f4"), *map(x.to, dtypes)):
            outputs = layer(value)
            assert outputs.dtype is torch.float32
            assert_close(outputs, expected)
        assert_close(layer(x > 0), layer((x > 0).float()))

    def test_an_optimizer_made_before_the_build_trains(self, case):
        layer, x = case.make(), case.inputs()
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
        layer(x)
        before = state_of(layer)
        step(layer, x, optimizer)
        assert all(p.grad is not None for p in layer.trainable_weights)
        assert any(p.grad.any() for p in layer.trainable_weights)
        for name, p in layer.named_parameters():
            assert_close(
                p.detach(), before[name] if p.grad is None else before[name] - 0.01 * p.grad
            )

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_trainable(self, case, built):
        layer = case.built() if built else case.make()
        layer.trainable = False
        frozen = case.built(trainable=False) if built else case.make(trainable=False)
        for made in (layer, frozen):
            assert made.trainable is False
            outputs = made(case.inputs())
            assert not outputs.requires_grad
            assert made.trainable_weights == []
            assert len(made.non_trainable_weights) == len(made.weights) > 0
            made.trainable = True  # all of them, a kernel that LoRA froze included, as in Keras
            assert all(parameter.requires_grad for parameter in made.parameters())
            assert len(made.trainable_weights) == len(list(made.parameters()))

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_checkpoints(self, case, reentrant):
        layer, x = case.built(activity_regularizer="l2"), case.inputs()
        layer(x)
        wanted, count = [p for p in layer.parameters() if p.requires_grad], len(layer.losses)
        found = []
        for call in (layer, lambda x: checkpoint(layer, x, use_reentrant=reentrant)):
            loss = call(x.requires_grad_()).square().sum()
            if not reentrant:  # that way, torch has no graph of what is no output
                loss = loss + regularization_loss(layer)
            loss.backward()
            assert len(layer.losses) == count
            found.append([p.grad for p in (x, *wanted)])
            layer.zero_grad()
            x.grad = None
        assert_close(*found)

    def test_gradients_may_be_clipped(self, case):
        layer = case.built()
        layer(case.inputs()).square().sum().backward()
        kept = [p.grad.clone() for p in layer.trainable_weights]
        norm = nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        assert norm > 0.5
        scaled = [g * (0.5 / norm) for g in kept]
        assert_close([p.grad for p in layer.trainable_weights], scaled, rtol=1e-4, atol=1e-6)

    def test_parameters_as_a_vector(self, case):
        layer, other, x = case.built(), case.built(), case.inputs()
        for each in (layer, other):
            each.to(memory_format=torch.contiguous_format)
            for p in each.parameters():  # of three axes are not moved by `to`
                p.data = p.data.contiguous()
        vector_to_parameters(parameters_to_vector(layer.parameters()), other.parameters())
        assert_close(other(x), layer(x), rtol=0, atol=0)

    def test_averages_of_weights(self, case):
        layer, x = case.built(activity_regularizer="l2"), case.inputs()
        layer(x)
        average = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.75))
        average.update_parameters(layer)
        assert_same_state(state_of(average.module), state_of(layer))
        first = state_of(layer)
        step(layer, x, torch.optim.SGD(layer.parameters(), lr=0.1))
        average.update_parameters(layer)
        for name, p in average.module.named_parameters():
            assert_close(p.detach(), 0.75 * first[name] + 0.25 * layer.state_dict()[name])
            assert p.stride() == layer.get_parameter(name).stride()
        layer.load_state_dict(average.module.state_dict())
        assert_close(average(x), layer(x), rtol=0, atol=0)
