"""Initializers by name and config, and what they refuse."""

import math
import pickle

import numpy as np
import pytest
import torch

from kerastorch import initializers


@pytest.mark.parametrize(
    "initializer",
    [
        initializers.Constant([1, 2]),
        initializers.Identity(),
        initializers.TruncatedNormal(mean=1, stddev=2, seed=3),
        initializers.VarianceScaling(output_axes=[1]),
        initializers.GlorotUniform(input_axes=(0,), seed=1),
        initializers.Orthogonal(),
    ],
    ids=lambda initializer: type(initializer).__name__,
)
def test_configs(initializer):
    cls, written = type(initializer), initializer.get_config()
    older = {"class_name": cls.__name__, "config": {**written, "dtype": "float32"}}  # tf.keras
    for again in (
        cls.from_config(written),
        initializer.clone(),
        pickle.loads(pickle.dumps(initializer)),
        initializers.get(older),
    ):
        assert type(again) is cls and again.get_config() == written


def test_configs_of_keras_2():
    older = {"scale": 2.0, "mode": "fan_in", "distribution": "normal", "seed": 5}
    initializer = initializers.get({"class_name": "VarianceScaling", "config": older})
    assert initializer.get_config()["distribution"] == "truncated_normal"
    assert torch.equal(initializer((4, 3)), initializers.HeNormal(seed=5)((4, 3)))


def test_the_base():
    base = initializers.get("initializer")
    assert type(base) is initializers.Initializer and base.get_config() == {}
    with pytest.raises(NotImplementedError, match=r"^Initializer does not have `__call__"):
        base((2,))


class Ramp(initializers.Initializer):
    def __init__(self, slope, dtype="float32"):
        self.slope = slope
        self.dtype = dtype

    def __call__(self, shape, dtype=None):
        return self.slope * torch.arange(math.prod(shape), dtype=torch.float32).reshape(shape)

    def get_config(self):
        return {"slope": self.slope, "dtype": self.dtype}


def test_ones_own_class_keeps_its_dtype():
    written = initializers.serialize(Ramp(2.0, "int8"))
    again = initializers.deserialize(written, {"Ramp": Ramp})
    assert again.get_config() == {"slope": 2.0, "dtype": "int8"}
    assert torch.equal(again((2, 1)), torch.tensor([[0.0], [2.0]]))


@pytest.mark.parametrize(
    ("attempt", "kind", "message"),
    [
        (
            lambda: initializers.get("constant"),
            KeyError,
            "Constant: `config` must be one with a `value`. Received: config={}.",
        ),
        (
            lambda: initializers.Constant([1.0, 2.0])((3,)),
            ValueError,
            (
                "Constant: `shape` must be one that `value` broadcasts to. Received: shape=(3,), "
                "value_shape=(2,)."
            ),
        ),
        (
            lambda: initializers.Identity()((2, 3, 4)),
            ValueError,
            "Identity: `shape` must be of rank 2. Received: shape=(2, 3, 4).",
        ),
        (
            lambda: initializers.Orthogonal()((3,)),
            ValueError,
            "Orthogonal: `shape` must be of rank 2 or more. Received: shape=(3,).",
        ),
        (
            lambda: initializers.HeNormal(seed=1.5),
            ValueError,
            "HeNormal: `seed` must be an integer, a `SeedGenerator` or None. Received: seed=1.5.",
        ),
        (
            lambda: initializers.HeNormal(seed=np.int64(3)),
            ValueError,
            (
                "HeNormal: `seed` must be an integer, a `SeedGenerator` or None. "
                f"Received: seed={np.int64(3)!r}."
            ),
        ),
        (
            lambda: initializers.SeedGenerator("7"),
            ValueError,
            "SeedGenerator: `seed` must be an integer. Received: seed='7'.",
        ),
        (
            lambda: initializers.VarianceScaling(0),
            ValueError,
            "VarianceScaling: `scale` must be a number above 0. Received: scale=0.",
        ),
        (
            lambda: initializers.VarianceScaling(mode="fan"),
            ValueError,
            (
                "VarianceScaling: `mode` must be 'fan_in', 'fan_out' or 'fan_avg'. "
                "Received: mode='fan'."
            ),
        ),
        (
            lambda: initializers.VarianceScaling(distribution="poisson"),
            ValueError,
            (
                "VarianceScaling: `distribution` must be 'truncated_normal', 'untruncated_normal' "
                "or 'uniform'. Received: distribution='poisson'."
            ),
        ),
        (
            lambda: initializers.STFT(side="both"),
            ValueError,
            "STFT: `side` must be 'real' or 'imag'. Received: side='both'.",
        ),
        (
            lambda: initializers.STFT(scaling="power"),
            ValueError,
            "STFT: `scaling` must be 'density', 'spectrum' or None. Received: scaling='power'.",
        ),
        (
            lambda: initializers.STFT(window=None)((8, 2, 5)),
            ValueError,
            "STFT: `shape` must be (T, 1, F // 2 + 1). Received: shape=(8, 2, 5).",
        ),
        (
            lambda: initializers.STFT(window=[1.0, 2.0])((8, 1, 5)),
            ValueError,
            "STFT: `window` must be of shape (8,). Received: window=(2,).",
        ),
        (
            lambda: initializers.Zeros()((2,), dtype="float"),
            ValueError,
            (
                "Zeros: `dtype` must be a torch dtype or one of 'float16', 'bfloat16', 'float32', "
                "'float64', 'bool', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', "
                "'uint32', 'uint64'. Received: dtype='float'."
            ),
        ),
        (
            lambda: initializers.get(np.ones(3))((2,)),
            ValueError,
            "initializer: `shape` must be (3,), that of the given array. Received: shape=(2,).",
        ),
        (
            lambda: initializers.get(np.array(["a"])),
            ValueError,
            (
                "initializer: `identifier` must be a name, a config dict, a callable or an array "
                f"of numbers. Received: identifier={np.array(['a'])!r}."
            ),
        ),
    ],
)
def test_messages(attempt, kind, message):
    with pytest.raises(kind) as error:
        attempt()
    assert error.value.args == (message,)
