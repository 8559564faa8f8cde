"""The layers for images beside Keras: forward, gradients, shapes, types, configs, refusals."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import kerastorch
from compat.layers.configurations import random_array, relative_difference

keras = pytest.importorskip("keras")

ONE_INPUT: dict[str, list[dict[str, Any]]] = {
    "MaxPooling2D": [
        {"pool_size": p, "strides": s, "padding": pad}
        for p, s, pad in itertools.product(
            [2, (2, 3), (3, 2), (4, 5), 1], [None, 1, (2, 1), (3, 2), (1, 3)], ["valid", "same"]
        )
    ],
    # where an uneven "same" is repeated at the border by Keras on torch, see the golden numbers
    "AveragePooling2D": [
        *(
            {"pool_size": p, "strides": s}
            for p, s in itertools.product([2, (2, 3), (4, 5)], [None, 1, (2, 1), (3, 2)])
        ),
        {"pool_size": (3, 5), "strides": 1, "padding": "same"},
        {"pool_size": (1, 3), "strides": 1, "padding": "same"},
    ],
    "GlobalAveragePooling2D": [{}, {"keepdims": True}],
    "GlobalMaxPooling2D": [{}, {"keepdims": True}],
    "ZeroPadding2D": [{}, {"padding": 2}, {"padding": (0, 3)}, {"padding": ((1, 2), (3, 0))}],
    "Cropping2D": [{}, {"cropping": 1}, {"cropping": (0, 2)}, {"cropping": ((1, 2), (3, 0))}],
    "UpSampling2D": [
        {"size": size, "interpolation": way}
        # the other ways are TensorFlow's, see the golden numbers
        for size, way in itertools.product([2, (1, 3), (3, 2), (5, 1)], ["nearest", "bilinear"])
    ],
    "BatchNormalization": [
        {},
        {"axis": 1},
        {"axis": 2, "center": False},
        {"axis": -2, "scale": False, "momentum": 0.6},
        {"axis": 0, "epsilon": 0.1},
        {"center": False, "scale": False},
    ],
}
CASES = [(name, case) for name, cases in ONE_INPUT.items() for case in cases]
SHAPE = (2, 7, 6, 5)
LAYOUTS = ("channels_last", "channels_first")


def pair(name: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Return our layer and Keras's, with the same random weights where they have any."""
    theirs = getattr(keras.layers, name)(**arguments, name="one")
    ours = getattr(kerastorch.layers, name)(**arguments, name="one")
    if name == "BatchNormalization":
        generator = np.random.default_rng(1)
        theirs.build(SHAPE), ours.build(SHAPE)
        values = [np.abs(random_array(generator, w.shape)) + 0.1 for w in theirs.get_weights()]
        theirs.set_weights(values), ours.set_weights(values)
    return ours, theirs


def with_layouts(name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    if name == "BatchNormalization":
        return [arguments]
    return [{**arguments, "data_format": layout} for layout in LAYOUTS]


@pytest.mark.parametrize("name", ONE_INPUT)
def test_forward_and_gradients(name: str) -> None:
    generator = np.random.default_rng(0)
    for arguments in [c for case in ONE_INPUT[name] for c in with_layouts(name, case)]:
        ours, theirs = pair(name, arguments)
        ours.eval()
        x = random_array(generator, SHAPE) - 0.7
        inputs = [torch.tensor(x, requires_grad=True) for _ in "ab"]
        got, wanted = ours(inputs[0]), theirs(inputs[1])
        assert got.shape == wanted.shape == ours.compute_output_shape(SHAPE), arguments
        exact = relative_difference(got.detach().numpy(), wanted.detach().numpy())
        assert exact < 1e-6, arguments
        weight = torch.tensor(random_array(generator, tuple(got.shape)))
        for outputs in (got, wanted):
            (outputs * weight).sum().backward()
        gradients = [x.grad.numpy() for x in inputs]
        assert relative_difference(*gradients) < 1e-6, arguments


@pytest.mark.parametrize("name", ONE_INPUT)
def test_shapes_not_known(name: str) -> None:
    for arguments in [c for case in ONE_INPUT[name] for c in with_layouts(name, case)]:
        ours, theirs = pair(name, arguments)
        for shape in ((None, *SHAPE[1:]), (None, None, 6, 5), (None, 9, None, 7)):
            assert ours.compute_output_shape(shape) == theirs.compute_output_shape(shape)


@pytest.mark.parametrize("name", ONE_INPUT)
def test_configs_travel_both_ways(name: str) -> None:
    cls, other = getattr(kerastorch.layers, name), getattr(keras.layers, name)
    extras: list[dict[str, Any]] = [{}, {"activity_regularizer": "l2"}, {"dtype": "mixed_float16"}]
    for arguments, extra in itertools.product(ONE_INPUT[name], extras):
        for case in with_layouts(name, {**arguments, **extra, "name": "n", "trainable": False}):
            config, theirs = cls(**case).get_config(), other(**case).get_config()
            assert config == theirs
            assert list(config) == list(theirs)
            assert other.from_config(config).get_config() == theirs
            assert cls.from_config(theirs).get_config() == config


@pytest.mark.parametrize("way", ["bicubic", "lanczos3", "lanczos5", "LANCZOS5"])
def test_configs_of_ways_that_are_tensorflows_travel_both_ways(way: str) -> None:
    arguments = {"size": (2, 3), "interpolation": way, "name": "n"}
    theirs = keras.layers.UpSampling2D(**arguments).get_config()
    config = kerastorch.layers.UpSampling2D(**arguments).get_config()
    assert config == theirs and list(config) == list(theirs)
    assert kerastorch.layers.UpSampling2D.from_config(theirs).get_config() == theirs
    keras.layers.UpSampling2D.from_config(config)


def test_a_model_with_a_way_that_keras_on_torch_lacks_is_loaded(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4, 3, 2)), keras.layers.UpSampling2D(2)])
    model.layers[0].interpolation = "lanczos3"  # Keras on torch would refuse to build it
    model.save(tmp_path / "model.keras")
    loaded = kerastorch.load_model(tmp_path / "model.keras")
    x = torch.from_numpy(random_array(np.random.default_rng(0), (1, 4, 3, 2)))
    expected = kerastorch.layers.UpSampling2D(2, interpolation="lanczos3")(x)
    assert torch.equal(loaded(x), expected)


