"""Dense, reshaping, activation, dropout and scaling layers against Keras on the torch backend."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import kerastorch
from compat.layers.configurations import random_array, relative_difference

keras = pytest.importorskip("keras")


class Case(NamedTuple):
    """A layer by name, its arguments and the shape of an input."""

    name: str
    arguments: dict[str, Any]
    shape: tuple[int, ...]

    def pair(self, **changed: Any) -> tuple[Any, Any]:
        """Return our layer and Keras's, with the same random weights."""
        arguments = {**self.arguments, **changed}
        ours = getattr(kerastorch.layers, self.name)(**arguments)
        theirs = getattr(keras.layers, self.name)(**arguments)
        generator = np.random.default_rng(5)
        theirs.build(self.shape)
        if theirs.get_weights():
            ours.build(self.shape)
            values = [
                np.abs(random_array(generator, a.shape)).astype(a.dtype) / 2
                if self.name == "Normalization"
                else random_array(generator, a.shape) / 2
                for a in theirs.get_weights()
            ]
            theirs.set_weights(values)
            ours.set_weights(values)
            if self.name == "Normalization":
                theirs.finalize_state()
        return ours, theirs

    def __str__(self) -> str:
        return f"{self.name} {self.arguments} {self.shape}"


ARRAY = np.array([1.0, 2.5, -3.0], "float32")
CASES = [
    Case(name, arguments, shape)
    for name, table in {
        "Dense": [
            ({"units": 3}, (4, 5)),
            ({"units": 1, "use_bias": False}, (2, 7)),
            ({"units": 4, "activation": "relu"}, (2, 3, 5)),
            ({"units": 4, "activation": "softmax", "bias_initializer": "ones"}, (2, 3, 4, 6)),
            ({"units": 2, "activation": "gelu"}, (1, 1)),
            ({"units": 6, "activation": "glu"}, (3, 4)),
            *(
                ({"units": 3, "activation": name}, (3, 4))
                for name in ("tanh", "sigmoid", "silu", "elu", "leaky_relu", "relu6", "mish")
            ),
            ({"units": 4, "lora_rank": 2}, (3, 5)),
            ({"units": 4, "lora_rank": 3, "lora_alpha": 5, "activation": "tanh"}, (3, 2, 5)),
            ({"units": 3, "kernel_regularizer": "l2", "activity_regularizer": "l1"}, (4, 5)),
            ({"units": 3, "bias_regularizer": "l1", "kernel_constraint": "max_norm"}, (4, 5)),
            ({"units": 3, "trainable": False}, (4, 5)),
        ],
        "Flatten": [
            *(({}, shape) for shape in ((3,), (3, 1), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 2))),
            *(
                ({"data_format": "channels_first"}, shape)
                for shape in ((3,), (3, 4), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 2))
            ),
            ({"activity_regularizer": "l2"}, (2, 3, 4)),
            ({"data_format": "channels_last"}, (0, 3, 4)),
        ],
        "Reshape": [
            ({"target_shape": (3, 4)}, (2, 12)),
            ({"target_shape": [-1, 2, 2]}, (2, 12)),
            ({"target_shape": (6, -1)}, (2, 3, 4)),
            ({"target_shape": (None, 4)}, (2, 3, 4)),
            ({"target_shape": (-1,)}, (5, 3, 1)),
            ({"target_shape": ()}, (5, 1)),
            ({"target_shape": (1,)}, (5,)),
            ({"target_shape": (np.int64(2), 6)}, (2, 3, 4)),
        ],
        "Permute": [
            ({"dims": (2, 1)}, (2, 3, 4)),
            ({"dims": [3, 1, 2]}, (2, 3, 4, 5)),
            ({"dims": (1,)}, (2, 3)),
            ({"dims": (4, 2, 1, 3)}, (2, 3, 4, 5, 6)),
            ({"dims": ()}, (2,)),
        ],
        "Activation": [
            *(
                ({"activation": name}, (3, 4))
                for name in ("relu", "softmax", "gelu", "swish", "log_softmax", None, "glu")
            ),
            ({"activation": "tanh", "activity_regularizer": "l1"}, (3, 4, 2)),
        ],
        "ReLU": [
            ({}, (3, 4)),
            ({"max_value": 6}, (3, 4)),
            ({"max_value": 0.5}, (3, 4)),
            ({"max_value": 0}, (3, 4)),
            ({"max_value": float("inf")}, (3, 4)),
            ({"negative_slope": 0.3}, (3, 4)),
            ({"threshold": 0.4}, (3, 4)),
            ({"max_value": 0.7, "negative_slope": 0.2, "threshold": 0.1}, (3, 4, 2)),
            ({"max_value": 6.0, "negative_slope": 0.2}, (3, 4, 2)),
            ({"negative_slope": 2, "threshold": 1}, (3, 4, 2)),
        ],
        "LeakyReLU": [
            ({}, (3, 4)),
            ({"negative_slope": 0}, (3,)),
            ({"negative_slope": 1.5}, (3, 2)),
        ],
        "ELU": [({}, (3, 4)), ({"alpha": 0.5}, (3, 4)), ({"alpha": -0.5}, (3,))],
        "Softmax": [
            ({}, (3, 4)),
            ({"axis": 1}, (3, 4, 5)),
            ({"axis": (1, 2)}, (3, 4, 5)),
            ({"axis": [-1, 1]}, (3, 4, 5)),
            ({"axis": (2,)}, (3, 4, 5)),
            ({"axis": None}, (3, 4)),
            ({"axis": 0}, (3, 4)),
        ],
        "PReLU": [
            ({}, (3, 4)),
            ({}, (3, 4, 5, 2)),
            ({"shared_axes": [1, 2]}, (3, 4, 5, 2)),
            ({"shared_axes": 1}, (3, 4, 5)),
            ({"shared_axes": (3,), "alpha_regularizer": "l2"}, (3, 4, 5, 2)),
            ({"alpha_constraint": "non_neg", "alpha_initializer": "ones"}, (3, 4)),
            ({"activity_regularizer": "l1"}, (3, 4)),
            ({"shared_axes": []}, (3, 4)),
        ],
        "Dropout": [
            ({"rate": 0.5}, (30, 4)),
            ({"rate": 0}, (3, 4)),
            ({"rate": 1}, (3, 4)),
            ({"rate": 0.3, "seed": 7}, (30, 4)),
            ({"rate": 0.3, "seed": 7, "noise_shape": (None, 1)}, (30, 4)),
            ({"rate": 0.6, "seed": -3, "noise_shape": [5, 1, None]}, (5, 6, 4)),
            ({"rate": 0.6, "seed": 2**30, "noise_shape": (1, 4)}, (5, 6, 4)),
        ],
        "SpatialDropout2D": [
            ({"rate": 0.4, "seed": 3}, (5, 3, 4, 6)),
            ({"rate": 0.4, "seed": 3, "data_format": "channels_first"}, (5, 6, 3, 4)),
            ({"rate": 0.0}, (5, 6, 3, 4)),
        ],
        "Rescaling": [
            ({"scale": 1 / 255}, (3, 4)),
            ({"scale": 1 / 127.5, "offset": -1}, (3, 4, 2)),
            ({"scale": [1.0, 2, -0.5], "offset": ARRAY}, (2, 4, 5, 3)),
            ({"scale": ARRAY.astype("float64"), "offset": (1, 2, 3)}, (2, 3)),
            ({"scale": np.float64(0.1), "offset": np.float32(3)}, (2, 3)),
            ({"scale": 2, "offset": [[1.0], [2.0]]}, (3, 2, 4)),
        ],
        "Normalization": [
            ({}, (3, 4)),
            ({"axis": None}, (3, 4)),
            ({"axis": (1, -1)}, (3, 4, 2, 5)),
            ({"axis": [-1, 1]}, (3, 4, 2, 5)),
            ({"axis": 1, "invert": True}, (3, 4, 2)),
            ({"mean": 2.0, "variance": 3.0}, (3, 4)),
            ({"mean": 2, "variance": 0, "axis": None}, (3, 4)),
            ({"mean": [1.0, 2.0], "variance": [3.0, 4.0]}, (3, 4, 2)),
            ({"mean": ARRAY, "variance": ARRAY**2, "axis": 1, "invert": True}, (2, 3, 4)),
            ({"mean": [[1.0, 2]], "variance": [[3.0, 4]], "axis": (1, 2)}, (3, 4, 2)),
            ({"mean": [1.0, 2], "variance": [3.0, 4], "axis": (1, 2)}, (3, 4, 2)),
        ],
    }.items()
    for arguments, shape in table
]
EACH = pytest.mark.parametrize("case", CASES, ids=str)
DTYPES = ("float16", "float32", "float64", "bfloat16", "mixed_float16", "mixed_bfloat16")
TOLERANCE = {"float64": 1e-13, "float32": 1e-6, "float16": 3e-3, "bfloat16": 3e-2}


