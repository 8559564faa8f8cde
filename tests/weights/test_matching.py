"""Which array goes to which parameter: by name, by order, by class, as the caller says."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch as keras
from kerastorch._core.errors import FileError
from kerastorch.graph.spec import LayerSpec
from kerastorch.saving import weight_loading
from kerastorch.saving.formats.weight_file import Contents, SavedLayer, Weight
from kerastorch.saving.weights.config_differences import disagreements
from kerastorch.saving.weights.module_weights import leaves_of
from kerastorch.saving.weights.parameters import kinds_of, variables_of

RANDOM = np.random.default_rng(0)


def array(*shape, dtype="float32"):
    return RANDOM.normal(size=shape).astype(dtype)


ARRAYS = {"named_by_class": False, "named_by_path": True, "named_by_caller": True}


def weight(path, value, name=None):
    tensor = torch.from_numpy(np.array(value))
    kind = str(tensor.dtype).removeprefix("torch.")
    return Weight(path, name, tuple(tensor.shape), kind, tensor.clone)


def contents(*layers, named_by_class=True, **others):
    return Contents("file", "a format", layers, named_by_class=named_by_class, **others)


def tree(**groups):
    """Contents of a tree: path with "__" for "/" -> its arrays, or its name and its arrays."""
    layers = []
    for key, value in groups.items():
        path = key.replace("__", "/")
        name, values = value if isinstance(value, tuple) else (None, value)
        weights = tuple(weight(f"{path}/vars/{i}", v) for i, v in enumerate(values))
        layers.append(SavedLayer(path, name, weights))
    return contents(*layers)


def legacy(**groups):
    """Contents of an old file: layer -> a dict of its arrays by their names."""
    layers = (
        SavedLayer(layer, layer, tuple(weight(n, v, n.split("/")[-1]) for n, v in named.items()))
        for layer, named in groups.items()
    )
    return contents(*layers, named_by_class=False, version="2.15.0", backend="tensorflow")


@pytest.fixture
def load(monkeypatch):
    @contextmanager
    def opened(source, **_):
        yield source

    monkeypatch.setattr(weight_loading, "open_contents", opened)
    return weight_loading.load_weights


def conv(*shape):
    return [array(*shape), array(shape[-1])]


def stored(value):
    return np.asarray(value.detach())


def sources(report):
    return {entry.target: entry.source for entry in report.loaded}


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
        (nn.GroupNorm(2, 4), {"gamma": (4,), "beta": (4,)}),
        (nn.Embedding(7, 3), {"embeddings": (7, 3)}),
        (nn.PReLU(4), {"alpha": (4,)}),
        (
            nn.BatchNorm2d(4),
            dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (4,)),
        ),
        (
            nn.BatchNorm1d(4, affine=False),
            dict.fromkeys(("moving_mean", "moving_variance"), (4,)),
        ),
        (nn.BatchNorm3d(4, track_running_stats=False), dict.fromkeys(("gamma", "beta"), (4,))),
        (
            keras.Conv2D(5, (2, 4), input_shape=(6, 6, 3)),
            {"kernel": (2, 4, 3, 5), "bias": (5,)},
        ),
        (keras.Conv2D(5, 2, use_bias=False), {"kernel": None}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_module_has_these_weights_in_this_order(module, saved):
    assert {target.name: target.shape for target in variables_of(module)} == saved


def test_the_views_are_the_parameters_own_memory():
    for module in (nn.Conv2d(4, 8, (2, 3), groups=4), nn.ConvTranspose2d(2, 3, (2, 4))):
        target = variables_of(module)[0]
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

    model = nn.Sequential(Scale(), OtherLinear(2, 2), nn.LSTM(2, 2), nn.LazyLinear(3))
    refused = {leaf.path: leaf.refusal for leaf in leaves_of(model) if leaf.refusal}
    assert set(refused) == {"0", "1", "2", "3"}
    assert all("must be" in text for text in refused.values())
    with pytest.raises(ValueError, match="groups"):
        variables_of(nn.ConvTranspose2d(4, 4, 2, groups=2))
    with pytest.raises(ValueError, match="module"):
        variables_of(nn.ReLU())


def test_a_shared_module_is_listed_once():
    linear = nn.Linear(2, 2)
    assert [leaf.path for leaf in leaves_of(nn.Sequential(linear, nn.ReLU(), linear))] == ["0"]
    assert kinds_of(nn.Conv2d(4, 4, 1, groups=4)) == ("depthwise_conv2d", "conv2d")
    assert kinds_of(nn.ReLU()) == ()


# Exact values, in Keras's order


def test_kernels_are_turned_and_no_square_one_is_guessed(load):
    for module, value in (
        (nn.Linear(3, 3), array(3, 3)),
        (nn.Conv2d(3, 3, 3), array(3, 3, 3, 3)),
        (nn.ConvTranspose2d(3, 3, 3), array(3, 3, 3, 3)),
    ):
        kind = kinds_of(module)[0]
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


# By name


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.second = nn.Conv2d(3, 3, 1)
        self.first = nn.Conv2d(3, 3, 1)
        self.body = nn.Sequential()
        self.body.add_module("dense", nn.Linear(3, 3))


def test_names_decide_whatever_the_order(load):
    one, two, three = conv(1, 1, 3, 3), conv(1, 1, 3, 3), conv(3, 3)
    report = load(
        Net(),
        tree(
            layers__conv2d=("first", one),
            layers__conv2d_1=("second", two),
            layers__dense=("dense", three),
        ),
    )
    assert report.matched == "name"
    assert sources(report)["first.weight"] == "layers/conv2d/vars/0"
    assert sources(report)["second.bias"] == "layers/conv2d_1/vars/1"
    assert sources(report)["body.dense.weight"] == "layers/dense/vars/0"


def test_the_longest_path_of_names_decides(load):
    model = nn.ModuleDict(
        {part: nn.ModuleDict({"conv": nn.Conv2d(2, 2, 1)}) for part in ("left", "right")}
    )
    one, two = conv(1, 1, 2, 2), conv(1, 1, 2, 2)
    source = tree(
        layers__functional=("right", []),
        layers__functional__layers__conv2d=("conv", one),
        layers__functional_1=("left", []),
        layers__functional_1__layers__conv2d=("conv", two),
    )
    found = sources(load(model, source))
    assert found["right.conv.weight"] == "layers/functional/layers/conv2d/vars/0"
    assert found["left.conv.weight"] == "layers/functional_1/layers/conv2d/vars/0"


def test_a_name_that_two_have_is_no_name(load):
    model = nn.ModuleDict({part: nn.ModuleDict({"conv": nn.Linear(2, 2)}) for part in "ab"})
    source = legacy(conv={"conv/kernel": array(2, 2), "conv/bias": array(2)})
    with pytest.raises(FileError, match="nothing was changed"):
        load(model, source)


def test_a_name_may_lack_the_front_but_not_differ_there(load):
    model = nn.ModuleDict({"decoder": nn.ModuleDict({"conv": nn.Linear(2, 2)})})
    source = tree(
        layers__functional=("encoder", []),
        layers__functional__layers__dense=("conv", conv(2, 2)),
    )
    with pytest.raises(FileError):
        load(model, source, by="name")
    wrapped = nn.ModuleDict({"module": model})
    source = tree(
        layers__functional=("decoder", []),
        layers__functional__layers__dense=("conv", conv(2, 2)),
    )
    assert load(wrapped, source).matched == "name"


@pytest.mark.parametrize("path", [("conv1_bn",), ("conv1", "bn")])
def test_slashes_dots_and_underscores_mean_the_same(load, path):
    inner = nn.BatchNorm2d(2)
    for part in reversed(path):
        inner = nn.ModuleDict({part: inner})
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    source = legacy(**{"conv1/bn": {f"conv1/bn/{name}:0": array(2) for name in names}})
    assert load(inner, source).matched == "name"


def test_chosen_layer_names_count_and_automatic_ones_do_not(load):
    layers = [keras.layers.Dense(2, name=name, input_shape=(2,)) for name in ("b", "a")]
    source = legacy(**{n: {f"{n}/kernel": array(2, 2), f"{n}/bias": array(2)} for n in "ab"})
    report = load(nn.Sequential(*layers), source)
    assert (report.matched, sources(report)["0.weight"]) == ("name", "b/b/kernel")
    automatic = nn.Sequential(
        *(keras.layers.Dense(2, name=name, input_shape=(2,)) for name in ("dense_1", "dense"))
    )
    names = ("dense", "dense_1")
    source = legacy(**{n: {f"{n}/kernel": array(2, 2), f"{n}/bias": array(2)} for n in names})
    report = load(automatic, source)
    assert (report.matched, sources(report)["0.weight"]) == ("order", "dense/dense/kernel")
    report = load(automatic, source, by="name")
    assert sources(report)["0.weight"] == "dense_1/dense_1/kernel"


# By order


def test_classes_are_numbered_with_and_without_gaps(load):
    for step in (1, 2):
        groups = {
            f"layers__dense_{step * k}" if k else "layers__dense": conv(2, 2) for k in range(11)
        }
        model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(11)))
        report = load(model, tree(**dict(sorted(groups.items()))))
        assert report.matched == "order"
        assert sources(report)["10.weight"] == f"layers/dense_{10 * step}/vars/0"
        assert sources(report)["2.weight"] == f"layers/dense_{2 * step}/vars/0"


def test_one_class_in_two_containers_has_no_order(load):
    source = tree(
        layers__dense=conv(2, 2),
        layers__sequential__layers__dense=conv(2, 2),
        layers__conv2d=conv(1, 1, 2, 2),
    )
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Conv2d(2, 2, 1))
    with pytest.raises(FileError, match="mapping"):
        load(model, source)
    report = load(
        model, source, mapping={"0": "layers/dense", "1": "layers/sequential/layers/dense"}
    )
    assert sources(report)["1.weight"] == "layers/sequential/layers/dense/vars/0"
    assert sources(report)["2.weight"] == "layers/conv2d/vars/0"


def test_old_files_keep_the_order(load):
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Linear(2, 2))
    source = legacy(
        x={"x/kernel:0": array(1, 1, 2, 2), "x/bias:0": array(2)},
        y={},
        z={"z/kernel:0": array(2, 2), "z/bias:0": array(2)},
    )
    assert sources(load(model, source))["1.weight"] == "z/z/kernel:0"


def test_another_class_at_a_place_is_refused_though_the_shapes_agree(load):
    source = tree(layers__conv2d_transpose=conv(2, 2, 3, 3))
    with pytest.raises(FileError, match="nothing was changed"):
        load(nn.Conv2d(3, 3, 2), source)
    source = legacy(conv2d_transpose_1={"kernel:0": array(2, 2, 3, 3), "bias:0": array(3)})
    with pytest.raises(FileError, match="conv2d_transpose"):
        load(nn.Conv2d(3, 3, 2), source)


def test_a_nested_group_without_a_config_has_no_order(load):
    source = legacy(
        inner={
            f"inner/{c}/{n}": array(2, 2)[: 2 if n == "kernel" else 1].squeeze()
            for c in "ab"
            for n in ("kernel", "bias")
        }
    )
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(FileError, match="which were trained"):
        load(model, source)
    named = nn.ModuleDict({"b": nn.Linear(2, 2), "a": nn.Linear(2, 2)})
    assert sources(load(named, source))["a.weight"] == "inner/inner/a/kernel"


def test_a_list_of_arrays_is_dealt_out(load):
    arrays = [array(3, 2), array(2), array(2, 1), array(1)]
    listed = SavedLayer("", None, tuple(weight(str(i), v) for i, v in enumerate(arrays)))
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    report = load(model, contents(listed, **ARRAYS))
    assert report.matched == "order"
    np.testing.assert_array_equal(stored(model[2].weight), arrays[2].T)
    with pytest.raises(FileError, match="Found: 4 arrays"):
        load(nn.Linear(3, 2), contents(listed, **ARRAYS))


# As the caller says


def test_a_mapping_comes_first_and_the_rest_follows(load):
    source = tree(
        layers__dense=("a", conv(2, 2)),
        layers__dense_1=("b", conv(2, 2)),
        layers__dense_2=("c", conv(2, 2)),
    )
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    report = load(model, source, mapping={"0": "c"})
    found = sources(report)
    assert found["0.weight"] == "layers/dense_2/vars/0"
    assert (found["1.weight"], found["2.weight"]) == (
        "layers/dense/vars/0",
        "layers/dense_1/vars/0",
    )


def test_none_leaves_a_module_as_it_is(load):
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.LSTM(2, 2), nn.Linear(2, 2)))
    before = model[1][1].weight.clone()
    report = load(model, tree(layers__dense=conv(2, 2)), mapping={"1": None})
    assert len(report.loaded) == 2
    assert torch.equal(model[1][1].weight, before)
    with pytest.raises(FileError, match="LSTM"):
        load(model, tree(layers__dense=conv(2, 2)))


def test_single_parameters_are_mapped_as_they_are(load):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(2, 3))
            self.linear = nn.Linear(2, 2)

    model, value = Own(), array(2, 3)
    source = contents(
        SavedLayer("", None, (weight("vars/0", value),)),
        SavedLayer(
            "layers/dense",
            None,
            tuple(weight(f"layers/dense/vars/{i}", v) for i, v in enumerate(conv(2, 2))),
        ),
    )
    load(model, source, mapping={"w": "vars/0"})
    np.testing.assert_array_equal(stored(model.w), value)
    turned = {"linear.weight": "layers/dense/vars/0", "linear.bias": "layers/dense/vars/1"}
    load(model, source, mapping={"w": "vars/0", **turned})
    with pytest.raises(FileError, match="an array of the source"):
        load(model, source, mapping={"w": "nowhere"})


@pytest.mark.parametrize("mapping", [{"nowhere": "a"}, {"0": "nowhere"}, {"nowhere": None}])
def test_a_mapping_must_name_what_there_is(load, mapping):
    source = tree(layers__dense=("a", conv(2, 2)))
    with pytest.raises(FileError, match="nowhere"):
        load(nn.Sequential(nn.Linear(2, 2)), source, mapping=mapping)


# What is refused


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_changed(load):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 5), nn.LSTM(2, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    source = tree(
        layers__dense=conv(2, 2), layers__dense_1=conv(2, 4), layers__embedding=[array(2, 2)]
    )
    with pytest.raises(FileError) as caught:
        load(model, source)
    said = str(caught.value)
    for part in (
        "1.weight has the shape (2, 5)",
        "(2, 4) at layers/dense_1/vars/0",
        "1.bias",
        "LSTM",
        "unexpected: layers/embedding/vars/0 (2, 2) matches no parameter",
    ):
        assert part in said
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.warns(UserWarning, match=r"1 is left as it is: .* \(2, 5\)"):
        load(model, source, strict=False, by="order")


def test_an_order_that_does_not_fit_is_never_used_unasked(load):
    source = tree(layers__dense=("x", conv(2, 2)), layers__dense_1=("y", conv(2, 2)))
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(FileError):
        load(model, source, strict=False)
    report = load(model, source, strict=False, by="order")
    assert [entry.source for entry in report.unused] == [
        "layers/dense_1/vars/0",
        "layers/dense_1/vars/1",
    ]


def test_names_that_fit_in_part_are_loaded_when_asked_not_to_be_strict(load):
    source = tree(layers__dense=("first", conv(2, 2)), layers__dense_1=("top", conv(2, 9)))
    model = nn.ModuleDict({"first": nn.Linear(2, 2), "head": nn.Linear(2, 3)})
    report = load(model, source, strict=False)
    assert (len(report.loaded), len(report.unused), len(report.missing)) == (2, 2, 2)


def test_nothing_loaded_is_an_error(load):
    for source in (tree(), tree(layers__dense=("x", conv(2, 2)))):
        with pytest.raises(FileError):
            load(nn.Sequential(nn.ReLU()), source, strict=False)


@pytest.mark.parametrize("dtype", ["int8", "int32", "bool"])
def test_numbers_that_are_no_floats_are_refused(load, dtype):
    source = tree(layers__dense=[np.ones((2, 2), dtype), array(2)])
    with pytest.raises(FileError, match=dtype):
        load(nn.Linear(2, 2), source)


def test_numbers_too_large_for_the_type_are_refused(load):
    module = nn.Linear(2, 2).half()
    with pytest.raises(FileError, match="wider"):
        load(module, tree(layers__dense=[array(2, 2) + np.float32(1e6), array(2)]))
    assert module.weight.abs().max() < 1


def test_computed_and_empty_parameters_are_refused(load):
    source = tree(layers__dense=conv(2, 2))
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    layer = keras.layers.Dense(2, input_shape=(2,))
    nn.utils.parametrizations.weight_norm(layer)
    for module in (normed, layer):
        with pytest.raises(FileError, match="parametrization"):
            load(module, source)
    with pytest.raises(FileError, match="to_empty"):
        load(nn.Linear(2, 2, device="meta"), source)


def test_tied_parameters_must_get_the_same_values(load):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    one, two = conv(2, 2), conv(2, 2)
    with pytest.raises(FileError, match="one parameter"):
        load(model, tree(layers__dense=one, layers__dense_1=two))
    load(model, tree(layers__dense=one, layers__dense_1=[one[0], two[1]]))


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
    kernel, matrix = array(2, 3, 4, 5), array(5, 2)
    source = legacy(
        c={"c/kernel": kernel, "c/bias": array(5)}, d={"d/kernel": matrix, "d/bias": array(2)}
    )
    source = contents(*source.layers, named_by_class=False, version="2.2.4", backend="theano")
    model = nn.Sequential(nn.Conv2d(4, 5, (2, 3)), nn.Linear(5, 2))
    load(model, source)
    np.testing.assert_array_equal(stored(model[0].weight), kernel[::-1, ::-1].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(stored(model[1].weight), matrix.T)


def test_kernels_of_keras_1_are_turned_where_only_one_order_fits(load):
    def source(kernel):
        weights = (weight("conv_1_W", kernel, "conv_1_W"), weight("conv_1_b", array(5), "conv_1_b"))
        layer = SavedLayer("conv_1", "conv_1", weights)
        return contents(layer, named_by_class=False, version=None, backend="tensorflow")

    module, first, last = nn.Conv2d(4, 5, (2, 3)), array(5, 4, 2, 3), array(2, 3, 4, 5)
    load(module, source(first))
    np.testing.assert_array_equal(stored(module.weight), first)
    load(module, source(last))
    np.testing.assert_array_equal(stored(module.weight), last.transpose(3, 2, 0, 1))
    with pytest.raises(FileError, match="is in no config"):
        load(nn.Conv2d(3, 3, 3), source(array(3, 3, 3, 3)))


# What would compute other numbers


BATCH_NORM = ("BatchNormalization", {})
SAME = ("Conv2D", {"padding": "same"})
SAME_TWICE = ("Conv2DTranspose", {"strides": 2, "padding": "same"})
OURS = {"filters": 2, "kernel_size": 3}


@pytest.mark.parametrize(
    "module, layer, said",
    [
        (nn.BatchNorm2d(2), BATCH_NORM, "eps=0.001"),
        (nn.BatchNorm2d(2, eps=1e-3), BATCH_NORM, None),
        (nn.BatchNorm2d(2), ("BatchNormalization", {"epsilon": 1e-5}), None),
        (nn.LayerNorm(2), ("LayerNormalization", {}), "eps"),
        (nn.GroupNorm(2, 4, eps=1e-3), ("GroupNormalization", {"groups": 4}), "groups=4"),
        (nn.GroupNorm(2, 4, eps=1e-3), ("GroupNormalization", {"groups": 2}), None),
        (nn.Embedding(3, 2, max_norm=1.0), ("Embedding", {}), "max_norm"),
        (nn.Linear(2, 2), ("Dense", {}), None),
        (nn.Conv2d(2, 2, 3), ("Conv2D", {}), None),
        (nn.Conv2d(2, 2, 3, padding=1), SAME, None),
        (nn.Conv2d(2, 2, 3, padding="same"), SAME, None),
        (nn.Conv2d(2, 2, 2, padding="same"), SAME, None),
        (nn.Conv2d(2, 2, 3, padding=1), ("Conv2D", {}), "'valid'"),
        (nn.Conv2d(2, 2, 3), SAME, "(1, 1)"),
        (nn.Conv2d(2, 2, 3, 2, 1), ("Conv2D", {"strides": [2, 2], "padding": "same"}), "uneven"),
        (nn.Conv2d(2, 2, 3, 2), ("Conv2D", {}), "strides=(1, 1)"),
        (nn.Conv2d(2, 2, 3), ("Conv2D", {"dilation_rate": 2}), "dilation_rate=(2, 2)"),
        (
            nn.Conv2d(2, 2, 3, dilation=2, padding=2),
            ("Conv2D", {"dilation_rate": [2, 2], "padding": "same"}),
            None,
        ),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), SAME, "zeros"),
        (nn.Conv1d(2, 2, 3), ("Conv1D", {"padding": "causal"}), "causal"),
        (nn.ConvTranspose2d(2, 2, 4, 2, 1), SAME_TWICE, None),
        (nn.ConvTranspose2d(2, 2, 3, 2, 1, 1), SAME_TWICE, "torch has no padding"),
        (nn.ConvTranspose2d(2, 2, 3, 2), ("Conv2DTranspose", {"strides": 2}), None),
        (
            nn.ConvTranspose2d(2, 2, 2, 3, output_padding=1),
            ("Conv2DTranspose", {"strides": 3}),
            None,
        ),
        (nn.ConvTranspose2d(2, 2, 2, 3), ("Conv2DTranspose", {"strides": 3}), "output_padding"),
        (nn.ConvTranspose2d(2, 2, 2, 3), ("Conv2DTranspose", {}), "strides=(1, 1)"),
        (keras.Conv2D(2, 3), ("Conv2D", OURS), None),
        (keras.Conv2D(2, 3), ("Conv2D", {**OURS, "padding": "same"}), "padding"),
        (keras.Conv2D(2, 3), ("Conv2D", {**OURS, "activation": "relu"}), "'relu'"),
        (keras.Conv2D(2, 3, groups=2), ("Conv2D", OURS), "groups=2"),
        (keras.Conv2D(2, 3), ("Dense", {"units": 2}), "a Dense"),
        (keras.Conv2D(2, 3), ("my>Conv", {}), None),
        (keras.layers.BatchNormalization(), ("BatchNormalization", {"epsilon": 1e-5}), "1e-05"),
        (keras.layers.BatchNormalization(axis=1), ("BatchNormalization", {"axis": [3]}), None),
    ],
)
def test_what_computes_other_numbers_is_told(module, layer, said):
    class_name, config = layer
    found = disagreements(module, LayerSpec(class_name, "x", config))
    assert not found if said is None else said in "; ".join(found)