POLICIES = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ONE_INPUT)
def test_types(name: str, policy: str) -> None:
    generator = np.random.default_rng(2)
    arguments = {**ONE_INPUT[name][0], "dtype": policy}
    floats = ("float16", "float32", "float64")
    for given in (*floats, "int32", "uint8", "int64", "bool"):
        ours, theirs = pair(name, arguments)
        ours.eval()
        x = (random_array(generator, SHAPE) * 3).astype(given)
        if given == "bool" and name == "MaxPooling2D":
            continue  # not implemented by Keras on torch
        if given not in floats and name == "AveragePooling2D":
            continue  # nor is this
        with torch.no_grad():
            got, wanted = ours(torch.from_numpy(x)), theirs(torch.from_numpy(x))
        assert got.dtype == wanted.dtype, given
        tolerance = {"float16": 2e-3, "bfloat16": 1e-2}.get(policy.removeprefix("mixed_"), 1e-6)
        found = relative_difference(got.double().numpy(), wanted.double().numpy())
        assert found < tolerance, given


RENORM: list[dict[str, Any]] = [
    {"renorm": True},
    {"renorm": True, "renorm_clipping": {"rmax": 1.1, "rmin": 0.9, "dmax": 0.2}},
    {"renorm": True, "renorm_momentum": 0.5, "scale": False, "momentum": 0.7},
    {"renorm": True, "center": False, "axis": 1},
]


@pytest.mark.parametrize(
    "arguments", [*ONE_INPUT["BatchNormalization"], *RENORM, {"trainable": False}], ids=str
)
@pytest.mark.parametrize("policy", POLICIES)
def test_training_of_batch_normalization(arguments: dict[str, Any], policy: str) -> None:
    generator = np.random.default_rng(3)
    ours, theirs = pair("BatchNormalization", {**arguments, "dtype": policy})
    coarse = {"float16": 3e-3, "bfloat16": 2e-2}.get(policy.removeprefix("mixed_"), 1e-5)
    for _ in range(5):
        x = (random_array(generator, SHAPE) * 2 + 1).astype("float32")
        inputs = [torch.tensor(x, requires_grad=True) for _ in "ab"]
        got, wanted = ours(inputs[0]), theirs(inputs[1], training=True)
        assert got.dtype == wanted.dtype
        assert_near(got.detach(), wanted.detach(), coarse)
        weight = torch.tensor(random_array(generator, SHAPE))
        weights = [w for w in ours.weights if w.requires_grad]
        twins = [w.value for w in theirs.weights if w.trainable]
        mine = torch.autograd.grad((got * weight).sum(), [inputs[0], *weights])
        yours = torch.autograd.grad((wanted * weight).sum(), [inputs[1], *twins])
        for left, right in zip(mine, yours, strict=True):
            assert_near(left, right, coarse)
        assert [v.name for v in ours.variables] == [w.name for w in theirs.weights]
        for left, right in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            assert relative_difference(left, right.astype(left.dtype)) < coarse
    ours.eval()
    assert_near(ours(x).detach(), theirs(x, training=False).detach(), coarse)


