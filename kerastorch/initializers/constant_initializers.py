"""Initializers without randomness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from .._core.config_arrays import Config, decode_array, encode_array
from .._core.errors import argument_error
from .._core.seeds import Shape, get_default_device
from .base import Initializer

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "STFT", "Constant", "Identity", "IdentityInitializer", "Ones", "STFTInitializer", "Zeros",
    "constant", "identity", "ones", "stft", "zeros",
]  # fmt: skip


class Zeros(Initializer):
    """All 0. Same as `keras.initializers.Zeros`."""

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype)


class Ones(Initializer):
    """All 1. Same as `keras.initializers.Ones`."""

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        return torch.ones(shape, dtype=dtype)


class Constant(Initializer):
    """A constant value, or an array's values.

    Same as `keras.initializers.Constant`, except that an array must broadcast to the shape.

    Args:
        value: A number or an array.

    Raises:
        ValueError: at the call, `value` does not broadcast to the shape.

    >>> Constant(0.5)((2,))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        given = np.asarray(self.value) if isinstance(self.value, np.generic) else self.value
        value = torch.as_tensor(given, dtype=dtype, device=get_default_device())
        try:
            return value.detach().expand(shape).clone(memory_format=torch.contiguous_format)
        except RuntimeError:
            rule, found = "one that `value` broadcasts to", tuple(value.shape)
            message = argument_error("Constant", "shape", rule, shape, value_shape=found)
            raise ValueError(message) from None

    def get_config(self) -> Config:
        """Return the constructor's arguments, with an array as the dict that Keras writes."""
        return {"value": encode_array(self.value)}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Create an instance from a config.

        Raises:
            KeyError: there is no `value`, as for the bare name "constant" in Keras.
        """
        if "value" not in config:
            raise KeyError(argument_error("Constant", "config", "one with a `value`", config))
        return cls(decode_array("Constant", "value", config["value"]))


class Identity(Initializer):
    """The identity matrix.

    Same as `keras.initializers.Identity`, except that the config has the gain, which Keras omits.

    Args:
        gain: A factor.

    Raises:
        ValueError: at the call, the shape is not that of a matrix.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        if len(shape) != 2:
            raise ValueError(argument_error("Identity", "shape", "of rank 2", shape))
        return self.gain * torch.eye(*shape, dtype=dtype)

    def get_config(self) -> Config:
        """Return the constructor's arguments, without a gain of 1, as in Keras."""
        return {} if self.gain == 1 else {"gain": self.gain}


class STFT(Initializer):
    """The real or imaginary part of the kernel of a short-time Fourier transform.

    Same as `keras.initializers.STFT`. Shapes are `(T, 1, F // 2 + 1)` for windows of T samples and
    F frequencies.

    Args:
        side: "real" or "imag".
        window: The name of a SciPy window, its T values, or None.
        scaling: Divides the window by its norm ("density"), its sum ("spectrum"), or not (None).
        periodic: Whether a named window is periodic rather than symmetric.

    Raises:
        ValueError: an argument is invalid; at the call, the shape or the window's length is.
        ImportError: `window` is a name, and SciPy is not installed.
    """

    _config_keys = ("side", "window", "periodic", "scaling")

    def __init__(
        self,
        side: Literal["real", "imag"] = "real",
        window: Any = "hann",
        scaling: Literal["density", "spectrum"] | None = "density",
        periodic: bool = False,
    ) -> None:
        if side not in ("real", "imag"):
            raise ValueError(argument_error("STFT", "side", "'real' or 'imag'", side))
        if scaling not in (None, "density", "spectrum"):
            rule = "'density', 'spectrum' or None"
            raise ValueError(argument_error("STFT", "scaling", rule, scaling))
        if isinstance(window, str):
            _get_window(window, 1, False)
        self.side = side
        self.window = window
        self.scaling = scaling
        self.periodic = periodic

    def _fill(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        if len(shape) != 3 or shape[1] != 1:
            raise ValueError(argument_error("STFT", "shape", "(T, 1, F // 2 + 1)", shape))
        length, _, frequencies = shape
        time = torch.arange(length, dtype=dtype)[:, None, None]  # (T, 1, 1)
        frequency = torch.arange(frequencies, dtype=dtype) / ((frequencies - 1) * 2)
        angle = -2 * time * frequency * torch.tensor(-1, dtype=dtype).acos()  # acos is pi
        kernel = angle.cos() if self.side == "real" else angle.sin()  # (T, 1, F // 2 + 1)
        values = self.window
        if values is None:
            return kernel
        if isinstance(values, str):
            values = _get_window(values, length, self.periodic)
        window = torch.as_tensor(values, dtype=dtype, device=get_default_device())
        if window.shape != (length,):
            given = tuple(window.shape)
            raise ValueError(argument_error("STFT", "window", f"of shape {(length,)}", given))
        product = kernel * window[:, None, None]
        if self.scaling == "density":
            return product / window.square().sum().sqrt()
        return product / window.abs().sum() if self.scaling == "spectrum" else product

    def get_config(self) -> Config:
        """Return the constructor's arguments, with an array as the dict that Keras writes."""
        return {**super().get_config(), "window": encode_array(self.window)}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Create an instance from a config."""
        if "window" in config:
            config = {**config, "window": decode_array("STFT", "window", config["window"])}
        return super().from_config(config)


def _get_window(name: str, length: int, periodic: bool) -> Any:
    try:
        from scipy.signal import get_window  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        rule = "an array or None where SciPy is not installed"
        remedy = "Install it: `pip install scipy`."
        raise ImportError(argument_error("STFT", "window", rule, name, remedy)) from error
    return get_window(name, length, periodic)


IdentityInitializer, STFTInitializer = Identity, STFT
constant, identity, ones, stft, zeros = Constant, Identity, Ones, STFT, Zeros
