"""What any layer of this package must do, whatever it computes.

A test file says for which layers:

    @pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
    class TestContract(LayerContract):
        pass
"""

import copy
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import (
    parameters_to_vector,
    parametrizations,
    parametrize,
    prune,
    vector_to_parameters,
)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from kerastorch import regularization_loss
from kerastorch.layers.base.layer import Layer

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Subject:
    """A layer under contract.

    Attributes:
        name: What pytest shows.
        make: Makes the layer; takes the arguments of `Layer` and `device`. Two layers that it
            makes must not start with the same weights.
        shape: The shape of an input.
        other: The shape of another input that the same layer takes.
        wrong: Shapes that a layer built for `shape` refuses.
    """

    name: str
    make: Callable[..., Layer]
    shape: tuple[int, ...]
    other: tuple[int, ...]
    wrong: tuple[tuple[int, ...], ...]

    def built(self, **arguments) -> Layer:
        layer = self.make(**arguments)
        layer.build(self.shape)
        return layer


def batch(shape, dtype=torch.float32, seed=0) -> torch.Tensor:
    """Return the same input whenever it is asked for."""
    drawn = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return drawn.to(dtype)


def state_of(layer) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in layer.state_dict().items()}


def assert_same_state(left, right) -> None:
    """Compare two state dicts to the bit: names, order, types and values."""
    assert list(left) == list(right)
    for name, value in left.items():
        assert_close(value, right[name], rtol=0, atol=0, msg=lambda text, name=name: name + text)


def assert_lazy(layer) -> None:
    assert not layer.built
    assert layer.weights == []
    parameters = list(layer.parameters())
    assert parameters and all(isinstance(p, UninitializedParameter) for p in parameters)


def assert_no_trace(layer) -> None:
    """Check that nothing is left of having been lazy."""
    assert layer.built
    assert not any(isinstance(p, UninitializedParameter) for p in layer.parameters())
    hooks = [name for name in vars(layer) if name.endswith("_hooks") and getattr(layer, name)]
    assert hooks == []
    assert not {"_initialize_hook", "_load_hook"} & set(vars(layer))


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "torch.save": lambda layer: saved_and_loaded(layer, weights_only=False),
}


def saved_and_loaded(value, *, weights_only):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def step(layer, x, optimizer) -> None:
    optimizer.zero_grad()
    layer(x).square().sum().backward()
    optimizer.step()


def numbers_of(layer, x) -> tuple[torch.Tensor, ...]:
    """Return a layer's outputs and the gradients of what it is given and trains."""
    x = x.detach().requires_grad_()
    outputs = layer(x)
    wanted = (x, *(p for p in layer.parameters() if p.requires_grad))
    return (outputs, *torch.autograd.grad(outputs.square().sum(), wanted))