def assert_near(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> None:
    assert relative_difference(ours.double().numpy(), theirs.double().numpy()) < tolerance


def test_losses_of_batch_normalization() -> None:
    arguments = {"gamma_regularizer": "l2", "beta_regularizer": "l1", "activity_regularizer": "l1"}
    ours, theirs = pair("BatchNormalization", arguments)
    x = random_array(np.random.default_rng(0), SHAPE)
    ours.eval()(x), theirs(x)
    mine, yours = ([loss.item() for loss in layer.losses] for layer in (ours, theirs))
    assert mine == pytest.approx(yours, rel=1e-6)


MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
SHAPES = [
    [(2, 5, 4, 3), (2, 5, 4, 3)],
    [(2, 5, 4, 3), (2, 5, 1, 3)],
    [(2, 5, 1, 3), (2, 1, 4, 1)],
    [(2, 5, 4, 3), (2, 4, 3)],
    [(2, 3), (2, 5, 4, 3)],
    [(2, 5, 4, 3), (2,)],
    [(2, 5, 4, 3), (2, 5, 4, 3), (2, 1, 3)],
    [(2, 3)] * 4,
]


@pytest.mark.parametrize("name", MERGES)
def test_merging(name: str) -> None:
    generator = np.random.default_rng(0)
    for shapes in SHAPES:
        if name == "Subtract" and len(shapes) != 2:
            continue
        ours, theirs = pair(name, {})
        arrays = [random_array(generator, shape) for shape in shapes]
        left, right = ([torch.tensor(a, requires_grad=True) for a in arrays] for _ in "ab")
        got, wanted = ours(left), theirs(right)
        assert np.array_equal(got.detach().numpy(), wanted.detach().numpy())
        assert got.shape == ours.compute_output_shape(shapes) == theirs.compute_output_shape(shapes)
        open_shapes = [(None, *shape[1:]) for shape in shapes]
        wanted_shape = theirs.compute_output_shape(open_shapes)
        assert ours.compute_output_shape(open_shapes) == wanted_shape
        got.square().sum().backward(), wanted.square().sum().backward()
        for mine, yours in zip(left, right, strict=True):
            assert relative_difference(mine.grad.numpy(), yours.grad.numpy()) < 1e-6


CONCATENATIONS = [
    (-1, [(2, 5, 4, 3), (2, 5, 4, 1)]),
    (1, [(2, 5, 4, 3), (2, 2, 4, 3), (2, 1, 4, 3)]),
    (-2, [(2, 5, 4, 3), (2, 5, 6, 3)]),
    (0, [(2, 3), (4, 3)]),
    (3, [(2, 5, 4, 3)]),
]


@pytest.mark.parametrize(("axis", "shapes"), CONCATENATIONS)
def test_concatenation(axis: int, shapes: list[tuple[int, ...]]) -> None:
    generator = np.random.default_rng(0)
    ours, theirs = pair("Concatenate", {"axis": axis})
    arrays = [random_array(generator, shape) for shape in shapes]
    got, wanted = ours(arrays), theirs(arrays)
    assert np.array_equal(got.numpy(), wanted.numpy())
    for given in (shapes, [(None, *shape[1:]) for shape in shapes]):
        assert ours.compute_output_shape(given) == theirs.compute_output_shape(given)


PAIRS = [
    ("int32", "int32"), ("uint8", "int8"), ("int32", "float32"), ("int64", "float16"),
    ("float64", "float32"), ("bool", "int32"), ("bool", "bool"),
]  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", [*MERGES, "Concatenate"])
def test_types_of_merging(name: str, policy: str) -> None:
    generator = np.random.default_rng(0)
    ours, theirs = pair(name, {"dtype": policy})
    assert ours.get_config() == theirs.get_config()
    assert list(ours.get_config()) == list(theirs.get_config())
    for left, right in PAIRS:
        if name == "Subtract" and left == right == "bool":
            continue
        if policy == "float64" and name in ("Maximum", "Minimum") and "float" in left + right:
            continue  # Keras on torch then gives float32, though not for the other merges
        both = [torch.from_numpy((random_array(generator, (3, 4)) * 5).astype(left)),
                torch.from_numpy((random_array(generator, (3, 4)) * 5).astype(right))]  # fmt: skip
        got, wanted = ours(both), theirs(both)
        if name == "Average" and wanted.dtype is torch.float32 and "int32" in (left, right):
            if "float32" not in (left, right):
                wanted = wanted.double()  # as on TensorFlow, see the golden numbers
        assert got.dtype == wanted.dtype
        assert torch.equal(got, wanted)


X = np.zeros(SHAPE, "float32")
INVALID: dict[str, tuple[str, dict[str, Any], Any]] = {
    "pool size 0": ("MaxPooling2D", {"pool_size": 0}, None),
    "one pool size": ("MaxPooling2D", {"pool_size": (2,)}, None),
    "text as pool size": ("MaxPooling2D", {"pool_size": "ab"}, None),
    "no pool size": ("AveragePooling2D", {}, None),
    "stride 0": ("MaxPooling2D", {"strides": 0}, X),
    "stride -1": ("MaxPooling2D", {"strides": -1}, None),
    "layout": ("MaxPooling2D", {"data_format": "x"}, None),
    "rank": ("MaxPooling2D", {}, X[0]),
    "unknown": ("MaxPooling2D", {"colour": 3}, None),
    "global rank": ("GlobalAveragePooling2D", {}, X[0]),
    "nothing": ("GlobalMaxPooling2D", {}, X[:, :0]),
    "three pads": ("ZeroPadding2D", {"padding": (1, 2, 3)}, None),
    "half a pad": ("ZeroPadding2D", {"padding": 1.5}, None),
    "less than no pad": ("ZeroPadding2D", {"padding": (-1, 2)}, None),
    "padded rank": ("ZeroPadding2D", {}, X[0]),
    "cropped -1": ("Cropping2D", {"cropping": -1}, None),
    "cropped too much": ("Cropping2D", {"cropping": (1, 3)}, X),
    "size 0": ("UpSampling2D", {"size": 0}, None),
    "way": ("UpSampling2D", {"interpolation": "foo"}, X),
    "no list": ("Add", {}, X),
    "batches": ("Add", {}, [X, X[:1]]),
    "sizes": ("Multiply", {}, [X, X[:, :3]]),
    "three to subtract": ("Subtract", {}, [X, X, X]),
    "no list to concatenate": ("Concatenate", {}, X),
    "concatenated ranks": ("Concatenate", {}, [X, X[:, 0]]),
    "concatenated sizes": ("Concatenate", {}, [X, X[:, :1]]),
    "concatenated axis": ("Concatenate", {"axis": 5}, [X, X]),
    "concatenated nowhere": ("Concatenate", {"axis": None}, [X, X]),
    "axes": ("BatchNormalization", {"axis": [3]}, None),
    "named axis": ("BatchNormalization", {"axis": "a"}, None),
    "axis": ("BatchNormalization", {"axis": 4}, X),
    "momentum": ("BatchNormalization", {"momentum": "a"}, None),
    "no momentum": ("BatchNormalization", {"momentum": None}, None),
    "synchronized": ("BatchNormalization", {"synchronized": True}, None),
    "clipping": ("BatchNormalization", {"renorm": True, "renorm_clipping": {"a": 1}}, None),
    "rmax": ("BatchNormalization", {"renorm": True, "renorm_clipping": {"rmax": 1, "rmin": 2}},
             None),
    "dmax": ("BatchNormalization", {"renorm": True, "renorm_clipping": {"dmax": -1}}, None),
}  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "x"), INVALID.values(), ids=INVALID)
def test_what_keras_refuses_is_refused_with_its_exception(
    name: str, arguments: dict[str, Any], x: Any
) -> None:
    kinds = []
    for library in (kerastorch, keras):
        with pytest.raises(Exception) as caught:
            layer = getattr(library.layers, name)(**arguments)
            if x is not None:
                layer(x)
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]