def tolerance(dtype: str) -> float:
    return TOLERANCE[dtype.removeprefix("mixed_")]


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def called(layer: Any, x: Any, *, training: bool) -> torch.Tensor:
    """Call either library's layer, with the same start of torch's global generator."""
    torch.manual_seed(11)
    if isinstance(layer, kerastorch.layers.base.layer.Layer):
        return layer.train(training)(x)
    takes = layer._call_has_training_arg
    return layer(x, training=training) if takes else layer(x)


@EACH
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_forward_and_gradients(case: Case, training: bool) -> None:
    ours, theirs = case.pair()
    generator = np.random.default_rng(1)
    x = random_array(generator, case.shape)
    for _ in range(2):  # a seeded layer draws another mask at the second call
        found = []
        for layer in (ours, theirs):
            inputs = torch.tensor(x, requires_grad=True)
            outputs = called(layer, inputs, training=training)
            if not outputs.requires_grad:  # dropped as a whole
                found.append([outputs])
                continue
            weight = torch.linspace(-1, 2, outputs.numel()).reshape(outputs.shape)
            trained = [getattr(w, "value", w) for w in layer.trainable_weights]
            for parameter in trained:
                parameter.grad = None
            (outputs * weight).sum().backward()
            gradients = [parameter.grad for parameter in trained]
            if layer is ours and case.name == "Dense" and ours.weight.requires_grad:
                gradients[0] = ours.weight.grad.T
            found.append([outputs, inputs.grad, *gradients])
        for mine, yours in zip(*found, strict=True):
            assert mine.dtype == yours.dtype
            assert relative_difference(numbers(mine), numbers(yours)) < 5e-6
    assert tuple(ours(x).shape) == tuple(theirs(x).shape)


