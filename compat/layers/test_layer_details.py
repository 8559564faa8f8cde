"""What is special about single layers, beside Keras on torch."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import kerastorch
from compat.layers.configurations import random_array, relative_difference
from compat.layers.test_layers import POLICIES, TOLERANCE, numbers, pair
from tests.layers.case import LayerCase
from tests.layers.normalization.test_batch_norm import CASES as NORMALIZATIONS
from tests.layers.test_merging import ELEMENTWISE

keras = pytest.importorskip("keras")


# Activations


def whole_relu(x: np.ndarray, max_value: float | None = None, threshold: float = 0) -> torch.Tensor:
    """Return Keras's formula for integers, as on TensorFlow and JAX: it casts the limits."""
    zero, least = x.dtype.type(0), x.dtype.type(threshold)
    y = np.where(x > least, x, zero)
    return torch.from_numpy(y if max_value is None else y.clip(zero, x.dtype.type(max_value)))


def takes_slope(slope: float, threshold: float, dtype: Any) -> bool:
    """Return whether Keras on TensorFlow computes `ReLU` with a slope and a limit of integers."""
    signed = np.issubdtype(dtype, np.signedinteger)
    return signed and isinstance(slope, int) and (not threshold or isinstance(threshold, int))


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
    assert (
        relative_difference(numbers(got), numbers(wanted)) < TOLERANCE[dtype.removeprefix("mixed_")]
    )


# Preprocessing and inputs


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


@pytest.mark.parametrize("flag", ["sparse", "ragged"])
def test_inputs_that_keras_takes_on_tensorflow_only(flag: str) -> None:
    with pytest.raises(ValueError, match=f"`{flag}=True` is not supported with the torch backend"):
        keras.layers.InputLayer((4,), **{flag: True})
    plain = keras.layers.InputLayer((4,), name="c").get_config()
    config = {**plain, flag: True}  # as Keras writes it on TensorFlow
    ours = kerastorch.layers.InputLayer.from_config(config)
    assert ours.get_config() == config and list(ours.get_config()) == list(config)


# Normalization and merging


@pytest.mark.parametrize("case", NORMALIZATIONS, ids=str)
@pytest.mark.parametrize("policy", POLICIES)
def test_batch_normalization_trains_under_every_policy(case: LayerCase, policy: str) -> None:
    generator = np.random.default_rng(3)
    ours, theirs = pair(case, dtype=policy)
    coarse = {"float16": 3e-3, "bfloat16": 2e-2}.get(policy.removeprefix("mixed_"), 1e-5)
    for _ in range(5):
        x = (random_array(generator, case.shape) * 2 + 1).astype("float32")
        got, wanted = ours(x), theirs(x, training=True)
        assert got.dtype == wanted.dtype
        assert relative_difference(numbers(got), numbers(wanted)) < coarse
        for left, right in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            assert relative_difference(left, right.astype(left.dtype)) < coarse


PAIRS = [
    ("int32", "int32"), ("uint8", "int8"), ("int32", "float32"), ("int64", "float16"),
    ("float64", "float32"), ("bool", "int32"), ("bool", "bool"),
]  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", [*ELEMENTWISE, "Concatenate"])
def test_types_of_merging(name: str, policy: str) -> None:
    generator = np.random.default_rng(0)
    ours, theirs = (getattr(library.layers, name)(dtype=policy) for library in (kerastorch, keras))
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


# Configs of Keras 2


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


# What a row cannot say is refused


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
    "Dense of a vector": built("Dense", (3,), units=2),
    "Dense of a scalar": built("Dense", (), units=2),
    "Dense lora constraint": built(
        "Dense", (2, 3), units=2, lora_rank=2, kernel_constraint="non_neg"
    ),
    "Dense without units": lambda library: library.layers.Dense(),
    "Dense of no known size": lambda library: library.layers.Dense(3).build((None, None)),
    "Permute rank": built("Permute", (2, 3), dims=(2, 1)),
    "Activation none": lambda library: library.layers.Activation(),
    "Softmax twice": built("Softmax", (2, 3), axis=(1, 1)),
    "Softmax mask": masked(np.ones((2, 2), bool)),
    "Softmax mask rank": masked(np.ones((1, 2, 3), bool)),
    "PReLU rank": built("PReLU", (2, 3), (2, 3, 4)),
    "PReLU size": built("PReLU", (2, 3, 4), (2, 3, 5), shared_axes=[1]),
    "PReLU unknown": lambda library: library.layers.PReLU().build((None, None, 3)),
    "Rescaling none": lambda library: library.layers.Rescaling(),
    "Normalization mean": built("Normalization", mean=1.0),
    "Normalization variance": built("Normalization", variance=1.0),
    "Normalization shapes": built("Normalization", mean=[1.0, 2], variance=[1.0]),
    "Normalization rank": built("Normalization", mean=[[1.0]], variance=[[1.0]]),
    "Normalization axis": built("Normalization", (2, 3), axis=2),
    "Normalization unknown": lambda library: library.layers.Normalization().build((2, None)),
    "AveragePooling2D": built("AveragePooling2D"),
    "nothing to pool": built("GlobalMaxPooling2D", (2, 0, 3, 4)),
    "no list": built("Add", (2, 3)),
    "no list to concatenate": built("Concatenate", (2, 3)),
    "batches": lambda library: library.layers.Add()([np.ones((2, 3)), np.ones((1, 3))]),
    "InputLayer": lambda library: library.layers.InputLayer(),
    "InputLayer both": built("InputLayer", shape=(2,), batch_shape=(1, 2)),
    "InputLayer sizes": built("InputLayer", batch_size=2, batch_shape=(1, 2)),
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
