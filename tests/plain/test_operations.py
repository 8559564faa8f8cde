"""Operations between layers as plain PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kerastorch._core.registry import to_snake_case
from kerastorch.models.base import Model
from kerastorch.operations.operation import OPERATIONS
from kerastorch.plain.api import to_source
from kerastorch.plain.registry import OPERATION_LOWERINGS
from tests.models.building.examples import operation
from tests.models.configs import functional, input_layer, layer, node, tensor
from tests.plain.models import assert_plain, build

SHAPE = (4, 6)
# Key -> positional arguments after the first tensor, and the config's.
ROWS: dict[str, list[tuple[list[Any], dict[str, Any]]]] = {
    "Add": [([0.1], {}), ([tensor("b")], {}), ([[1.0, 2.0, 3.0, 4.0, 5.0, 6.5]], {})],
    "Subtract": [([tensor("b")], {})],
    "Maximum": [([0.1], {}), ([tensor("b")], {})],
    "Power": [([2], {})],
    "FloorDivide": [([0.7], {})],
    "Mod": [([0.7], {})],
    "Where": [([tensor("b"), 0.1], {})],
    "Clip": [([], {"x_min": -0.5, "x_max": 0.5})],
    "Cast": [([], {"dtype": "int32"}), ([], {"dtype": "bool"})],
    "Mean": [([], {"axis": -1, "keepdims": True}), ([], {"axis": [1, 2]}), ([], {})],
    "Prod": [([], {"axis": [1, 2], "keepdims": False})],
    "Argmax": [([], {"axis": 1})],
    "Softmax": [([], {"axis": 1}), ([], {"axis": [1, 2]})],
    "Elu": [([], {"alpha": 0.3})],
    "LeakyRelu": [([], {}), ([], {"negative_slope": 0.3})],
    "ReLU": [([], {"negative_slope": 0.1, "max_value": 1.5, "threshold": 0.5})],
    "Threshold": [([], {"threshold": 0.5, "default_value": 0.1})],
    "Gelu": [([], {"approximate": True}), ([], {"approximate": False})],
    "Glu": [([], {"axis": 1})],
    "Reshape": [([], {"newshape": [-1, 8, 3]})],
    "Transpose": [([], {"axes": [0, 2, 1]})],
    "Swapaxes": [([], {"axis1": 1, "axis2": -1})],
    "ExpandDims": [([], {"axis": 1})],
    "GetItem": [([], {"key": [None, 1]})],
    "Flip": [([], {"axis": 1})],
    "Normalize": [([], {"axis": -1, "order": 2, "epsilon": 0.5})],
}
UNARY = (
    *("Negative", "Sqrt", "Rsqrt", "Log", "Log1p", "Tanh", "Sin", "Cos", "Sign", "Reciprocal"),
    *("Erf", "Absolute", "Square", "Exp", "Expm1", "Floor", "Ceil", "Round", "LogicalNot"),
    *("Relu", "Relu6", "Selu", "Sigmoid", "Silu", "Softplus", "Softsign", "SparsePlus"),
    *("SparseSigmoid", "Sparsemax", "TanhShrink", "HardSigmoid", "HardSilu", "HardTanh", "Celu"),
    *("HardShrink", "SoftShrink", "LogSigmoid", "LogSoftmax", "Squareplus", "ZerosLike", "Ravel"),
    *("StopGradient", "Any", "All", "Sum", "Max", "Min", "Var", "Std", "Argmin"),
)
CASES = [(key, *row) for key, rows in ROWS.items() for row in rows]
CASES += [(key, [], {}) for key in UNARY]


def model_of(key: str, args: list[Any], config: dict[str, Any], shape: Any = SHAPE) -> Model:
    """Return a model of one operation on its inputs."""
    one = operation(key, "the_operation", [node(tensor("a"), *args)], **config)
    inputs = [input_layer(name, (None, *shape)) for name in ("a", "b")]
    ends = [["a", 0, 0], ["b", 0, 0]]
    return build(functional(*inputs, one, inputs=ends, outputs=["the_operation", 0, 0]))


@pytest.mark.parametrize(("key", "args", "config"), CASES, ids=str)
def test_operations_are_written(key: str, args: list[Any], config: dict[str, Any]) -> None:
    inputs = [torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(n)) for n in (1, 2)]
    assert_plain(model_of(key, args, config), inputs)


def test_every_operation_has_a_lowering() -> None:
    assert OPERATION_LOWERINGS.keys() == OPERATIONS.keys()


def test_operations_keep_the_layout_of_images() -> None:
    first = layer("Conv2D", "c", [node(tensor("x"))], filters=3, kernel_size=3)
    second = layer("Conv2D", "d", [node(tensor("mean"))], filters=2, kernel_size=1)
    names = ["relu6", "square", "add", "mean"]
    model = build(functional(
        input_layer("x", (None, 8, 7, 3)),
        first,
        operation("Relu6", "relu6", [node(tensor("c"))]),
        operation("Square", "square", [node(tensor("relu6"))]),
        operation("Add", "add", [node(tensor("square"), tensor("c"))]),
        operation("Mean", "mean", [node(tensor("add"))], axis=[1, 2], keepdims=True),
        second,
        inputs=["x", 0, 0], outputs=["d", 0, 0],
    ))  # fmt: skip
    text = assert_plain(model, [torch.rand(2, 8, 7, 3)])
    assert text.count("permute") == 2
    assert all(to_snake_case(name) in text for name in names[:2])


def test_what_no_operation_can_say_is_refused_with_the_key() -> None:
    model = model_of("Clip", [], {"x_min": [0.0], "x_max": [1.0]})
    with pytest.raises(
        ValueError, match=r"'the_operation' \(Operation\): its limits are no numbers"
    ):
        to_source(model)