class LayerContract:
    # Building

    def test_is_lazy_until_the_first_call(self, subject):
        layer = subject.make()
        assert_lazy(layer)
        outputs = layer(batch(subject.shape))
        assert outputs.shape == layer.compute_output_shape(subject.shape)
        assert all(isinstance(weight, nn.Parameter) for weight in layer.weights)
        assert_no_trace(layer)

    def test_build_does_what_the_first_call_does(self, subject):
        layer, called = subject.make(), subject.make()
        layer.build((None, *subject.shape[1:]))
        called(batch(subject.shape))
        assert_no_trace(layer)
        described = [[(n, p.shape, p.stride(), p.dtype) for n, p in made.named_parameters()]
                     for made in (layer, called)]  # fmt: skip
        assert described[0] == described[1]

    def test_a_second_build_is_refused(self, subject):
        layer = subject.built()
        before = state_of(layer)
        with pytest.raises(ValueError, match="given to a layer not built yet"):
            layer.build(subject.shape)
        assert_same_state(state_of(layer), before)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_a_first_call_without_gradients_leaves_a_layer_to_train(self, subject, mode):
        layer = subject.make()
        with mode():
            layer(batch(subject.shape))
        layer(batch(subject.shape)).sum().backward()
        assert all(weight.grad is not None for weight in layer.trainable_weights)

    def test_two_layers_start_with_values_of_their_own(self, subject):
        left, right = state_of(subject.built()), state_of(subject.built())
        assert any(not torch.equal(left[name], right[name]) for name in left)
        torch.manual_seed(3)
        first = state_of(subject.built())
        torch.manual_seed(3)
        assert_same_state(state_of(subject.built()), first)

    def test_reset_parameters_draws_in_place(self, subject):
        layer = subject.make()
        layer.reset_parameters()
        assert_lazy(layer)
        layer.build(subject.shape)
        before, addresses = state_of(layer), [p.data_ptr() for p in layer.parameters()]
        layer.reset_parameters()
        assert any(not torch.equal(before[name], value) for name, value in state_of(layer).items())
        assert [p.data_ptr() for p in layer.parameters()] == addresses

    # Wrong inputs

    def test_wrong_inputs_are_refused_and_change_nothing(self, subject):
        layer, unbuilt = subject.built(), subject.make()
        before = state_of(layer)
        for shape in subject.wrong:
            with pytest.raises(ValueError, match=type(layer).__name__):
                layer(batch(shape))
        assert_same_state(state_of(layer), before)
        for value in ("text", None, [1.0], {}, 3):
            for made in (layer, unbuilt):
                with pytest.raises(ValueError, match="a tensor or an array of real numbers"):
                    made(value)
        assert_lazy(unbuilt)
        assert layer(batch(subject.shape)).shape == unbuilt(batch(subject.shape)).shape

    # Weights

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_state_dict_round_trip(self, subject, built):
        source, target = subject.built(), subject.built() if built else subject.make()
        saved = saved_and_loaded(source.state_dict(), weights_only=True)
        result = target.load_state_dict(saved)
        assert not result.missing_keys and not result.unexpected_keys
        assert_same_state(target.state_dict(), source.state_dict())
        x = batch(subject.shape)
        assert_close(target(x), source(x), rtol=0, atol=0)
        assert_no_trace(target)

    @pytest.mark.parametrize("device", ["cpu", "meta"])
    def test_a_state_dict_may_be_assigned(self, subject, device):
        source = subject.built()
        for target in (subject.make(device=device), subject.built(device=device)):
            state = state_of(source)
            target.load_state_dict(state, assign=True)
            assert all(p.data_ptr() == state[n].data_ptr() for n, p in target.named_parameters())
            x = batch(subject.shape)
            assert_close(target(x), source(x), rtol=0, atol=0)

    def test_replicas_of_data_parallel(self, subject):
        layer, x = subject.built(), batch(subject.shape)
        replica = layer._replicate_for_data_parallel()
        for name, parameter in layer._parameters.items():  # as nn.parallel.replicate does
            if parameter is None:
                replica._parameters[name] = None
            else:
                setattr(replica, name, parameter * 2)
        double = functional_call(layer, {n: p * 2 for n, p in layer.named_parameters()}, (x,))
        assert_close(replica(x), double)
        with pytest.raises(RuntimeError, match="DataParallel"):
            subject.make()._replicate_for_data_parallel()

    def test_state_dict_before_the_build(self, subject):
        source, target = subject.make(), subject.make()
        assert list(source.state_dict()) == list(subject.built().state_dict())
        target.load_state_dict(saved_and_loaded(source.state_dict(), weights_only=False))
        assert_lazy(target)

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_a_partial_state_dict_is_an_error_and_the_layer_still_works(self, subject, built):
        source = subject.built()
        for name in source.state_dict():
            state = source.state_dict()
            del state[name]
            target = subject.built() if built else subject.make()
            with pytest.raises(RuntimeError, match=name):
                target.load_state_dict(state)
            outputs = target(batch(subject.shape))
            assert outputs.shape == target.compute_output_shape(subject.shape)
            assert {n: p.shape for n, p in target.named_parameters()} == {
                n: p.shape for n, p in source.named_parameters()
            }

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_a_partial_state_dict_is_taken_where_it_may_be(self, subject, built):
        source = subject.built()
        names = list(source.state_dict())
        for name in names if built else names[1:]:  # without the first, no shape is known
            state = {**source.state_dict(), "more": torch.zeros(2)}
            del state[name]
            target = subject.built() if built else subject.make()
            result = target.load_state_dict(state, strict=False)
            assert (result.missing_keys, result.unexpected_keys) == ([name], ["more"])
            del state["more"]
            assert_same_state({n: target.state_dict()[n] for n in state}, state)
            assert target.state_dict()[name].shape == source.state_dict()[name].shape

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_a_wrong_shaped_state_dict_is_an_error_and_changes_no_shape(self, subject, built):
        source = subject.built()
        for name, value in source.state_dict().items():
            target = subject.built() if built else subject.make()
            before = state_of(target) if built else {}
            wrong = {**source.state_dict(), name: value.new_zeros(*value.shape, 2)}
            with pytest.raises(RuntimeError, match=name):
                target.load_state_dict(wrong)
            if built:
                assert_same_state({name: target.state_dict()[name]}, {name: before[name]})
            else:
                assert_lazy(target)
            target.load_state_dict(source.state_dict())
            assert_same_state(target.state_dict(), source.state_dict())

    def test_a_wrong_state_dict_of_a_whole_model_names_the_layer(self, subject):
        model = nn.Sequential(subject.make())
        name = "0." + next(iter(model[0].state_dict()))
        state = {f"0.{n}": v.new_zeros(2) for n, v in subject.built().state_dict().items()}
        with pytest.raises(RuntimeError, match=name.partition(".")[2]):
            model.load_state_dict(state)
        assert_lazy(model[0])

    def test_get_weights_are_copies(self, subject):
        layer = subject.built()
        before = state_of(layer)
        for array in layer.get_weights():
            array[...] = 7
        assert_same_state(state_of(layer), before)

    def test_weights_round_trip(self, subject):
        source, target = subject.built(), subject.built()
        target.set_weights(source.get_weights())
        assert_same_state(target.state_dict(), source.state_dict())
        target.set_weights([torch.from_numpy(w).double() for w in subject.built().get_weights()])
        with pytest.raises(AssertionError):
            assert_same_state(target.state_dict(), source.state_dict())
        assert target.count_params() == sum(w.size for w in target.get_weights())

    def test_set_weights_takes_all_or_nothing(self, subject):
        layer = subject.built()
        before, arrays = state_of(layer), subject.built().get_weights()
        last = arrays[-1]
        wrong = {
            "too few": arrays[:-1],
            "too many": [*arrays, last],
            "shape": [*arrays[:-1], np.zeros((*last.shape, 1), np.float32)],
            "broadcast": [*arrays[:-1], np.zeros((), np.float32)],
            "complex": [*arrays[:-1], last.astype(complex)],
            "text": [*arrays[:-1], "text"],
            "no list": 3,
            "one tensor": torch.zeros(len(arrays)),
        }
        for weights in wrong.values():
            with pytest.raises(ValueError, match="a list of arrays for"):
                layer.set_weights(weights)
            assert_same_state(state_of(layer), before)
        with pytest.raises(ValueError, match="Build the layer first"):
            subject.make().set_weights(arrays)

    def test_set_weights_takes_nothing_where_one_weight_is_computed(self, subject):
        layer = subject.built()
        name = list(layer.state_dict())[-1]
        parametrize.register_parametrization(layer, name, Doubled())
        before = state_of(layer)
        with pytest.raises(ValueError, match="a parameter of its own"):
            layer.set_weights([array + 1 for array in layer.get_weights()])
        assert_same_state(state_of(layer), before)

    # Copies and configs

    @pytest.mark.parametrize("way", COPIES)
    def test_copies_before_the_build(self, subject, way):
        layer = subject.make()
        made = COPIES[way](layer)
        assert_lazy(made)
        assert made.name == layer.name
        made(batch(subject.shape))
        assert_no_trace(made)
        assert_lazy(layer)

    @pytest.mark.parametrize("way", COPIES)
    def test_copies_after_the_build(self, subject, way):
        layer = subject.built()
        made, x = COPIES[way](layer), batch(subject.shape)
        assert_same_state(made.state_dict(), layer.state_dict())
        assert [p.stride() for p in made.parameters()] == [p.stride() for p in layer.parameters()]
        assert_close(made(x), layer(x), rtol=0, atol=0)
        before = state_of(layer)
        step(made, x, torch.optim.SGD(made.parameters(), lr=0.1))
        assert_same_state(state_of(layer), before)

    def test_config_round_trip(self, subject):
        layer = subject.make(name="mine", trainable=False, dtype="float64")
        config = layer.get_config()
        kept = copy.deepcopy(config)
        made = type(layer).from_config(config)
        assert config == kept == made.get_config()
        assert list(config)[:3] == ["name", "trainable", "dtype"]
        assert (made.name, made.trainable, made.dtype) == ("mine", False, "float64")
        again = type(layer).from_config(json.loads(json.dumps(config)))
        assert json.dumps(again.get_config()) == json.dumps(config)
        made.build(subject.shape)
        made.set_weights(subject.built(dtype="float64").get_weights())
        layer.build(subject.shape)
        layer.set_weights(made.get_weights())
        x = batch(subject.shape, torch.float64)
        assert_close(made(x), layer(x), rtol=0, atol=0)

    def test_config_lists_every_argument_but_where_and_how_it_runs(self, subject):
        layer = subject.make(activity_regularizer="l2")
        apart = {"autocast", "input_shape", "device", "lora_rank", "lora_alpha"}
        assert set(layer.get_config()) - apart == set(layer.arguments()) - apart

    def test_wrong_configs_are_refused(self, subject):
        cls, config = type(subject.make()), subject.make().get_config()
        for wrong in ({**config, "colour": 3}, {**config, "dtype": "int8"}, {}, 5):
            with pytest.raises(TypeError, match=rf"^{cls.__name__}\.from_config: "):
                cls.from_config(wrong)

    # Modes, types and devices

    def test_train_and_eval(self, subject):
        layer = subject.make()
        assert layer.training
        assert layer.eval() is layer and not layer.training
        layer(batch(subject.shape))
        assert not layer.training and layer.train().training

    @pytest.mark.parametrize("dtype", FLOATS, ids=str)
    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_to_another_type(self, subject, dtype, built):
        layer = (subject.built() if built else subject.make()).to(dtype)
        outputs = layer(batch(subject.shape))
        assert outputs.dtype is dtype and {p.dtype for p in layer.parameters()} == {dtype}
        assert layer.dtype == layer.compute_dtype == str(dtype).removeprefix("torch.")
        assert type(layer).from_config(layer.get_config()).dtype == layer.dtype

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_to_the_meta_device_and_back(self, subject, built):
        layer = (subject.built() if built else subject.make()).to("meta")
        shapes = {name: tuple(p.shape) for name, p in subject.built().named_parameters()}
        x = batch(subject.shape)
        outputs = layer(x.to("meta"))
        assert outputs.is_meta and outputs.shape == layer.compute_output_shape(subject.shape)
        assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == shapes
        source = subject.built()
        layer.to_empty(device="cpu").load_state_dict(source.state_dict())
        assert_close(layer(x), source(x), rtol=0, atol=0)

    def test_made_on_a_device(self, subject):
        with torch.device("meta"):
            inside = subject.make()
        for layer in (inside, subject.make(device="meta")):
            assert all(p.is_meta for p in layer.parameters())
            layer.build(subject.shape)
            assert layer.weights and all(weight.is_meta for weight in layer.weights)
            assert layer(torch.empty(subject.shape, device="meta")).is_meta

    def test_on_the_device(self, subject, device):
        layer = subject.make(device=device)
        x = batch(subject.shape)
        outputs = layer(x.to(device))
        assert {p.device.type for p in layer.parameters()} == {device} == {outputs.device.type}
        assert_close(layer(x.numpy()), outputs, rtol=0, atol=0)

    @pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=str)
    def test_in_another_order_of_memory(self, subject, order, device):
        layer, x = subject.built().to(device), batch(subject.shape).to(device)
        expected = numbers_of(layer, x)
        layer.to(memory_format=order)
        assert all(p.is_contiguous(memory_format=order) for p in layer.parameters() if p.ndim == 4)
        assert_close(numbers_of(layer, x), expected)

    @pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    def test_under_autocast(self, subject, dtype, policy, device):
        layer, x = subject.built(dtype=policy).to(device), batch(subject.shape).to(device)
        expected = layer(x).float()
        with torch.autocast(device, dtype):
            outputs = layer(x)
        assert_close(outputs.float(), expected, rtol=3e-2, atol=3e-2)
        outputs.float().square().sum().backward()
        assert {p.grad.dtype for p in layer.trainable_weights} == {torch.float32}

    # Inputs

    def test_inputs_of_all_kinds(self, subject):
        layer, x = subject.built(), batch(subject.shape).mul(3).round()
        expected = layer(x)
        strange = torch.stack([x, -x], -1)[..., 0]
        assert not strange.is_contiguous()
        back_to_front = x.numpy()[..., ::-1].copy()[..., ::-1]
        same = {
            "array": x.numpy(),
            "array of doubles": x.double().numpy(),
            "array, big end first": x.numpy().astype(">f4"),
            "array, negative strides": back_to_front,
            "not contiguous": strange,
            "axes in another order": x.transpose(1, 2).contiguous().transpose(1, 2),
            "keyword": None,
            **{str(dtype): x.to(dtype) for dtype in (*FLOATS, torch.int8, torch.int64)},
        }
        for value in same.values():
            outputs = layer(inputs=x) if value is None else layer(value)
            assert outputs.dtype is torch.float32
            assert_close(outputs, expected)
        assert_close(layer(x > 0), layer((x > 0).float()))
        with pytest.raises(ValueError, match="a tensor of real numbers"):
            layer(x.to(torch.complex64))

    def test_zero_batch(self, subject):
        layer = subject.make()
        x = torch.zeros((0, *subject.shape[1:]), requires_grad=True)
        outputs = layer(x)
        assert outputs.shape == layer.compute_output_shape(x.shape) and len(outputs) == 0
        outputs.sum().backward()
        assert x.grad.shape == x.shape
        assert all(not weight.grad.any() for weight in layer.trainable_weights)

    def test_a_call_leaves_its_input_alone(self, subject):
        layer, x = subject.built(), batch(subject.shape)
        kept = x.clone()
        outputs = layer(x)
        assert torch.equal(x, kept)
        assert torch.equal(outputs, layer(x))

    # Training

    def test_gradients(self, subject):
        layer = subject.built().double()
        state = {n: p.detach().requires_grad_(p.requires_grad) for n, p in layer.named_parameters()}
        x = batch(subject.shape, torch.float64).requires_grad_()

        def function(x, *values):
            return functional_call(layer, dict(zip(state, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(function, (x, *state.values()), fast_mode=True)

    def test_an_optimizer_made_before_the_build_trains(self, subject):
        layer, x = subject.make(), batch(subject.shape)
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
    def test_trainable(self, subject, built):
        layer = subject.built() if built else subject.make()
        layer.trainable = False
        frozen = subject.built(trainable=False) if built else subject.make(trainable=False)
        for made in (layer, frozen):
            assert made.trainable is False
            outputs = made(batch(subject.shape))
            assert not outputs.requires_grad
            assert made.trainable_weights == []
            assert len(made.non_trainable_weights) == len(made.weights) > 0
            made.trainable = True  # all of them, a kernel that LoRA froze included, as in Keras
            assert all(parameter.requires_grad for parameter in made.parameters())
            assert len(made.trainable_weights) == len(made.weights)

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_checkpoints(self, subject, reentrant):
        layer, x = subject.built(activity_regularizer="l2"), batch(subject.shape)
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

    def test_gradients_may_be_clipped(self, subject):
        layer = subject.built()
        layer(batch(subject.shape)).square().sum().backward()
        kept = [p.grad.clone() for p in layer.trainable_weights]
        norm = nn.utils.clip_grad_norm_(layer.parameters(), 0.5)
        assert norm > 0.5
        scaled = [g * (0.5 / norm) for g in kept]
        assert_close([p.grad for p in layer.trainable_weights], scaled, rtol=1e-4, atol=1e-6)

    def test_parameters_as_a_vector(self, subject):
        layer, other, x = subject.built(), subject.built(), batch(subject.shape)
        for each in (layer, other):
            each.to(memory_format=torch.contiguous_format)
        vector_to_parameters(parameters_to_vector(layer.parameters()), other.parameters())
        assert_close(other(x), layer(x), rtol=0, atol=0)

    def test_averages_of_weights(self, subject):
        layer, x = subject.built(activity_regularizer="l2"), batch(subject.shape)
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

    # The rest of nn.Module

    def test_shared_memory(self, subject):
        layer, x = subject.built(), batch(subject.shape)
        expected, strides = layer(x), [p.stride() for p in layer.parameters()]
        layer.share_memory()
        assert all(value.is_shared() for value in layer.state_dict().values())
        assert [p.stride() for p in layer.parameters()] == strides
        assert_close(layer(x), expected, rtol=0, atol=0)

    def test_hooks_fire(self, subject):
        layer, x, fired = subject.make(), batch(subject.shape).requires_grad_(), []
        layer.register_forward_pre_hook(lambda module, args: fired.append("before"))
        layer.register_forward_hook(lambda module, args, outputs: outputs + 1)
        layer.register_full_backward_pre_hook(lambda module, grads: fired.append("back"))
        layer.register_full_backward_hook(lambda module, into, out: (into[0] * 2,))
        plain = layer.forward(x) if layer.built else None
        outputs = layer(x)
        assert plain is None and fired == ["before"]
        assert_close(outputs, layer.forward(x) + 1)
        outputs.sum().backward()
        assert fired == ["before", "back"]
        (expected,) = torch.autograd.grad(layer.forward(x).sum(), x)
        assert_close(x.grad, expected * 2)

    def test_repr(self, subject):
        layer = subject.make()
        assert repr(layer).startswith(f"{type(layer).__name__}(None, ")
        layer.build(subject.shape)
        assert repr(layer).startswith(f"{type(layer).__name__}(") and "None" not in repr(layer)

    def test_names(self, subject):
        first, second = subject.make().name, subject.make().name
        stem = first.rstrip("0123456789").rstrip("_")
        number = int(first[len(stem) + 1 :] or 0)
        assert second == f"{stem}_{number + 1}"
        assert subject.make(name="mine").name == "mine"
        assert subject.make().name == f"{stem}_{number + 2}"

    def test_functional_call(self, subject):
        layer, x = subject.built(), batch(subject.shape)
        other = subject.built()
        outputs = functional_call(layer, dict(other.named_parameters()), (x,))
        assert_close(outputs, other(x), rtol=0, atol=0)
        assert not torch.equal(outputs, layer(x))

    def test_vmap(self, subject):
        layer, x = subject.built().eval(), batch((3, *subject.shape))
        assert_close(vmap(layer)(x), torch.stack([layer(each) for each in x]))
        states = [state_of(subject.built()) for _ in range(3)]
        stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        outputs = vmap(lambda state, x: functional_call(layer, state, (x,)))(stacked, x)
        pairs = zip(states, x, strict=True)
        assert_close(
            outputs, torch.stack([functional_call(layer, s, (each,)) for s, each in pairs])
        )

    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
    def test_derivatives_both_ways(self, subject):
        layer = subject.built().double().eval()
        x, along = (batch(subject.shape, torch.float64, seed) for seed in (1, 2))
        state = {name: p.detach() for name, p in layer.named_parameters()}
        shift = {name: torch.ones_like(value) for name, value in state.items()}

        def total(state, x):
            return functional_call(layer, state, (x,)).square().sum()

        _, forward = jvp(total, (state, x), (shift, along))
        by_state, by_x = grad(total, (0, 1))(state, x)
        backward = (by_x * along).sum() + sum(value.sum() for value in by_state.values())
        assert_close(forward, backward)

    def test_weight_norm(self, subject):
        layer, x = subject.built(), batch(subject.shape)
        expected, name = layer(x), next(iter(layer.state_dict()))
        parametrizations.weight_norm(layer, name)
        assert_close(layer(x), expected)
        assert len(layer.get_weights()) == len(subject.built().get_weights())
        step(layer, x, torch.optim.SGD(layer.parameters(), lr=0.1))
        trained = layer(x)
        assert not torch.allclose(trained, expected)
        parametrize.remove_parametrizations(layer, name)
        assert_close(layer(x), trained)

    def test_prune(self, subject):
        layer, x = subject.built(), batch(subject.shape)
        name = next(iter(layer.state_dict()))
        prune.random_structured(layer, name, amount=1, dim=0)
        assert sum(not part.any() for part in getattr(layer, name)) == 1
        pruned = layer(x)
        step(layer, x, torch.optim.SGD(layer.parameters(), lr=0.01))
        assert not torch.equal(layer(x), pruned)
        assert sum(not part.any() for part in getattr(layer, name)) == 1
        pruned = layer(x)
        prune.remove(layer, name)
        assert_close(layer(x), pruned, rtol=0, atol=0)

    @pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
    def test_compile(self, subject, training):
        torch.compiler.reset()
        layer = subject.built().train(training)
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        with torch.set_grad_enabled(training):
            for shape in (subject.shape, subject.other):
                x = batch(shape).requires_grad_(training)
                outputs, expected = compiled(x), layer(x)
                assert_close(outputs, expected)
                if training:
                    wanted = (x, *layer.trainable_weights)
                    found = torch.autograd.grad(outputs.square().sum(), wanted)
                    assert_close(found, torch.autograd.grad(expected.square().sum(), wanted))


def broken_assertions():
    """Return what each comparison of this file must not let pass."""
    value = {"weight": torch.zeros(2)}
    layer = nn.LazyLinear(3)
    layer.built, layer.weights = True, []
    return {
        "value": lambda: assert_same_state(value, {"weight": torch.full((2,), 1e-30)}),
        "type": lambda: assert_same_state(value, {"weight": torch.zeros(2).double()}),
        "name": lambda: assert_same_state(value, {"bias": torch.zeros(2)}),
        "fewer": lambda: assert_same_state(value, {}),
        "traces": lambda: assert_no_trace(layer),
        "built": lambda: assert_lazy(layer),
    }
