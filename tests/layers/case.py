"""LayerCase: a row of the tables that drive the tests of every layer.

Each `test_<family>.py` of this folder or of a family's own has a table `CASES`. `every_case`
collects them, so that a new layer is tested, compared with Keras, exported and put into random
models by its rows alone.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kerastorch._core.registry import REMOVED
from kerastorch.layers.base.layer import Layer

Shape = tuple[int, ...]
Shapes = Shape | list[Shape]  # a list for a layer that takes a list of tensors
Refused = tuple[str, Any, type[Exception]]


def batch(shape: Shape, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    """Return the same random tensor for the same shape and seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype)


@dataclass(frozen=True)
class LayerCase:
    """One layer with its arguments, what it accepts, and what it refuses.

    Attributes:
        layer: The class.
        arguments: The arguments of the constructor, by name.
        shape: The shape of an input with the batch; a list of shapes if it takes a list of tensors.
        other: Further shapes that the layer built for `shape` accepts; by default another batch
            size. A layer that is exported for `shape` must work for these, too.
        refused: Shapes that the layer built for `shape` refuses.
        refused_arguments: (argument, value, exception): values that are refused in the place of
            the row's, by the constructor or by the first call, with Keras's exception type.
        refused_here: The same for values that Keras accepts.
        thorough: Whether the slow checks run without `-m sweep`, as for the first row of a class.
        samples: Whether the layer is random in training.
        trains: Whether the layer can be called in training.
        integers: What becomes of integers and booleans: they are "kept" in their dtype, or
            "converted" to the compute dtype; "" where the layer's own tests say it.
        exempt: The names of tests of the contract that do not apply.
        agrees: Whether Keras on torch computes the same.
        integers_agree: Whether Keras on torch computes the same of integers and booleans.
        policies_agree: Whether Keras on torch computes in the same dtypes under each dtype policy.
        in_double: Whether Keras on torch computes in double precision where it is told to.
        converts: Whether `to_torch`, if the class has it, has modules for these arguments.
    """

    layer: type[Layer]
    arguments: dict[str, Any]
    shape: Shapes
    other: Sequence[Shapes] = ()
    refused: Sequence[Shapes] = ()
    refused_arguments: Sequence[Refused] = ()
    refused_here: Sequence[Refused] = ()
    thorough: bool = False
    samples: bool = False
    trains: bool = True
    integers: str = ""
    exempt: frozenset[str] = field(default_factory=frozenset)
    agrees: bool = True
    integers_agree: bool = True
    policies_agree: bool = True
    in_double: bool = True
    converts: bool = True

    def __str__(self) -> str:
        given = ",".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.layer.__name__}({given})-{self.shape}".replace(" ", "").replace("\n", "")

    @property
    def name(self) -> str:
        return self.layer.__name__

    @property
    def in_keras(self) -> bool:
        """Whether Keras 3 has the layer."""
        return self.name not in REMOVED

    def make(self, **arguments: Any) -> Layer:
        """Return the layer, in evaluation if it is random in training."""
        layer = self.layer(**{**copy.deepcopy(self.arguments), **arguments})
        return layer.eval() if self.samples else layer

    def built(self, **arguments: Any) -> Layer:
        layer = self.make(**arguments)
        if not layer.built:
            layer.build(self.shape)
        return layer

    def inputs(
        self, shape: Shapes | None = None, dtype: torch.dtype = torch.float32, seed: int = 0
    ) -> Any:
        """Return a random input of a shape, or of the row's."""
        shape = self.shape if shape is None else shape
        if isinstance(shape, list):
            return [batch(one, dtype, seed + index) for index, one in enumerate(shape)]
        return batch(shape, dtype, seed)

    @property
    def others(self) -> Sequence[Shapes]:
        """The shapes in `other`, or the row's with another batch size."""
        if self.other:
            return self.other
        if isinstance(self.shape, list):
            return [[(one[0] + 1, *one[1:]) for one in self.shape]]
        return [(self.shape[0] + 1, *self.shape[1:])]

    @property
    def has_parameters(self) -> bool:
        return bool(list(self.make().parameters()))

    def with_argument(self, name: str, value: Any) -> dict[str, Any]:
        return {**copy.deepcopy(self.arguments), name: value}


class NoModule(dict[str, Any]):
    """Arguments for which torch.nn has no module, so that `to_torch` refuses them."""


def cases(layer: type[Layer], *rows: dict[str, Any], **shared: Any) -> list[LayerCase]:
    """Return a case for the arguments of each row; all else is shared."""
    return [
        LayerCase(layer, dict(row), **{"converts": not isinstance(row, NoModule), **shared})
        for row in rows
    ]


def required_arguments(layer: type) -> list[str]:
    """Return the names of the arguments without a default."""
    parameters = inspect.signature(layer).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]


def every_case() -> list[LayerCase]:
    """Return the cases of all families, from the test modules of this folder and those below."""
    found: list[LayerCase] = []
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], f"{__package__}."):
        name = module.name.rpartition(".")[2]
        if name.startswith("test_") and name != "test_every_layer":
            family = importlib.import_module(module.name)
            found += getattr(family, "CASES", ())
    return found


def thorough_cases(found: Sequence[LayerCase]) -> list[LayerCase]:
    """Return the first case of each class, and those marked thorough."""
    first: dict[type, LayerCase] = {}
    for case in found:
        first.setdefault(case.layer, case)
    return [case for case in found if case.thorough or first[case.layer] is case]


def each_case(
    found: Sequence[LayerCase], quick: Sequence[LayerCase] | None = None
) -> pytest.MarkDecorator:
    """Return the parametrization by cases; those that are not in `quick` belong to the sweep."""
    known = None if quick is None else {id(case) for case in quick}
    rows = [
        pytest.param(
            case,
            id=str(case),
            marks=() if known is None or id(case) in known else pytest.mark.sweep,
        )
        for case in found
    ]
    return pytest.mark.parametrize("case", rows)
