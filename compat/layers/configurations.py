"""Random valid Conv2D configurations, as keyword arguments that Keras takes too."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

ACTIVATIONS = (
    *("celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu"),
    *("hard_swish", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish"),
    *("relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus"),
    *("softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "swish", "tanh"),
    "tanh_shrink",
)


class Case(NamedTuple):
    """One configuration: the constructor's arguments and the shape of an input."""

    arguments: dict[str, Any]
    input_shape: tuple[int, ...]


def random_case(generator: np.random.Generator) -> Case:
    """Return a valid configuration with an input that the kernel fits into."""
    groups = int(generator.choice([1, 1, 1, 2, 3, 4]))
    channels = groups * int(generator.integers(1, 5))
    if generator.random() < 0.15:
        groups = channels
    filters = 2 * groups * int(generator.integers(1, 4))  # even, for glu
    kernel = tuple(int(n) for n in generator.integers(1, 6, 2))
    strides, dilation = (1, 1), (1, 1)
    stepping = generator.random()
    if stepping < 0.45:
        strides = tuple(int(n) for n in generator.integers(1, 4, 2))
    elif stepping < 0.7:
        dilation = tuple(int(n) for n in generator.integers(1, 4, 2))
    padding = str(generator.choice(["valid", "same", "SAME"]))
    layout = str(generator.choice(["channels_last", "channels_last", "channels_first"]))
    least = [
        (k - 1) * d + 1 if padding == "valid" else 1 for k, d in zip(kernel, dilation, strict=True)
    ]
    height, width = (n + int(generator.integers(0, 9)) for n in least)
    activation = str(generator.choice(ACTIVATIONS)) if generator.random() < 0.6 else None
    if activation == "glu" and layout == "channels_first":
        activation = "relu"  # glu halves the last axis, which is the width there
    arguments = {
        "filters": filters,
        "kernel_size": kernel[0] if kernel[0] == kernel[1] else kernel,
        "strides": strides,
        "padding": padding,
        "data_format": layout,
        "dilation_rate": dilation,
        "groups": groups,
        "activation": activation,
        "use_bias": bool(generator.random() < 0.8),
        "kernel_initializer": str(generator.choice(["glorot_uniform", "he_normal"])),
        "bias_initializer": str(generator.choice(["zeros", "random_normal"])),
    }
    batch = int(generator.integers(1, 4))
    spatial = (height, width)
    shape = (
        (batch, *spatial, channels) if layout == "channels_last" else (batch, channels, *spatial)
    )
    return Case(arguments, shape)


def random_array(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 numbers from a normal distribution."""
    return generator.standard_normal(shape).astype("float32")


def relative_difference(ours: np.ndarray, theirs: np.ndarray, least: float = 1e-30) -> float:
    """Return the largest difference over the largest magnitude; infinite where shapes differ.

    Args:
        ours: What is compared.
        theirs: What it is compared with.
        least: The least magnitude to divide by, where one of nearly 0 is rounding noise.
    """
    if ours.shape != theirs.shape or not np.array_equal(np.isfinite(ours), np.isfinite(theirs)):
        return float("inf")
    finite = np.isfinite(theirs)
    scale = np.abs(theirs[finite]).max(initial=least)
    return float(np.abs(ours[finite] - theirs[finite]).max(initial=0.0) / scale)
