"""Initializers, as `keras.initializers` has them: the first values of a weight.

Called with a shape in Keras's axis order, each returns a contiguous tensor of it on torch's
default device.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from . import _random, config
from ._array import from_array
from ._check import problem
from ._random import Seed, Shape, default_device
from ._random import SeedGenerator as SeedGenerator
from ._registry import Config, Vocabulary, class_names, plain, restored

if TYPE_CHECKING:
    from typing_extensions import Self

_DType = str | torch.dtype | None

_DTYPES = (
    "float16", "bfloat16", "float32", "float64",
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip
_SEEDS = Vocabulary("seed", "keras.random", {"SeedGenerator": SeedGenerator})
# What is left of a normal distribution's standard deviation when it is cut at two of them.
_CUT_STDDEV = 0.87962566103423978


class Initializer:
    """The base of all initializers.

    Same as `keras.Initializer`: a subclass has `__call__(shape, dtype=None)`, and `get_config()`,
    which returns the constructor's arguments.
    """

    def __call__(self, shape: Sequence[int], dtype: _DType = None) -> Tensor:
        """Return the values.

        Args:
            shape: The shape, in Keras's axis order.
            dtype: A Keras or torch dtype; None for `keras.config.floatx()`.
        """
        name = type(self).__name__
        raise NotImplementedError(f"{name} does not have `__call__(shape, dtype=None)`.")

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the initializer that `get_config` described.

        A `dtype` that tf.keras wrote is dropped: the call says it.
        """
        if "dtype" in config and "dtype" not in inspect.signature(cls).parameters:
            config = {name: value for name, value in config.items() if name != "dtype"}
        return cls(**config)

    def clone(self) -> Self:
        """Return a new initializer of the same config."""
        return self.from_config(self.get_config())


class Zeros(Initializer):
    """All 0. Same as `keras.initializers.Zeros`."""

    def __call__(self, shape: Sequence[int], dtype: _DType = None) -> Tensor:
        """Return the values; see `Initializer`."""
        return torch.zeros(_shape(shape), dtype=_as_dtype("Zeros", dtype))


class Ones(Initializer):
    """All 1. Same as `keras.initializers.Ones`."""

    def __call__(self, shape: Sequence[int], dtype: _DType = None) -> Tensor:
        """Return the values; see `Initializer`."""
        return torch.ones(_shape(shape), dtype=_as_dtype("Ones", dtype))


class Constant(Initializer):
    """One value everywhere, or an array's values.

    Same as `keras.initializers.Constant`, except that an array must fit the shape.

    Args:
        value: A number, or an array that broadcasts to the shape.

    Raises:
        ValueError: at the call, `value` does not broadcast to the shape.

    >>> Constant(0.5)((2,))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Sequence[int], dtype: _DType = None) -> Tensor:
        """Return the values; see `Initializer`."""
        given = np.asarray(self.value) if isinstance(self.value, np.generic) else self.value
        as_type, device = _as_dtype("Constant", dtype), default_device()
        value = torch.as_tensor(given, dtype=as_type, device=device)
        shape = _shape(shape)
        try:
            return value.detach().expand(shape).clone(memory_format=torch.contiguous_format)
        except RuntimeError:
            rule, found = "one that `value` broadcasts to", tuple(value.shape)
            raise ValueError(problem("Constant", "shape", rule, shape, value_shape=found)) from None

    def get_config(self) -> Config:
        """Return the constructor's arguments; an array as the dict that Keras writes."""
        return {"value": plain(self.value)}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the initializer that `get_config` described.

        Raises:
            KeyError: there is no `value`. As in Keras, the bare name "constant" does not do.
        """
        if "value" not in config:
            raise KeyError(problem("Constant", "config", "one with a `value`", config))
        return cls(restored("Constant", "value", config["value"]))


class Identity(Initializer):
    """The identity matrix.

    Same as `keras.initializers.Identity`, except that a gain is written to the config, where
    Keras forgets it.

    Args:
        gain: A factor.

    Raises:
        ValueError: at the call, the shape is no matrix's.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Sequence[int], dtype: _DType = None) -> Tensor:
        """Return the values; see `Initializer`."""
        shape = _shape(shape)
        if len(shape) != 2:
            raise ValueError(problem("Identity", "shape", "of rank 2", shape))
        return self.gain * torch.eye(*shape, dtype=_as_dtype("Identity", dtype))

    def get_config(self) -> Config:
        """Return the constructor's arguments: as in Keras, no gain where it is 1.

        Keras never writes the gain, and so loses it; but it reads the one that is written here.
        """
        return {} if self.gain == 1 else {"gain": self.gain}