def test_old_configs() -> None:
    old = {"name": "b", "trainable": True, "dtype": "float32", "batch_input_shape": [None, 4, 3, 2],
           "axis": [3], "momentum": 0.9, "epsilon": 0.01, "center": True, "scale": True,
           "beta_initializer": {"class_name": "Zeros", "config": {}},
           "gamma_initializer": {"class_name": "Ones", "config": {}},
           "moving_mean_initializer": {"class_name": "Zeros", "config": {}},
           "moving_variance_initializer": {"class_name": "Ones", "config": {}},
           "beta_regularizer": None, "gamma_regularizer": None, "beta_constraint": None,
           "gamma_constraint": None}  # fmt: skip
    new = keras.layers.BatchNormalization(axis=3, momentum=0.9, epsilon=0.01, name="b").get_config()
    assert kerastorch.layers.BatchNormalization.from_config(old).get_config() == new
    for name, own in {
        "MaxPooling2D": {"pool_size": [2, 3], "padding": "same", "strides": [1, 2]},
        "ZeroPadding2D": {"padding": [[1, 2], [0, 3]]},
        "Cropping2D": {"cropping": [[1, 2], [0, 3]]},
        "UpSampling2D": {"size": [2, 3], "interpolation": "nearest"},
        "GlobalAveragePooling2D": {"keepdims": False},
    }.items():
        config = {"name": "n", "trainable": True, "dtype": "float32", **own,
                  "data_format": "channels_last"}  # fmt: skip
        ours = getattr(kerastorch.layers, name).from_config(config).get_config()
        assert ours == getattr(keras.layers, name).from_config(config).get_config()
