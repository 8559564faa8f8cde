"""The layers for images against plain loops, and what else they must do."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close

from kerastorch import apply_constraints, layers
from tests.layers.contract import (
    LayerContract,
    Subject,
    assert_lazy,
    assert_no_trace,
    assert_same_state,
    batch,
    step,
)

CASES = list(itertools.product([(2, 3), (3, 2), (4, 5), (1, 3)], [(1, 1), (2, 1), (3, 2), (1, 3)]))


def pooled(x, size, strides, padding, reduce):
    """Return the pooling of (batch, h, w, channels) by TensorFlow's rule, window by window."""
    out, starts = [], []
    for n, k, s in zip(x.shape[1:3], size, strides, strict=True):
        out.append(-(-n // s) if padding == "same" else (n - k) // s + 1)
        total = max((out[-1] - 1) * s + k - n, 0) if padding == "same" else 0
        starts.append(-(total // 2))
    y = np.empty((x.shape[0], *out, x.shape[3]))
    for i, j in np.ndindex(*out):
        top, left = starts[0] + i * strides[0], starts[1] + j * strides[1]
        window = x[:, max(top, 0) : top + size[0], max(left, 0) : left + size[1]]
        y[:, i, j] = reduce(window, axis=(1, 2))
    return y


@pytest.mark.parametrize("padding", ["valid", "same", "SAME"])
@pytest.mark.parametrize("size, strides", CASES)
@pytest.mark.parametrize("name, reduce", [("Max", np.max), ("Average", np.mean)])
def test_pooling_against_loops(name, reduce, size, strides, padding):
    layer = getattr(layers, f"{name}Pooling2D")(size, strides, padding, dtype="float64")
    first = getattr(layers, f"{name}Pooling2D")(
        size, strides, padding, "channels_first", dtype="float64"
    )
    for shape in ((2, 7, 6, 3), (1, 5, 8, 2)):
        x = batch(shape, torch.float64) - 3  # padded zeros would be the largest
        expected = pooled(x.numpy(), size, strides, padding.lower(), reduce)
        outputs = layer(x)
        assert_close(outputs, torch.from_numpy(expected))
        assert outputs.shape == layer.compute_output_shape(shape)
        moved = first(x.permute(0, 3, 1, 2))
        assert_close(moved.permute(0, 2, 3, 1), outputs)
        assert moved.shape == first.compute_output_shape((shape[0], shape[3], *shape[1:3]))


def test_integers_and_booleans_are_pooled():
    x = torch.arange(24).reshape(1, 4, 6, 1)
    assert torch.equal(layers.MaxPooling2D(2, 1, "same")(-x)[0, :2, 0, 0], torch.tensor([0, -6]))
    assert layers.MaxPooling2D()(x > 20).dtype is torch.bool
    assert layers.AveragePooling2D(2)(x).dtype is torch.float32
    assert layers.GlobalAveragePooling2D()(x).tolist() == [[11.5]]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int64, torch.half])
def test_types_of_numbers_are_pooled_in_a_graph_as_without(dtype):
    x = (batch((2, 9, 12, 3)) * 3 - 3).to(dtype)
    for layer in (layers.MaxPooling2D((3, 2), (2, 3), "same"), layers.MaxPooling2D(2, 1, "same")):
        torch.compiler.reset()
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), layer(x))