class STFT(Initializer):
    """The kernel of a short-time Fourier transform, its real or its imaginary part.

    Same as `keras.initializers.STFT`, for shapes `(T, 1, F // 2 + 1)`: T samples in a window, F
    frequencies.

    Args:
        side: "real" or "imag".
        window: The name of a SciPy window, its T values, or None.
        scaling: "density" or "spectrum": the norm or the sum that the window is divided by; None
            for neither.
        periodic: Whether a named window is periodic rather than symmetric.

    Raises:
        ValueError: an argument is none of these; at the call, the shape or the window's length
            does not fit.
        ImportError: `window` is a name, and SciPy is not installed.
    """

    def __init__(
        self,
        side: Literal["real", "imag"] = "real",
        window: Any = "hann",
        scaling: Literal["density", "spectrum"] | None = "density",
        periodic: bool = False,
    ) -> None:
        if side not in ("real", "imag"):
            raise ValueError(problem("STFT", "side", "'real' or 'imag'", side))
        if scaling not in (None, "density", "spectrum"):
            rule = "'density', 'spectrum' or None"
            raise ValueError(problem("STFT", "scaling", rule, scaling))
        if isinstance(window, str):
            _named_window(window, 1, False)
        self.side = side
        self.window = window
        self.scaling = scaling
        self.periodic = periodic

    def __call__(self, shape: Sequence[int], dtype: _DType = None) -> Tensor:
        """Return the values; see `Initializer`."""
        shape = _shape(shape)
        if len(shape) != 3 or shape[1] != 1:
            raise ValueError(problem("STFT", "shape", "(T, 1, F // 2 + 1)", shape))
        length, _, frequencies = shape
        as_type = _as_dtype("STFT", dtype)
        time = torch.arange(length, dtype=as_type)[:, None, None]  # (T, 1, 1)
        frequency = torch.arange(frequencies, dtype=as_type) / ((frequencies - 1) * 2)
        angle = -2 * time * frequency * torch.tensor(-1, dtype=as_type).acos()  # acos is pi
        kernel = angle.cos() if self.side == "real" else angle.sin()  # (T, 1, F // 2 + 1)
        if self.window is None:
            return kernel
        window = self._window(length, as_type)
        return kernel * window / self._scale(window)

    def _window(self, length: int, dtype: torch.dtype) -> Tensor:
        """Return the window in the shape (T, 1, 1)."""
        values = self.window
        if isinstance(values, str):
            values = _named_window(values, length, self.periodic)
        window = torch.as_tensor(values, dtype=dtype, device=default_device())
        if window.shape != (length,):
            given = tuple(window.shape)
            raise ValueError(problem("STFT", "window", f"of shape {(length,)}", given))
        return window[:, None, None]

    def _scale(self, window: Tensor) -> Tensor | float:
        if self.scaling == "density":
            return window.square().sum().sqrt()
        return window.abs().sum() if self.scaling == "spectrum" else 1.0

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            "side": self.side,
            "window": plain(self.window),
            "periodic": self.periodic,
            "scaling": self.scaling,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the initializer that `get_config` described."""
        if "window" in config:
            config = {**config, "window": restored("STFT", "window", config["window"])}
        return super().from_config(config)


class _Random(Initializer):
    """The base of the random ones: the seed, and where the result goes."""

    def __init__(self, seed: Seed | Config = None) -> None:
        if isinstance(seed, dict):
            seed = _SEEDS.deserialize(seed)
        if seed is not None and not isinstance(seed, (int, SeedGenerator)):
            rule = "an integer, a `SeedGenerator` or None"
            raise ValueError(problem(type(self).__name__, "seed", rule, seed))
        self.seed: Seed = seed

    def __call__(self, shape: Sequence[int], dtype: _DType = None) -> Tensor:
        """Return the values; see `Initializer`."""
        values = self._draw(_shape(shape), _as_dtype(type(self).__name__, dtype))
        return values.to(default_device()).contiguous()

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        raise NotImplementedError

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        seed = self.seed
        return {"seed": _SEEDS.serialize(seed) if isinstance(seed, SeedGenerator) else seed}


class RandomNormal(_Random):
    """Numbers of a normal distribution.

    Same as `keras.initializers.RandomNormal`, except that without a seed two calls differ and
    `torch.manual_seed` decides.

    Args:
        mean: The mean.
        stddev: The standard deviation.
        seed: An integer for the numbers of Keras's torch backend, the same at each call; a
            `SeedGenerator` for new ones at each call; None for torch's global generator.

    Raises:
        ValueError: `seed` is none of these.

    >>> RandomNormal(seed=1)((3,))
    tensor([0.0331, 0.0133, 0.0031])
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return _random.normal(shape, self.mean, self.stddev, dtype, self.seed)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(_Random):
    """Numbers of a normal distribution, none further than two `stddev` from `mean`.

    Same as `keras.initializers.TruncatedNormal`, except that without a seed two calls differ and
    `torch.manual_seed` decides.

    Args:
        mean: The mean.
        stddev: The standard deviation before the cut.
        seed: As in `RandomNormal`.

    Raises:
        ValueError: `seed` is no integer, `SeedGenerator` or None.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None) -> None:
        self.mean = mean
        self.stddev = stddev
        super().__init__(seed)

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return _random.truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class RandomUniform(_Random):
    """Numbers spread evenly from `minval` to `maxval`.

    Same as `keras.initializers.RandomUniform`, except that without a seed two calls differ and
    `torch.manual_seed` decides.

    Args:
        minval: The smallest number.
        maxval: The number that all are below.
        seed: As in `RandomNormal`.

    Raises:
        ValueError: `seed` is no integer, `SeedGenerator` or None.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None) -> None:
        self.minval = minval
        self.maxval = maxval
        super().__init__(seed)

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return _random.uniform(shape, self.minval, self.maxval, dtype, self.seed)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