@EACH
@pytest.mark.parametrize("policy", DTYPES)
def test_dtype_policies(case: Case, policy: str) -> None:
    ours, theirs = case.pair(dtype=policy)
    assert ours.compute_dtype == theirs.compute_dtype
    x = random_array(np.random.default_rng(2), case.shape)
    for given in ("float64", "float32", "float16"):
        got = called(ours, x.astype(given), training=False)
        wanted = called(theirs, x.astype(given), training=False)
        in_single = case.name in ("Dense", "Normalization") and policy == "float64"
        assert got.dtype == (torch.float64 if in_single else wanted.dtype)
        most = tolerance(policy)
        if in_single:
            most = 2e-6  # Keras on torch computes these in float32
        assert relative_difference(numbers(got), numbers(wanted)) < most
    assert [w.dtype for w in ours.weights] == [w.value.dtype for w in theirs.weights]


FLOATS_ONLY = ("softmax", "gelu", "swish", "log_softmax", "glu")  # to PyTorch


def keras_raises(case: Case, dtype: str) -> bool:
    """Return whether Keras on torch crashes on integers or booleans."""
    given, boolean = case.arguments, dtype == "bool"
    if case.name == "Activation":
        name = given["activation"]
        return name in FLOATS_ONLY or (boolean and name == "relu")
    if case.name == "ReLU":
        whole = given.get("negative_slope", 0) % 1 == 0 and given.get("max_value") != np.inf
        return given != {"threshold": 0.4} if boolean else not whole
    if case.name == "Softmax":
        return boolean or np.size(given.get("axis")) == 1
    return case.name in ("LeakyReLU", "ELU") or (boolean and case.name == "PReLU")


def keras_is_wrong(case: Case, dtype: str) -> bool:
    """Return whether Keras negates unsigned numbers, or takes a threshold for True."""
    return (case.name, dtype) == ("PReLU", "uint8") or (
        dtype == "bool" and (case.name, case.arguments) == ("ReLU", {"threshold": 0.4})
    )


