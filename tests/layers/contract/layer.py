"""What any layer must do, whatever it computes and with or without weights."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call, jvp, vmap
from torch.testing import assert_close

from tests.layers.case import LayerCase, required_arguments
from tests.layers.contract.checks import (
    COPIES,
    assert_no_trace,
    assert_same_state,
    mapped,
    outputs_and_gradients,
    state_of,
    tensors_of,
)

F64 = torch.float64


def no_batch(case: LayerCase) -> Any:
    """Return an input without a sample."""
    return mapped(lambda x: x[:0].detach().requires_grad_(), case.inputs())


class LayerContract:
    # Configs and copies

    def test_config_lists_every_argument_but_where_and_how_it_runs(self, case):
        layer = case.make(activity_regularizer="l2")
        unset = set(case.layer._omit_config_if_unset) - {"activity_regularizer"}
        apart = {"autocast", "input_shape", "device", *unset, *case.layer._never_in_config}
        assert set(layer.get_config()) - apart == set(layer.arguments()) - apart

    def test_config_keeps_what_all_layers_share(self, case):
        config = case.make(name="mine", trainable=False, dtype="float64").get_config()
        made = case.layer.from_config(config)
        assert {"name", "trainable", "dtype"} <= set(config)
        assert (made.name, made.trainable, made.dtype) == ("mine", False, "float64")

    def test_wrong_configs_are_refused(self, case):
        config = case.make().get_config()
        empty = [{}] if required_arguments(case.layer) else []
        for wrong in ({**config, "colour": 3}, {**config, "dtype": "text"}, *empty, 5):
            with pytest.raises(TypeError, match=rf"^{case.name}\.from_config: "):
                case.layer.from_config(wrong)

    @pytest.mark.parametrize("way", COPIES)
    @pytest.mark.parametrize("activity", [None, "l2"])
    def test_copies(self, case, way, activity):
        layer = case.built(activity_regularizer=activity)
        made = COPIES[way](layer)
        assert_same_state(made.state_dict(), layer.state_dict())
        assert [p.stride() for p in made.parameters()] == [p.stride() for p in layer.parameters()]
        assert_close(made(case.inputs()), layer(case.inputs()), rtol=0, atol=0)
        assert_close(made.losses, layer.losses)

    # Inputs

    def test_values_that_are_no_tensors_are_refused(self, case):
        layer = case.built()
        message = rf"^{case.name}: `{layer.first_argument}` must be "
        for value in ("text", None, {}, 3, [1.0]):
            with pytest.raises(ValueError, match=message):
                layer(value)
        if case.name != "InputLayer":
            with pytest.raises(ValueError, match=message):
                layer(mapped(lambda x: x.to(torch.complex64), case.inputs()))

    def test_arrays_and_views_are_accepted(self, case):
        layer, inputs = case.built().eval(), case.inputs()
        expected = layer(inputs)
        assert_close(layer(mapped(lambda x: x.numpy(), inputs)), expected)
        assert_close(layer(mapped(lambda x: x.numpy()[..., ::-1].copy()[..., ::-1], inputs)),
                     expected)  # fmt: skip
        strided = mapped(lambda x: torch.stack([x, -x], -1)[..., 0], inputs)
        assert_close(layer(strided), expected)
        first = next(iter(inspect.signature(layer.forward).parameters))
        assert_close(layer(**{first: inputs}), expected)

    def test_a_call_leaves_its_input_alone(self, case):
        layer, inputs = case.built(), case.inputs()
        outputs = layer(inputs).clone()
        assert_close(inputs, case.inputs(), rtol=0, atol=0)
        if not layer.non_trainable_weights:
            assert torch.equal(outputs, layer(inputs))

    def test_an_empty_batch(self, case):
        layer, inputs = case.make(), no_batch(case)
        outputs = layer(inputs)
        shapes = mapped(lambda x: tuple(x.shape), inputs)
        assert outputs.shape == layer.compute_output_shape(shapes)
        outputs.sum().backward()
        assert all(x.grad.shape == x.shape for x in tensors_of(inputs))
        assert all(p.grad is None or not p.grad.any() for p in layer.parameters())

    # Modes, dtypes and devices

    def test_train_and_eval(self, case):
        layer = case.make().train()
        assert layer.eval() is layer and not layer.training
        layer(case.inputs())
        assert not layer.training and layer.train().training

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, F64], ids=str)
    def test_it_follows_the_dtype_of_the_model(self, case, dtype):
        layer = case.built().to(dtype)
        name = str(dtype).removeprefix("torch.")
        assert layer(case.inputs()).dtype is dtype
        assert layer.dtype == layer.compute_dtype == name
        assert case.layer.from_config(layer.get_config()).dtype == name
        mixed = case.make(dtype="mixed_bfloat16")
        assert mixed(case.inputs()).dtype is torch.bfloat16

    def test_on_the_meta_device(self, case):
        with torch.device("meta"):
            made = case.make()
        for layer in (made, case.make().to("meta")):
            outputs = layer(mapped(lambda x: x.to("meta"), case.inputs()))
            assert outputs.is_meta and outputs.shape == layer.compute_output_shape(case.shape)

    def test_on_the_device(self, case, device):
        layer = case.built().to(device)
        inputs = mapped(lambda x: x.to(device), case.inputs())
        assert layer(inputs).device.type == device

    # Derivatives

    def test_gradients(self, case):
        layer, inputs = case.built().double(), case.inputs(dtype=F64)
        trained = {n: p.detach().requires_grad_() for n, p in layer.named_parameters()}
        given = [x.requires_grad_() for x in tensors_of(inputs)]

        def function(*values):
            x = list(values[: len(given)]) if isinstance(inputs, list) else values[0]
            state = dict(zip(trained, values[len(given) :], strict=True))
            return functional_call(layer, state, (x,))

        assert torch.autograd.gradcheck(function, (*given, *trained.values()), fast_mode=True)

    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
    def test_forward_derivatives(self, case):
        layer = case.built().double().eval()
        inputs, along = (case.inputs(dtype=F64, seed=seed) for seed in (1, 7))

        def total(inputs):
            return layer(inputs).square().sum()

        _, forward = jvp(total, (inputs,), (along,))
        given = mapped(lambda x: x.requires_grad_(), inputs)
        gradients = torch.autograd.grad(total(given), tensors_of(given))
        pairs = zip(gradients, tensors_of(along), strict=True)
        assert_close(forward, sum((g * a).sum() for g, a in pairs))

    # The rest of nn.Module

    def test_hooks_fire(self, case):
        layer, fired = case.make(), []
        inputs = mapped(lambda x: x.requires_grad_(), case.inputs())
        one = not isinstance(inputs, list)  # to the gradients of a list's tensors torch adds none
        layer.register_forward_pre_hook(lambda module, args: fired.append("before"))
        layer.register_forward_hook(lambda module, args, outputs: outputs + 1)
        if one:
            layer.register_full_backward_pre_hook(lambda module, grads: fired.append("back"))
            layer.register_full_backward_hook(lambda module, into, out: (into[0] * 2,))
        outputs = layer(inputs)
        assert fired == ["before"]
        assert_close(outputs, layer.forward(inputs) + 1)
        outputs.sum().backward()
        if one:
            assert fired == ["before", "back"]
            (expected,) = torch.autograd.grad(layer.forward(inputs).sum(), inputs)
            assert_close(inputs.grad, expected * 2)

    def test_repr(self, case):
        layer = case.built()
        assert repr(layer).startswith(f"{case.name}(")
        assert_no_trace(layer)

    def test_names(self, case):
        first, second = case.make().name, case.make().name
        stem = first.rstrip("0123456789").rstrip("_")
        number = int(first[len(stem) + 1 :] or 0)
        assert second == f"{stem}_{number + 1}"
        assert case.make(name="mine").name == "mine"
        assert case.make().name == f"{stem}_{number + 2}"

    def test_vmap(self, case):
        layer = case.built().eval()
        samples = [case.inputs(seed=seed) for seed in (0, 10, 20)]
        expected = torch.stack([layer(each) for each in samples])
        if isinstance(case.shape, list):
            stacked = [torch.stack(each) for each in zip(*samples, strict=True)]
        else:
            stacked = torch.stack(samples)
        assert_close(vmap(layer)(stacked), expected)

    @pytest.mark.parametrize(
        "training", [False, pytest.param(True, marks=pytest.mark.sweep)], ids=["eval", "train"]
    )
    def test_compile(self, case, training):
        torch.compiler.reset()
        layer = case.built().train(training and not case.samples)
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        for shape in (case.shape, case.others[0]):
            inputs = case.inputs(shape)
            if training:
                found = outputs_and_gradients(compiled, inputs)
                assert_close(found, outputs_and_gradients(layer, inputs))
            else:
                with torch.no_grad():
                    assert_close(compiled(inputs), layer(inputs))

    def test_state(self, case):
        layer = case.built()
        state = state_of(layer)
        specs = layer.weight_specs
        more = {s.parameter for s in specs if not s.in_keras}.difference(*(s.also for s in specs))
        state = {name: value for name, value in state.items() if name not in more}
        assert len(layer.get_weights()) == len(layer.variables)
        assert len(layer.weights) == len(state)
        assert layer.count_params() == sum(value.numel() for value in state.values())
        layer.reset_parameters()
        assert [name for name in state_of(layer) if name not in more] == [*state]
        assert all(isinstance(array, np.ndarray) for array in layer.get_weights())