class VarianceScaling(_Random):
    """Numbers whose variance is `scale / n`, with n from the weight's shape.

    Same as `keras.initializers.VarianceScaling`, except that without a seed two calls differ and
    `torch.manual_seed` decides. As in Keras, `groups` of a convolution are not considered.

    Args:
        scale: A factor above 0.
        mode: What n is: "fan_in", "fan_out", or "fan_avg", their mean.
        distribution: "truncated_normal", "untruncated_normal" or "uniform"; "normal" is the
            first.
        seed: As in `RandomNormal`.
        input_axes: The axes that the fan in is the product of, if `output_axes` is given too.
        output_axes: The axes that the fan out is the product of.

    Raises:
        ValueError: an argument is none of these.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        owner = type(self).__name__
        if not scale > 0:
            raise ValueError(problem(owner, "scale", "a number above 0", scale))
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(problem(owner, "mode", "'fan_in', 'fan_out' or 'fan_avg'", mode))
        folded = str(distribution).lower()
        if folded not in ("normal", "truncated_normal", "untruncated_normal", "uniform"):
            rule = "'truncated_normal', 'untruncated_normal' or 'uniform'"
            raise ValueError(problem(owner, "distribution", rule, distribution))
        self.scale = scale
        self.mode = mode
        self.distribution = "truncated_normal" if folded == "normal" else folded
        self.input_axes = input_axes
        self.output_axes = output_axes
        super().__init__(seed)

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fans = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}
        variance = self.scale / max(1.0, fans[self.mode])
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return _random.uniform(shape, -limit, limit, dtype, self.seed)
        stddev = math.sqrt(variance)
        if self.distribution == "truncated_normal":
            return _random.truncated_normal(shape, 0.0, stddev / _CUT_STDDEV, dtype, self.seed)
        return _random.normal(shape, 0.0, stddev, dtype, self.seed)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "scale": self.scale,
            "mode": self.mode,
            "distribution": self.distribution,
            "input_axes": self.input_axes,
            "output_axes": self.output_axes,
        }


class _Scaled(VarianceScaling):
    """The base of the named ones, which differ in three arguments."""

    _arguments: ClassVar[tuple[float, str, str]]

    def __init__(
        self,
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self._arguments, seed, input_axes, output_axes)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        of_all = super().get_config()
        return {name: of_all[name] for name in ("seed", "input_axes", "output_axes")}


class GlorotUniform(_Scaled):
    """Uniform up to `sqrt(6 / (fan_in + fan_out))`, also called Xavier uniform.

    Same as `keras.initializers.GlorotUniform`, with the exception and the arguments of
    `VarianceScaling`.

    >>> GlorotUniform(seed=42)((2, 1))
    tensor([[1.0812],
            [1.1738]])
    """

    _arguments = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Truncated normal of variance `2 / (fan_in + fan_out)`, also called Xavier normal.

    Same as `keras.initializers.GlorotNormal`, with the exception and the arguments of
    `VarianceScaling`.
    """

    _arguments = (1.0, "fan_avg", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform up to `sqrt(3 / fan_in)`.

    Same as `keras.initializers.LecunUniform`, with the exception and the arguments of
    `VarianceScaling`.
    """

    _arguments = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Truncated normal of variance `1 / fan_in`.

    Same as `keras.initializers.LecunNormal`, with the exception and the arguments of
    `VarianceScaling`.
    """

    _arguments = (1.0, "fan_in", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform up to `sqrt(6 / fan_in)`.

    Same as `keras.initializers.HeUniform`, with the exception and the arguments of
    `VarianceScaling`.
    """

    _arguments = (2.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Truncated normal of variance `2 / fan_in`.

    Same as `keras.initializers.HeNormal`, with the exception and the arguments of
    `VarianceScaling`.
    """

    _arguments = (2.0, "fan_in", "truncated_normal")


class Orthogonal(_Random):
    """A matrix with orthogonal rows or columns, whichever are fewer.

    More axes than two are one matrix with the last axis as its columns. Same as
    `keras.initializers.Orthogonal`, except that without a seed two calls differ and
    `torch.manual_seed` decides, and that half precision works.

    Args:
        gain: A factor.
        seed: As in `RandomNormal`.

    Raises:
        ValueError: `seed` is no integer, `SeedGenerator` or None; at the call, the shape has
            fewer than two axes.
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None) -> None:
        self.gain = gain
        super().__init__(seed)

    def _draw(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        if len(shape) < 2:
            raise ValueError(problem("Orthogonal", "shape", "of rank 2 or more", shape))
        rows, columns = math.prod(shape[:-1]), shape[-1]
        long, short = max(rows, columns), min(rows, columns)
        half = dtype in (torch.float16, torch.bfloat16)  # for which torch has no qr
        numbers = _random.normal(
            (long, short), 0.0, 1.0, torch.float32 if half else dtype, self.seed
        )
        q, r = torch.linalg.qr(numbers)
        q *= r.diagonal().sign()  # makes it uniform over all orthogonal matrices
        values: Tensor = self.gain * (q.T if rows < columns else q).reshape(shape)
        return values.to(dtype)

    def get_config(self) -> Config:
        """Return the constructor's arguments."""
        return {**super().get_config(), "gain": self.gain}


def compute_fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """Return how many inputs and outputs each unit of a weight has: the fan in and the fan out.

    Args:
        shape: The weight's shape; of a convolution, `(*kernel_size, inputs, outputs)`.
        input_axes: The axes that the fan in is the product of, if `output_axes` is given too.
        output_axes: The axes that the fan out is the product of.

    >>> compute_fans((3, 5, 4, 8))
    (60, 120)
    """
    shape = tuple(shape)
    if input_axes is not None and output_axes is not None:
        fan_in = math.prod(shape[axis] for axis in input_axes)
        return int(fan_in), int(math.prod(shape[axis] for axis in output_axes))
    if len(shape) < 2:
        return int(math.prod(shape)), int(math.prod(shape))
    field = math.prod(shape[:-2])
    return int(shape[-2] * field), int(shape[-1] * field)


def _shape(shape: Sequence[int] | int) -> Shape:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _as_dtype(owner: str, dtype: _DType) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    name = config.floatx() if dtype is None else dtype
    if name not in _DTYPES:
        rule = f"a torch dtype or one of {', '.join(map(repr, _DTYPES))}"
        raise ValueError(problem(owner, "dtype", rule, dtype))
    found: torch.dtype = getattr(torch, name)
    return found


def _named_window(name: str, length: int, periodic: bool) -> Any:
    try:
        from scipy.signal import get_window  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        rule = "an array or None where SciPy is not installed"
        remedy = "Install it: `pip install scipy`."
        raise ImportError(problem("STFT", "window", rule, name, remedy)) from error
    return get_window(name, length, periodic)


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
