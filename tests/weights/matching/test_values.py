"""Which array goes to which parameter: by name, by order, by class, as the caller says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras
from kerastorch._core.errors import FileError
from kerastorch.saving.formats.weight_file import SavedLayer, Weight
from kerastorch.saving.weights.module_weights import list_module_weights
from kerastorch.saving.weights.parameters import list_keras_classes, list_parameters
from tests.weights.matching.sources import array, contents, conv, legacy, stored, tree, weight

# What modules offer


@pytest.mark.parametrize(
    "module, saved",
    [
        (nn.Conv1d(4, 6, 3, groups=2), {"kernel": (3, 2, 6), "bias": (6,)}),
        (nn.Conv2d(3, 5, (2, 4)), {"kernel": (2, 4, 3, 5), "bias": (5,)}),
        (nn.Conv2d(3, 5, (2, 4), bias=False), {"kernel": (2, 4, 3, 5)}),
        (nn.Conv3d(3, 5, (2, 4, 1)), {"kernel": (2, 4, 1, 3, 5), "bias": (5,)}),
        (nn.ConvTranspose1d(3, 5, 2), {"kernel": (2, 5, 3), "bias": (5,)}),
        (nn.ConvTranspose2d(3, 5, (2, 4)), {"kernel": (2, 4, 5, 3), "bias": (5,)}),
        (nn.ConvTranspose3d(3, 5, (2, 4, 1)), {"kernel": (2, 4, 1, 5, 3), "bias": (5,)}),
        (nn.Linear(3, 5), {"kernel": (3, 5), "bias": (5,)}),
        (nn.LayerNorm((3, 5)), {"gamma": (3, 5), "beta": (3, 5)}),
        (nn.RMSNorm((3, 5)), {"scale": (3, 5)}),
        (nn.GroupNorm(2, 4), {"gamma": (4,), "beta": (4,)}),
        (nn.Embedding(7, 3), {"embeddings": (7, 3)}),
        (nn.PReLU(4), {"alpha": (4,)}),
        (
            nn.BatchNorm2d(4),
            dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (4,)),
        ),
        (nn.BatchNorm1d(4, affine=False), dict.fromkeys(("moving_mean", "moving_variance"), (4,))),
        (nn.BatchNorm3d(4, track_running_stats=False), dict.fromkeys(("gamma", "beta"), (4,))),
        (keras.Conv2D(5, (2, 4), input_shape=(6, 6, 3)), {"kernel": (2, 4, 3, 5), "bias": (5,)}),
        (keras.Conv2D(5, 2, use_bias=False), {"kernel": None}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_module_has_these_weights_in_this_order(module, saved):
    assert {target.name: target.shape for target in list_parameters(module)} == saved


def test_the_views_are_the_parameters_own_memory():
    for module in (nn.Conv2d(4, 8, (2, 3), groups=4), nn.ConvTranspose2d(2, 3, (2, 4))):
        target = list_parameters(module)[0]
        for view in (target.view, *target.others):
            with torch.no_grad():
                view(module.weight).fill_(7)
            assert (module.weight == 7).all()
            torch.nn.init.zeros_(module.weight)


def test_what_is_no_layer_of_keras_is_refused():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(2))
            self.inner = nn.Linear(2, 2)

    class OtherLinear(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(Scale(), OtherLinear(2, 2), nn.Bilinear(2, 2, 2), nn.LazyLinear(3))
    refused = {leaf.path: leaf.refusal for leaf in list_module_weights(model) if leaf.refusal}
    assert set(refused) == {"0", "1", "2", "3"}
    assert all("must be" in text for text in refused.values())
    with pytest.raises(ValueError, match="groups"):
        list_parameters(nn.ConvTranspose2d(4, 4, 2, groups=2))
    with pytest.raises(ValueError, match="module"):
        list_parameters(nn.ReLU())


def test_a_shared_module_is_listed_once():
    linear = nn.Linear(2, 2)
    assert [
        leaf.path for leaf in list_module_weights(nn.Sequential(linear, nn.ReLU(), linear))
    ] == ["0"]
    assert list_keras_classes(nn.Conv2d(4, 4, 1, groups=4)) == ("depthwise_conv2d", "conv2d")
    assert list_keras_classes(nn.ReLU()) == ()


# Exact values, in Keras's order


def test_kernels_are_turned_and_no_square_one_is_guessed(load):
    for module, value in (
        (nn.Linear(3, 3), array(3, 3)),
        (nn.Conv2d(3, 3, 3), array(3, 3, 3, 3)),
        (nn.ConvTranspose2d(3, 3, 3), array(3, 3, 3, 3)),
    ):
        kind = list_keras_classes(module)[0]
        load(module, tree(**{f"layers__{kind}": [value, array(3)]}))
        axes = (1, 0) if value.ndim == 2 else (3, 2, 0, 1)
        np.testing.assert_array_equal(stored(module.weight), value.transpose(axes))


def test_depthwise_kernels_find_their_channels(load):
    module = nn.Conv2d(3, 6, (2, 4), groups=3)
    kernel, bias = array(2, 4, 3, 2), array(6)
    load(module, tree(layers__depthwise_conv2d=[kernel, bias]))
    for channel in range(3):
        for multiple in range(2):
            found = stored(module.weight)[2 * channel + multiple, 0]
            np.testing.assert_array_equal(found, kernel[:, :, channel, multiple])
    grouped = array(2, 4, 1, 6)
    load(module, tree(layers__conv2d=[grouped, bias]))
    np.testing.assert_array_equal(stored(module.weight), grouped.transpose(3, 2, 0, 1))


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 1, 4), (1, 1, 1, 4), (4, 1, 1)])
def test_slopes_may_share_axes(load, shape):
    module, alpha = nn.PReLU(4), array(*shape)
    load(module, tree(layers__p_re_lu=[alpha]))
    np.testing.assert_array_equal(stored(module.weight), alpha.reshape(4))


def test_slopes_of_several_axes_are_refused(load):
    with pytest.raises(FileError, match=r"\(2, 4\)"):
        load(nn.PReLU(4), tree(layers__p_re_lu=[array(2, 4)]))


def test_batch_normalization_by_count_and_by_name(load):
    mean, variance = array(4), array(4) ** 2
    plain = nn.BatchNorm2d(4, affine=False)
    load(plain, tree(layers__batch_normalization=[mean, variance]))
    np.testing.assert_array_equal(stored(plain.running_var), variance)
    assert plain.num_batches_tracked == 0
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    values = dict(zip(names, (array(4) for _ in names), strict=True))
    module = nn.BatchNorm2d(4)
    order = ("gamma", "moving_mean", "moving_variance", "beta")
    load(module, legacy(bn={f"bn/{name}": values[name] for name in order}))
    found = (module.weight, module.bias, module.running_mean, module.running_var)
    for tensor, name in zip(found, names, strict=True):
        np.testing.assert_array_equal(stored(tensor), values[name])


def test_three_of_four_arrays_without_names_are_refused(load):
    source = tree(layers__batch_normalization=[array(4), array(4), array(4)])
    with pytest.raises(FileError, match="has 4 weights"):
        load(nn.BatchNorm2d(4), source)


def test_missing_scales_are_missing_in_strict_mode_and_reported_otherwise(load):
    source = tree(layers__batch_normalization=[array(4), array(4)])
    with pytest.raises(FileError, match="weight"):
        load(nn.BatchNorm2d(4), source)
    report = load(nn.BatchNorm2d(4), source, by="order", strict=False)
    assert [entry.target for entry in report.missing] == ["weight", "bias"]


# Unbuilt layers


def test_unbuilt_layers_take_their_shapes_from_the_source(load):
    kernel, bias = array(2, 4, 3, 5), array(5)
    layer = keras.Conv2D(5, (2, 4), name="c", kernel_initializer="zeros")
    load(layer, tree(layers__conv2d=[kernel, bias]))
    assert layer.built
    np.testing.assert_array_equal(stored(layer.kernel), kernel)
    assert layer.weight.stride() == keras.Conv2D(5, (2, 4), input_shape=(6, 6, 3)).weight.stride()
    assert layer.weight.requires_grad
    layer(torch.zeros(1, 5, 6, 3)).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("shape", [(2, 4, 3, 6), (4, 2, 3, 5), (4, 3, 5), (5,), (2, 4, 3, 5, 1)])
def test_unbuilt_layers_stay_unbuilt_where_a_shape_is_wrong(load, shape):
    model = nn.Sequential(keras.layers.Dense(2), keras.Conv2D(5, (2, 4)))
    source = tree(layers__dense=conv(3, 2), layers__conv2d=[array(*shape), array(5)])
    with pytest.raises(FileError, match="no input gives"):
        load(model, source)
    assert not model[0].built
    assert not model[1].built


def test_unbuilt_layers_draw_only_what_is_missing(load):
    layer = keras.layers.Dense(2, bias_initializer="ones", name="d")
    report = load(layer, legacy(d={"d/kernel": array(3, 2)}), strict=False)
    assert [entry.target for entry in report.missing] == ["bias"]
    assert layer.bias.tolist() == [1, 1]


def test_a_failing_read_changes_nothing(load):
    def fail():
        raise FileError("cut off")

    good = weight("layers/dense/vars/0", array(2, 2))
    bad = Weight("layers/dense/vars/1", None, (2,), "float32", fail)
    for module in (nn.Linear(2, 2), keras.layers.Dense(2)):
        before = dict(module.state_dict())
        with pytest.raises(FileError, match="cut off"):
            load(module, contents(SavedLayer("layers/dense", None, (good, bad))))
        after = module.state_dict()
        if isinstance(module, nn.Linear):
            assert all(torch.equal(after[name], value) for name, value in before.items())
        else:
            assert not module.built


def test_parameters_are_written_in_place(load):
    module = nn.Sequential(keras.Conv2D(4, 1, input_shape=(3, 3, 2)), nn.Linear(4, 4))
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    kept = [(p, p.data_ptr(), p.stride()) for p in module.parameters()]
    load(module, tree(layers__conv2d=conv(1, 1, 2, 4), layers__dense=conv(4, 4)))
    assert all(p.data_ptr() == at and p.stride() == steps for p, at, steps in kept)
    assert [p for group in optimizer.param_groups for p in group["params"]] == [p for p, *_ in kept]


# Weights in other forms


def test_an_activation_with_weights_belongs_to_its_layer(load):
    alpha, kernel, bias = array(1, 1, 4), array(1, 1, 2, 4), array(4)
    sources_of = (
        tree(layers__conv2d=[kernel, bias], layers__conv2d__activation=[alpha]),
        legacy(c={"c/kernel": kernel, "c/bias": bias, "c/p_re_lu/alpha": alpha}),
    )
    for source in sources_of:
        layer = keras.Conv2D(4, 1, activation=keras.layers.PReLU(shared_axes=[1, 2]))
        load(layer, source)
        np.testing.assert_array_equal(stored(layer.activation.alpha), alpha)


def test_lora_takes_a_merged_kernel_and_starts_from_it(load):
    kernel = array(1, 1, 2, 4)
    layer = keras.Conv2D(4, 1, lora_rank=2, input_shape=(3, 3, 2))
    load(layer, tree(layers__conv2d=[kernel, array(4)]))
    assert not layer.lora_kernel_a.any()
    assert not layer.lora_kernel_b.any()
    np.testing.assert_array_equal(stored(layer.kernel), kernel)


def test_lora_apart_from_the_kernel_is_merged_by_the_scale_in_the_config(load):
    parts = {"lora_kernel_a": array(3, 1), "lora_kernel_b": array(1, 2), "kernel": array(3, 2)}
    source = legacy(d={f"d/{name}": value for name, value in {"bias": array(2), **parts}.items()})
    with pytest.raises(FileError, match="scale"):
        load(nn.Linear(3, 2), source)
    layer = keras.layers.Dense(2, lora_rank=1, input_shape=(3,))
    load(layer, source)
    np.testing.assert_array_equal(stored(layer.lora_kernel_a), parts["lora_kernel_a"])


def test_kernels_from_theano_are_flipped_and_only_those(load):
    kernel, matrix, local = array(2, 3, 4, 5), array(5, 2), array(6, 4, 3)
    source = legacy(
        c={"c/kernel": kernel, "c/bias": array(5)},
        d={"d/kernel": matrix, "d/bias": array(2)},
        e={"e/kernel": local, "e/bias": array(6, 3)},
    )
    source = contents(*source.layers, layout="layers", version="2.2.4", backend="theano")
    own = keras.layers.LocallyConnected1D(3, 2, input_shape=(7, 2))
    model = nn.Sequential(nn.Conv2d(4, 5, (2, 3)), nn.Linear(5, 2), own)
    load(model, source)
    np.testing.assert_array_equal(stored(model[0].weight), kernel[::-1, ::-1].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(stored(model[1].weight), matrix.T)
    np.testing.assert_array_equal(stored(own.kernel), local)


FLIPPED = {
    keras.layers.Conv1D(5, 2, input_shape=(6, 4)): (2, 4, 5),
    keras.layers.Conv3D(5, (2, 3, 2), input_shape=(4, 4, 4, 4)): (2, 3, 2, 4, 5),
    keras.layers.Conv2DTranspose(5, (2, 3), input_shape=(6, 6, 4)): (2, 3, 5, 4),
}


@pytest.mark.parametrize("layer", FLIPPED, ids=lambda layer: type(layer).__name__)
def test_the_other_kernels_that_theano_flipped(load, layer):
    kernel = array(*FLIPPED[layer])
    source = legacy(c={"c/kernel": kernel, "c/bias": array(5)})
    old = contents(*source.layers, layout="layers", version="2.2.4", backend="theano")
    load(nn.Sequential(layer), old)
    axes = tuple(range(layer.rank))
    np.testing.assert_array_equal(stored(layer.kernel), np.flip(kernel, axes))


def test_depthwise_kernels_from_theano_are_refused(load):
    """Keras 2 did not flip them, whether or not Theano had."""
    layer = keras.layers.DepthwiseConv2D(3, use_bias=False, input_shape=(6, 6, 4))
    source = legacy(c={"c/depthwise_kernel": array(3, 3, 4, 1)})
    old = contents(*source.layers, layout="layers", version="2.2.4", backend="theano")
    with pytest.raises(FileError, match="kernels that Keras on Theano may have flipped"):
        load(nn.Sequential(layer), old)


def test_kernels_of_keras_1_are_turned_where_only_one_order_fits(load):
    def source(kernel):
        weights = (weight("conv_1_W", kernel, "conv_1_W"), weight("conv_1_b", array(5), "conv_1_b"))
        layer = SavedLayer("conv_1", "conv_1", weights)
        return contents(layer, layout="layers", version=None, backend="tensorflow")

    module, first, last = nn.Conv2d(4, 5, (2, 3)), array(5, 4, 2, 3), array(2, 3, 4, 5)
    load(module, source(first))
    np.testing.assert_array_equal(stored(module.weight), first)
    load(module, source(last))
    np.testing.assert_array_equal(stored(module.weight), last.transpose(3, 2, 0, 1))
    with pytest.raises(FileError, match="is in no config"):
        load(nn.Conv2d(3, 3, 3), source(array(3, 3, 3, 3)))