def whole_relu(x: np.ndarray, max_value: float | None = None, threshold: float = 0) -> torch.Tensor:
    """Return Keras's formula for integers, as on TensorFlow and JAX: it casts the limits."""
    zero, least = x.dtype.type(0), x.dtype.type(threshold)
    y = np.where(x > least, x, zero)
    return torch.from_numpy(y if max_value is None else y.clip(zero, x.dtype.type(max_value)))


def takes_slope(slope: float, threshold: float, dtype: Any) -> bool:
    """Return whether Keras on TensorFlow computes `ReLU` with a slope and a limit of integers."""
    signed = np.issubdtype(dtype, np.signedinteger)
    return signed and isinstance(slope, int) and (not threshold or isinstance(threshold, int))


def converts(case: Case, dtype: str) -> bool:
    """Return whether ours converts integers or booleans that Keras on torch does not take so."""
    if case.name != "ReLU" or dtype == "bool":
        return keras_raises(case, dtype)
    slope, threshold = (case.arguments.get(n, 0) for n in ("negative_slope", "threshold"))
    leaky = case.arguments == {"negative_slope": slope}
    return leaky or bool(slope and not takes_slope(slope, threshold, dtype))


@EACH
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integers(case: Case, dtype: str) -> None:
    ours, theirs = case.pair()
    x = (np.random.default_rng(3).integers(0, 4, case.shape)).astype(dtype)
    raises = keras_raises(case, dtype)
    if raises:
        with pytest.raises(RuntimeError, match=rf"calling {case.name}\.call"):
            called(theirs, x, training=False)
    if converts(case, dtype):
        wanted = called(theirs, x.astype("float32"), training=False)
    elif case.arguments.get("max_value") == np.inf:
        with pytest.raises(ValueError, match=f"`max_value` must be a number that torch.{dtype}"):
            called(ours, x, training=False)
        return
    else:
        wanted = whole_relu(x, **case.arguments) if raises else called(theirs, x, training=False)
    if keras_is_wrong(case, dtype):
        right = called(theirs, x.astype("float32"), training=False)
        assert relative_difference(numbers(wanted), numbers(right)) > 0.1
        wanted = right
    for value in (x, torch.from_numpy(x)):
        got = called(ours, value, training=False)
        assert got.dtype == wanted.dtype
        assert relative_difference(numbers(got), numbers(wanted)) < 1e-6


WHOLE = [np.dtype(name) for name in ("uint8", "int8", "int16", "int32", "int64")]
LIMITS = (0, 0.4, 1, 2.5, 6, 6.0, 127, 128, 300, 1e30, math.inf, math.nan)


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
@pytest.mark.parametrize("slope", [0, 0.5, 1, 2.0, 3])
def test_relu_of_integers(slope: float, dtype: np.dtype) -> None:
    held = np.iinfo(dtype)
    some = (-300, -128, -5, -1, 0, 1, 2, 3, 7, 127, 255, 350)
    x = np.array([n for n in some if held.min <= n <= held.max], dtype)
    counted: Counter[str] = Counter()
    for most, threshold in itertools.product((None, *LIMITS), LIMITS):
        if slope and most is None and threshold == 0:
            continue  # it gives float32
        arguments = {"max_value": most, "negative_slope": slope, "threshold": threshold}
        ours, theirs = kerastorch.layers.ReLU(**arguments), keras.layers.ReLU(**arguments)
        if slope and not takes_slope(slope, threshold, dtype):
            wanted = theirs(x.astype("float32"))
        elif not all(held.min <= n <= held.max for n in (most or 0, threshold)):
            with pytest.raises(RuntimeError):
                theirs(x)
            counted["refused"] += 1
            with pytest.raises(ValueError, match=r"^relu: `(max_value|threshold)` must"):
                ours(x)
            continue
        else:
            wanted = theirs(x) if slope else whole_relu(x, most, threshold)
        counted[str(wanted.dtype)] += 1
        got = ours(x)
        assert got.dtype == wanted.dtype, arguments
        same = relative_difference(numbers(got), numbers(wanted), least=1.0) < 1e-6
        assert same, arguments
    assert sum(counted.values()) > 150
    assert bool(counted["refused"]) == (slope == 0 or takes_slope(slope, 0, dtype))
    assert bool(counted["torch.float32"]) == (slope != 0)


