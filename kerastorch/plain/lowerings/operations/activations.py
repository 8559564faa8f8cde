"""Activations that are called as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.nn import functional as F

from .... import activations
from ...._core.registry import to_snake_case
from ...graph import GraphBuilder, Value
from ...printed import functions as printed
from ...registry import lowers_operations
from ..activation import activate, apply_elementwise, apply_relu, apply_softmax
from ..axes import find_axis
from .elementwise import require_floats

# Without arguments.
_PLAIN = (
    *("HardSigmoid", "HardSilu", "HardTanh", "LogSigmoid", "Relu", "Relu6", "Selu", "Sigmoid"),
    *("Silu", "Softplus", "Softsign", "SparsePlus", "SparseSigmoid", "TanhShrink"),
    *("tf.nn.relu", "tf.nn.relu6", "tf.nn.selu", "tf.nn.elu", "tf.math.softplus"),
)
# With one argument: Keras's name of it -> the function of torch, the argument's name in it, and
# its default values in Keras and in torch.
_WITH_NUMBER: dict[str, tuple[Callable[..., Any], str, str, float, float]] = {
    "Celu": (F.celu, "alpha", "alpha", 1.0, 1.0),
    "Elu": (F.elu, "alpha", "alpha", 1.0, 1.0),
    "LeakyRelu": (F.leaky_relu, "negative_slope", "negative_slope", 0.2, 0.01),
    "tf.nn.leaky_relu": (F.leaky_relu, "alpha", "negative_slope", 0.2, 0.01),
    "HardShrink": (F.hardshrink, "threshold", "lambd", 0.5, 0.5),
    "SoftShrink": (F.softshrink, "threshold", "lambd", 0.5, 0.5),
    "Squareplus": (printed.squareplus, "b", "b", 4, 4),
}


@lowers_operations(*_PLAIN, layout="any")
def lower_plain_activation(build: GraphBuilder, x: Value) -> Value:
    """An activation without arguments."""
    require_floats(build, x)
    name = to_snake_case(build.layer.key.rpartition(".")[2])
    return activate(build, getattr(activations, name), x)


@lowers_operations(*_WITH_NUMBER, layout="any")
def lower_activation_with_number(
    build: GraphBuilder, x: Any = None, *numbers: float, **options: Any
) -> Value:
    """An activation with one number."""
    function, own, name, keras_default, default = _WITH_NUMBER[build.layer.key]
    x = options.pop("features") if x is None else x
    require_floats(build, x)
    number = [*numbers, *options.values(), keras_default][0]
    if set(options) - {own}:
        build.refuse("it is called with other arguments")
    given = {} if number == default else {name: number}
    return apply_elementwise(build, function, x, **given)


@lowers_operations("ReLU", layout="any")
def lower_relu_operation(
    build: GraphBuilder,
    x: Value,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Value:
    """ReLU with all its arguments."""
    require_floats(build, x)
    return apply_relu(build, x, negative_slope, max_value, threshold)


@lowers_operations("Threshold", layout="any")
def lower_threshold(build: GraphBuilder, x: Value, threshold: float, default_value: float) -> Value:
    """`x` above the threshold, else a value."""
    require_floats(build, x)
    return apply_elementwise(build, F.threshold, x, threshold, default_value)


@lowers_operations("Gelu", "tf.nn.gelu", layout="any")
def lower_gelu(
    build: GraphBuilder, x: Any = None, approximate: bool | None = None, features: Any = None
) -> Value:
    """GELU, exact or by tanh; Keras's default is exact here."""
    x = features if x is None else x
    require_floats(build, x)
    options = {"approximate": "tanh"} if approximate else {}
    return apply_elementwise(build, F.gelu, x, **options)


@lowers_operations("tf.nn.silu", layout="any")
def lower_silu(build: GraphBuilder, features: Value, beta: float = 1.0) -> Value:
    """SiLU."""
    require_floats(build, features)
    return apply_elementwise(build, F.silu, features)


@lowers_operations("Softmax", "LogSoftmax", layout="any")
def lower_softmax_operation(build: GraphBuilder, x: Value, axis: Any = -1) -> Value:
    """Softmax, or its logarithm."""
    require_floats(build, x)
    return apply_softmax(build, x, axis, log=build.layer.key == "LogSoftmax")


@lowers_operations("tf.nn.softmax", "tf.nn.log_softmax", layout="any")
def lower_tensorflow_softmax(build: GraphBuilder, logits: Value, axis: Any = None) -> Value:
    """Softmax, or its logarithm, over the last axis unless one is given."""
    require_floats(build, logits)
    axis = -1 if axis is None else axis
    return apply_softmax(build, logits, axis, log="log" in build.layer.key)


@lowers_operations("Glu", "Sparsemax", layout="any")
def lower_along_axis(build: GraphBuilder, x: Value, axis: int = -1) -> Value:
    """Functions along one axis."""
    require_floats(build, x)
    if x.flattened is not None:
        x = build.as_in_keras(x)
    function = F.glu if build.layer.key == "Glu" else printed.sparsemax
    return build.function(function, x, dim=find_axis(x, axis))