LAYERS = {
    "max": lambda **k: layers.MaxPooling2D((2, 3), (2, 1), "same", **k),
    "average": lambda **k: layers.AveragePooling2D((2, 3), (2, 1), "same", **k),
    "mean": layers.GlobalAveragePooling2D,
    "largest": layers.GlobalMaxPooling2D,
    "zeros": lambda **k: layers.ZeroPadding2D(((1, 2), (3, 0)), **k),
    "cut": lambda **k: layers.Cropping2D(((1, 2), (1, 0)), **k),
    "nearest": lambda **k: layers.UpSampling2D((2, 3), **k),
    "bilinear": lambda **k: layers.UpSampling2D((2, 3), interpolation="bilinear", **k),
    "bicubic": lambda **k: layers.UpSampling2D((2, 3), interpolation="bicubic", **k),
    "lanczos3": lambda **k: layers.UpSampling2D((1, 4), interpolation="lanczos3", **k),
    "lanczos5": lambda **k: layers.UpSampling2D((3, 2), interpolation="lanczos5", **k),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
class TestWeightless:
    def test_nothing_is_left_of_laziness(self, make):
        layer = make()
        assert_no_trace(layer)
        assert layer.weights == [] and not list(layer.parameters()) and not layer.state_dict()
        layer.build((None, 6, 7, 3))
        layer.reset_parameters()

    def test_both_layouts_agree(self, make):
        x = batch((2, 6, 7, 3))
        left, right = make()(x), make(data_format="channels_first")(x.permute(0, 3, 1, 2))
        assert_close(left, right if left.ndim == 2 else right.permute(0, 2, 3, 1))

    def test_copies_and_configs(self, make):
        layer, x = make(name="mine", activity_regularizer="l2"), batch((2, 6, 7, 3))
        made = type(layer).from_config(layer.get_config())
        assert made.get_config() == layer.get_config()
        for other in (made, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(other(x), layer(x))
            assert other.losses[0] == layer.losses[0]

    def test_it_follows_the_type_of_the_model(self, make):
        model = nn.Sequential(make()).half()
        assert model(batch((2, 6, 7, 3))).dtype is torch.float16
        assert model[0].compute_dtype == "float16"
        assert make(dtype="mixed_bfloat16")(batch((2, 6, 7, 3))).dtype is torch.bfloat16

    def test_gradients(self, make):
        x = batch((1, 6, 5, 2), torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(make(dtype="float64"), (x,), fast_mode=True)

    def test_meta_and_compile(self, make):
        layer = make()
        shape = (2, 6, 7, 3)
        assert layer(torch.empty(shape, device="meta")).shape == layer.compute_output_shape(shape)
        torch.compiler.reset()
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        for size in (shape, (3, 7, 9, 3)):
            assert_close(compiled(batch(size)), layer(batch(size)))

    def test_wrong_inputs(self, make):
        layer = make()
        for value in ("text", None, batch((6, 7, 3)), batch((2, 6, 7, 3)).to(torch.complex64)):
            with pytest.raises(ValueError, match=type(layer).__name__):
                layer(value)
        with pytest.raises(ValueError, match="a shape of 4 dimensions"):
            layer.compute_output_shape((None, 6, 7))


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_frozen_layers_and_models_of_them(make):
    assert make(trainable=False).trainable is False


MESSAGES = {
    "MaxPooling2D: `padding` must be 'valid' or 'same', in any case. Received: padding='no'.":
        lambda: layers.MaxPooling2D(padding="no"),
    "MaxPooling2D: `inputs` must be a shape that the window fits into. Received: "
    "inputs=(1, 2, 6, 1), pool_size=(3, 3), data_format='channels_last'. Or use padding='same'.":
        lambda: layers.MaxPooling2D(3)(torch.zeros(1, 2, 6, 1)),
    "ZeroPadding2D: `padding` must be an integer >= 0, 2 of them, or 2 pairs of them. "
    "Received: padding=-1.":
        lambda: layers.ZeroPadding2D(-1),
    "Cropping2D: `inputs` must be a shape of more than is cut off. Received: "
    "inputs=(1, 2, 6, 1), cropping=((1, 1), (1, 1)), data_format='channels_last'.":
        lambda: layers.Cropping2D(1)(torch.zeros(1, 2, 6, 1)),
    "UpSampling2D: `interpolation` must be 'nearest' or 'bilinear' or 'bicubic' or 'lanczos3' or "
    "'lanczos5', in any case. Received: interpolation='area'.":
        lambda: layers.UpSampling2D(interpolation="area"),
    "Add: `inputs` must be of one batch size. Received: inputs=[(2, 3), (1, 3)].":
        lambda: layers.Add()([torch.zeros(2, 3), torch.zeros(1, 3)]),
    "Concatenate: `inputs` must be a list of shapes that are equal but along axis -1. Received: "
    "inputs=[(2, 3), (1, 3)].":
        lambda: layers.Concatenate()([torch.zeros(2, 3), torch.zeros(1, 3)]),
    "BatchNormalization: `inputs` must be of 2 dimensions at least and 3 channels along axis -1. "
    "Received: inputs=(2, 4).":
        lambda: layers.BatchNormalization(input_shape=(3,))(torch.zeros(2, 4)),
}  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES)
def test_messages(message):
    with pytest.raises(ValueError) as caught:
        MESSAGES[message]()
    assert str(caught.value) == message


# Merging


def test_merging_against_numpy():
    a, b, c = (batch(shape, seed=i) for i, shape in enumerate([(2, 5, 4), (2, 1, 4), (2, 4)]))
    x, y, z = a.numpy(), b.numpy(), c.numpy()[:, None]
    expected = {"Add": x + y + z, "Multiply": x * y * z, "Average": (x + y + z) / 3,
                "Maximum": np.maximum(x, np.maximum(y, z)),
                "Minimum": np.minimum(x, np.minimum(y, z))}  # fmt: skip
    for name, value in expected.items():
        layer = getattr(layers, name)()
        assert_no_trace(layer)
        assert_close(layer([a, b, c]), torch.from_numpy(value))
        assert layer.compute_output_shape([a.shape, b.shape, c.shape]) == (2, 5, 4)
    assert_close(layers.Subtract()((a, c)), torch.from_numpy(x - z))
    assert_close(layers.Concatenate(1)([a, b]), torch.from_numpy(np.concatenate([x, y], 1)))


# Batch normalization

SUBJECTS = [
    Subject(
        name,
        lambda arguments=arguments, **more: layers.BatchNormalization(
            gamma_initializer="random_normal", **arguments, **more
        ),
        shape=(3, 4, 5, 6),
        other=(2, 4, 7, 6),
        wrong=((3, 4, 5, 7), (3,)) if "axis" not in arguments else ((3, 7, 5, 6), (3,)),
    )
    for name, arguments in {"last": {}, "first": {"axis": 1}, "gamma": {"center": False}}.items()
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
class TestContract(LayerContract):
    def test_is_lazy_until_the_first_call(self, subject):
        layer = subject.make()
        assert_lazy(layer)
        assert layer(batch(subject.shape)).shape == layer.compute_output_shape(subject.shape)
        assert_no_trace(layer)
        assert {type(buffer) for buffer in layer.buffers()} == {torch.Tensor}

    def test_wrong_configs_are_refused(self, subject):
        config = subject.make().get_config()
        for wrong in ({**config, "colour": 3}, {**config, "dtype": "int8"}, {"axis": [1, 2]}, 5):
            with pytest.raises(TypeError, match=r"^BatchNormalization\.from_config: "):
                layers.BatchNormalization.from_config(wrong)

    def test_a_wrong_state_dict_of_a_whole_model_names_the_layer(self, subject):
        good = subject.built().state_dict()
        for name, value in good.items():  # each has one axis: only another size than the rest's
            model = nn.Sequential(subject.make())
            state = {f"0.{n}": v for n, v in good.items()} | {f"0.{name}": value.new_zeros(2)}
            with pytest.raises(RuntimeError, match=rf"\b0\.{name}\b"):
                model.load_state_dict(state)
            assert_lazy(model[0])
            model.load_state_dict({f"0.{n}": v for n, v in good.items()})
            assert_same_state(model[0].state_dict(), good)

    def test_prune(self, subject):
        layer, x = subject.built(), batch(subject.shape)
        prune.l1_unstructured(layer, "weight", amount=2)  # gamma's one axis is that of channels
        least = layer.weight_orig.abs().argsort()[:2]
        before = layer(x)
        assert torch.equal(before.movedim(layer.axis, -1).any((0, 1, 2)), layer.weight != 0)
        step(layer, x, torch.optim.SGD(layer.parameters(), lr=0.01))
        assert not torch.equal(layer(x), before)
        assert (layer.weight == 0).nonzero().flatten().tolist() == sorted(least.tolist())
        pruned = layer(x)
        prune.remove(layer, "weight")
        assert_close(layer(x), pruned, rtol=0, atol=0)

    @pytest.mark.parametrize("built", [False, True], ids=["unbuilt", "built"])
    def test_trainable(self, subject, built):
        layer = subject.built() if built else subject.make()
        layer.trainable = False
        outputs = layer(batch(subject.shape))
        assert not outputs.requires_grad and layer.trainable_weights == []
        assert torch.equal(layer.running_mean, torch.zeros_like(layer.running_mean))
        layer.trainable = True
        assert len(layer.trainable_weights) == len(list(layer.parameters()))


def test_moving_statistics_follow_the_biased_variance():
    layer = layers.BatchNormalization(momentum=0.8, dtype="float64")
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(4):
        x = batch((2, 5, 4, 3), torch.float64, seed) * 3 + 1
        outputs = layer(x)
        flat = x.reshape(-1, 3).numpy()
        expected = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-3)
        assert_close(outputs.reshape(-1, 3), torch.from_numpy(expected))
        mean = mean * 0.8 + flat.mean(0) * 0.2
        variance = variance * 0.8 + flat.var(0) * 0.2
        assert_close(layer.running_mean, torch.from_numpy(mean))
        assert_close(layer.running_var, torch.from_numpy(variance))
    outputs = layer.eval()(x)
    assert_close(outputs, (x - layer.running_mean) / (layer.running_var + 1e-3).sqrt())


def test_one_number_a_channel_and_none():
    layer = layers.BatchNormalization(momentum=0.5)
    assert_close(layer(torch.tensor([[3.0, -1.0]])), torch.zeros(1, 2))
    assert layer.running_var.tolist() == [0.5, 0.5] and layer.running_mean.tolist() == [1.5, -0.5]
    layer(torch.zeros(0, 2))
    assert layer.running_mean.tolist() == [1.5, -0.5]


def test_constraints_and_losses_reach_gamma_and_beta():
    layer = layers.BatchNormalization(
        gamma_initializer="ones", gamma_constraint="non_neg", gamma_regularizer="l2",
        beta_regularizer="l2", input_shape=(3,),
    )  # fmt: skip
    assert len(layer.losses) == 2
    with torch.no_grad():
        layer.weight.fill_(-1)
    apply_constraints(layer)
    assert layer.weight.tolist() == [0, 0, 0]
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    assert layer.count_params() == 12