@EACH
def test_configs_travel_both_ways(case: Case) -> None:
    name, arguments = case.name, {**case.arguments, "name": "c"}
    if name == "ELU" and case.arguments:
        arguments = {"name": "c", **case.arguments}  # Keras has them in the caller's order
    ours = getattr(kerastorch.layers, name)
    theirs = getattr(keras.layers, name)
    config, wanted = ours(**arguments).get_config(), theirs(**arguments).get_config()
    assert config == wanted
    assert list(config) == list(wanted)
    kept = copy.deepcopy(wanted)
    assert ours.from_config(wanted).get_config() == config
    assert wanted == kept
    assert theirs.from_config(config).get_config() == theirs.from_config(kept).get_config()
    through = json.loads(json.dumps(config))
    assert json.dumps(ours.from_config(through).get_config()) == json.dumps(config)


@EACH
def test_shapes_and_weights(case: Case) -> None:
    ours, theirs = case.pair()
    shape = (None, *case.shape[1:])
    if case.name != "SpatialDropout2D":
        assert ours.compute_output_shape(shape) == tuple(theirs.compute_output_shape(shape))
    assert ours.compute_output_shape(case.shape) == tuple(theirs.compute_output_shape(case.shape))
    assert [v.name for v in ours.variables] == [w.name for w in theirs.weights]
    assert ours.count_params() == theirs.count_params()
    for mine, yours in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert mine.dtype == yours.dtype and np.array_equal(mine, yours)
    assert [w.requires_grad for w in ours.weights] == [w.trainable for w in theirs.weights]


@EACH
def test_losses(case: Case) -> None:
    ours, theirs = case.pair()
    x = random_array(np.random.default_rng(4), case.shape)
    for _ in range(2):
        called(ours, x, training=False), called(theirs, x, training=False)
    assert len(ours.losses) == len(theirs.losses)
    for mine, yours in zip(ours.losses, theirs.losses, strict=True):
        assert mine.item() == pytest.approx(yours.item(), rel=1e-6)


MASKS = {
    "bool": np.array([[True, False, True, True], [False] * 4, [True] * 4]),
    "float": np.array([[0.2, 0.6, 0.5, 1.0]], "float32"),
    "int": np.array([2, 0, -1, 1]),
    "ones": np.ones((1, 1), bool),
}


@pytest.mark.parametrize("axis", [-1, 0, (0, 1)], ids=str)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "mixed_bfloat16"])
def test_masks_of_softmax(mask: np.ndarray, axis: Any, dtype: str) -> None:
    x = random_array(np.random.default_rng(5), (3, 4))
    got = kerastorch.layers.Softmax(axis, dtype=dtype)(x, mask=mask)
    wanted = keras.layers.Softmax(axis, dtype=dtype)(x, mask=torch.from_numpy(mask))
    assert got.dtype == wanted.dtype
    assert relative_difference(numbers(got), numbers(wanted)) < tolerance(dtype)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 4), (2, 3, 4)])
def test_rescaling_follows_the_image_data_format(shape: tuple[int, ...]) -> None:
    arguments = {"scale": [1.0, 2.0, 3.0], "offset": 2.0}
    x = random_array(np.random.default_rng(5), (2, 3, 5, 4))
    try:
        for library in (kerastorch, keras):
            library.config.set_image_data_format("channels_first")
        got = kerastorch.layers.Rescaling(**arguments)(x)
        wanted = keras.layers.Rescaling(**arguments)(x)
    finally:
        for library in (kerastorch, keras):
            library.config.set_image_data_format("channels_last")
    assert relative_difference(numbers(got), numbers(wanted)) < 1e-6


def test_unadapted_normalization_is_the_identity_as_in_keras() -> None:
    x = random_array(np.random.default_rng(5), (3, 4))
    for library in (kerastorch, keras):
        assert np.array_equal(numbers(library.layers.Normalization()(x)), x)


INPUT_LAYERS: list[dict[str, Any]] = [
    {"shape": (2, None)},
    {"shape": (), "dtype": "int32"},
    {"shape": [3], "batch_size": 4},
    {"batch_shape": (None, 5), "dtype": "bfloat16"},
    {"batch_shape": (7, 5), "dtype": "bool", "optional": True},
    {"shape": (3,), "sparse": None, "ragged": None},
    {"shape": (3,), "sparse": False, "ragged": 0},
]


