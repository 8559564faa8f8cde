"""Initializers, as `keras.initializers` has them: the first values of a weight.

Called with a shape in Keras's axis order, each returns a contiguous tensor of it on torch's
default device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._array import from_array
from ._check import problem
from ._constant_initializers import STFT as STFT
from ._constant_initializers import Constant as Constant
from ._constant_initializers import Identity as Identity
from ._constant_initializers import Ones as Ones
from ._constant_initializers import Zeros as Zeros
from ._initializer import DType as _DType
from ._initializer import Initializer as Initializer
from ._initializer import as_dtype as _as_dtype
from ._initializer import as_shape as _shape
from ._random import SeedGenerator as SeedGenerator
from ._random import default_device
from ._random_initializers import GlorotNormal as GlorotNormal
from ._random_initializers import GlorotUniform as GlorotUniform
from ._random_initializers import HeNormal as HeNormal
from ._random_initializers import HeUniform as HeUniform
from ._random_initializers import LecunNormal as LecunNormal
from ._random_initializers import LecunUniform as LecunUniform
from ._random_initializers import Orthogonal as Orthogonal
from ._random_initializers import RandomNormal as RandomNormal
from ._random_initializers import RandomUniform as RandomUniform
from ._random_initializers import TruncatedNormal as TruncatedNormal
from ._random_initializers import VarianceScaling as VarianceScaling
from ._random_initializers import compute_fans as compute_fans
from ._registry import Config, Vocabulary, class_names


def _fixed(values: Any) -> Callable[..., Tensor]:
    """Return the initializer that has one answer: the array `values`."""
    given = from_array(values)
    if given is None:
        rule = "a name, a config dict, a callable or an array of numbers"
        raise ValueError(problem("initializer", "identifier", rule, values))

    def initialize_fn(shape: Sequence[int], dtype: _DType = None) -> Tensor:
        expected = tuple(given.shape)
        if _shape(shape) != expected:
            rule = f"{expected}, that of the given array"
            raise ValueError(problem("initializer", "shape", rule, tuple(shape)))
        as_type, device = _as_dtype("initializer", dtype), default_device()
        return given.to(device, as_type, copy=True, memory_format=torch.contiguous_format)

    return initialize_fn


constant = Constant
identity = IdentityInitializer = Identity
ones = Ones
stft = STFTInitializer = STFT
zeros = Zeros
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
orthogonal = OrthogonalInitializer = Orthogonal
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling

_INITIALIZERS = Vocabulary(
    "initializer",
    "keras.initializers",
    class_names(
        (
            Initializer, Constant, Identity, Ones, STFT, Zeros,
            GlorotNormal, GlorotUniform, HeNormal, HeUniform, LecunNormal, LecunUniform,
            Orthogonal, RandomNormal, RandomUniform, TruncatedNormal, VarianceScaling,
        ),
        IdentityInitializer=Identity,
        OrthogonalInitializer=Orthogonal,
        STFTInitializer=STFT,
        normal=RandomNormal,
        uniform=RandomUniform,
        one=Ones,
        zero=Zeros,
    ),
)  # fmt: skip


def get(identifier: Any) -> Callable[..., Tensor] | None:
    """Return the initializer that `identifier` means; None stays None.

    Args:
        identifier: A name, a config dict, a class, an instance, a function of
            `(shape, dtype=None)`, or an array, whose values the weight then gets.

    Raises:
        ValueError: the name is unknown, or `identifier` is none of these.
        KeyError: the name is "constant", which says no value.

    >>> get("zeros")((2,))
    tensor([0., 0.])
    """
    if isinstance(identifier, (Tensor, np.ndarray, np.generic)):
        return _fixed(identifier)
    found: Callable[..., Tensor] | None = _INITIALIZERS.get(identifier)
    return found


def serialize(initializer: Callable[..., Tensor] | None) -> Config | str | None:
    """Return the config that Keras writes for `initializer`.

    Raises:
        ValueError: nothing can name it, such as a lambda.
    """
    return _INITIALIZERS.serialize(initializer)


def deserialize(
    config: Config | str | None, custom_objects: Mapping[str, Any] | None = None
) -> Callable[..., Tensor] | None:
    """Return the initializer that `config` describes.

    Args:
        config: A name, or a dict as any Keras wrote it.
        custom_objects: Your own names -> functions or classes.

    Raises:
        ValueError: the name is unknown.
        TypeError: the class does not take the arguments in `config`.
    """
    found: Callable[..., Tensor] | None = _INITIALIZERS.deserialize(config, custom_objects)
    return found