@pytest.mark.parametrize("arguments", INPUT_LAYERS, ids=str)
def test_input_layers(arguments: dict[str, Any]) -> None:
    ours = kerastorch.layers.InputLayer(**arguments, name="c")
    theirs = keras.layers.InputLayer(**arguments, name="c")
    config = ours.get_config()
    assert config == theirs.get_config()
    assert list(config) == list(theirs.get_config())
    assert keras.layers.InputLayer.from_config(config).get_config() == config
    assert kerastorch.layers.InputLayer.from_config(theirs.get_config()).get_config() == config
    assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("flag", ["sparse", "ragged"])
def test_inputs_that_keras_takes_on_tensorflow_only(flag: str) -> None:
    with pytest.raises(ValueError, match=f"`{flag}=True` is not supported with the torch backend"):
        keras.layers.InputLayer((4,), **{flag: True})
    plain = keras.layers.InputLayer((4,), name="c").get_config()
    config = {**plain, flag: True}  # as Keras writes it on TensorFlow
    ours = kerastorch.layers.InputLayer.from_config(config)
    assert ours.get_config() == config and list(ours.get_config()) == list(config)


@pytest.mark.parametrize("flag", ["sparse", "ragged"])
def test_models_of_such_inputs(flag: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model._layers[0].__dict__[flag] = True  # what saving writes
    model.save(path)
    loaded = kerastorch.load_model(path)
    assert getattr(next(iter(loaded.layers.values())), flag) is True
    x = torch.tensor([[0.0, 2.0, 0.0, 1.0], [3.0, 0.0, 0.0, 0.0]])
    wanted = numbers(model(x))
    for given in (x, x.to_sparse()):
        assert relative_difference(numbers(loaded(given)), wanted) < 1e-6
    # Keras on torch, too, takes sparse tensors where dense ones are declared.
    assert relative_difference(numbers(model(x.to_sparse())), wanted) < 1e-6


# Calls that Keras refuses


def built(name: str, *shapes: tuple[int, ...], **arguments: Any) -> Callable[[Any], Any]:
    """Make a layer and call it on batches of these shapes, one after another."""

    def run(library: Any) -> None:
        layer = getattr(library.layers, name)(**arguments)
        for shape in shapes:
            layer(np.ones(shape, "float32"))

    return run


def masked(mask: np.ndarray) -> Callable[[Any], Any]:
    return lambda library: library.layers.Softmax()(np.ones((2, 3)), mask=torch.from_numpy(mask))


INVALID: dict[str, Callable[[Any], Any]] = {
    **{f"Dense {units}": built("Dense", (2, 3), units=units) for units in (0, -1, 2.5, "3", None)},
    "Dense of a vector": built("Dense", (3,), units=2),
    "Dense of a scalar": built("Dense", (), units=2),
    "Dense of other channels": built("Dense", (2, 3), (2, 4), units=2),
    "Dense foo": built("Dense", units=2, foo=1),
    "Dense activation": built("Dense", units=2, activation="foo"),
    "Dense lora": built("Dense", (2, 3), units=2, lora_rank=-1),
    "Dense lora constraint": built(
        "Dense", (2, 3), units=2, lora_rank=2, kernel_constraint="non_neg"
    ),
    "Dense without units": lambda library: library.layers.Dense(),
    "Dense of no known size": lambda library: library.layers.Dense(3).build((None, None)),
    "Flatten format": built("Flatten", (2, 3), data_format="NCHW"),
    "Flatten scalar": built("Flatten", ()),
    "Reshape 3": built("Reshape", target_shape=3),
    "Reshape None": built("Reshape", target_shape=None),
    "Reshape -2": built("Reshape", target_shape=(-2, 3)),
    "Reshape two": built("Reshape", target_shape=(-1, -1)),
    "Reshape size": built("Reshape", (2, 12), target_shape=(5, 2)),
    "Reshape rest": built("Reshape", (2, 12), target_shape=(5, -1)),
    "Reshape zero": built("Reshape", (2, 12), target_shape=(0, -1)),
    "Permute 0": built("Permute", dims=(0, 1)),
    "Permute twice": built("Permute", dims=(1, 1)),
    "Permute gap": built("Permute", dims=(1, 3)),
    "Permute int": built("Permute", dims=2),
    "Permute rank": built("Permute", (2, 3), dims=(2, 1)),
    "Activation foo": built("Activation", activation="foo"),
    "Activation none": lambda library: library.layers.Activation(),
    "ReLU max": built("ReLU", max_value=-1),
    "ReLU slope": built("ReLU", negative_slope=-0.1),
    "ReLU no slope": built("ReLU", negative_slope=None),
    "ReLU threshold": built("ReLU", threshold=-3),
    "ReLU no threshold": built("ReLU", threshold=None),
    "ReLU text": built("ReLU", max_value="1"),
    "LeakyReLU": built("LeakyReLU", negative_slope=-1),
    "LeakyReLU None": built("LeakyReLU", negative_slope=None),
    "LeakyReLU text": built("LeakyReLU", negative_slope="1"),
    "Softmax axis": built("Softmax", (2, 3), axis=2),
    "Softmax axes": built("Softmax", (2, 3), axis=(1, 2)),
    "Softmax twice": built("Softmax", (2, 3), axis=(1, 1)),
    "Softmax mask": masked(np.ones((2, 2), bool)),
    "Softmax mask rank": masked(np.ones((1, 2, 3), bool)),
    "PReLU axis": built("PReLU", (2, 3), shared_axes=[2]),
    "PReLU rank": built("PReLU", (2, 3), (2, 3, 4)),
    "PReLU size": built("PReLU", (2, 3, 4), (2, 3, 5), shared_axes=[1]),
    "PReLU unknown": lambda library: library.layers.PReLU().build((None, None, 3)),
    **{f"Dropout {rate}": built("Dropout", rate=rate) for rate in (-0.1, 1.1, "0.5", None)},
    **{
        f"Dropout noise {noise!r}": built("Dropout", rate=0.5, noise_shape=noise)
        for noise in ("ab", 3, (1, 0), (1, -1), (1.5,), ("a",))
    },
    "Dropout seed": built("Dropout", rate=0.5, seed="a"),
    "SpatialDropout2D rank": built("SpatialDropout2D", (2, 3, 4), rate=0.5),
    "SpatialDropout2D rate": built("SpatialDropout2D", rate=2),
    "SpatialDropout2D format": built("SpatialDropout2D", rate=0.5, data_format="x"),
    "Rescaling none": lambda library: library.layers.Rescaling(),
    "Normalization mean": built("Normalization", mean=1.0),
    "Normalization variance": built("Normalization", variance=1.0),
    "Normalization shapes": built("Normalization", mean=[1.0, 2], variance=[1.0]),
    "Normalization rank": built("Normalization", mean=[[1.0]], variance=[[1.0]]),
    "Normalization axis": built("Normalization", (2, 3), axis=2),
    "Normalization float": built("Normalization", axis=1.5),
    "Normalization unknown": lambda library: library.layers.Normalization().build((2, None)),
    "InputLayer": lambda library: library.layers.InputLayer(),
    "InputLayer both": built("InputLayer", shape=(2,), batch_shape=(1, 2)),
    "InputLayer sizes": built("InputLayer", batch_size=2, batch_shape=(1, 2)),
    "InputLayer dtype": built("InputLayer", shape=(2,), dtype="foo"),
    "InputLayer sparse and ragged": built("InputLayer", shape=(2,), sparse=True, ragged=True),
    "InputLayer shape": built("InputLayer", shape=(2, -1)),
}


@pytest.mark.parametrize("run", INVALID.values(), ids=INVALID)
def test_invalid_calls_raise_what_keras_raises(run: Callable[[Any], Any]) -> None:
    with pytest.raises(Exception) as theirs:
        run(keras)
    with pytest.raises(Exception) as ours:
        run(kerastorch)
    assert ours.type is theirs.type, f"{ours.value}\n{theirs.value}"


def test_the_comparisons_can_fail() -> None:
    ours, theirs = CASES[0].pair()
    x = random_array(np.random.default_rng(0), CASES[0].shape)
    with torch.no_grad():
        ours.weight[0, 0] += 1e-3
    assert relative_difference(numbers(ours(x)), numbers(theirs(x))) > 1e-5
