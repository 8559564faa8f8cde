"""Layers of your own in plain PyTorch: modules that the written text imports."""

from __future__ import annotations

import builtins
import copy
import inspect
import keyword
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from .._core.errors import argument_error
from ..graph.structure import map_structure
from ..layers.base.layer import Layer
from .graph import GraphBuilder, Value, iterate_values
from .text.vocabulary import HELPERS

_OPEN_SIZES = (3, 5)  # tried in the place of an open size


def check_sources(sources: Mapping[str, str] | None) -> dict[str, str]:
    """Return the import line of each class; refuse all but `from module import Class`."""
    found = dict(sources or {})
    for name, line in found.items():
        match = re.fullmatch(r"from ([A-Za-z0-9_.]+) import ([A-Za-z0-9_]+)", str(line))
        words = [] if match is None else [*match[1].split("."), match[2]]
        usual = all(word.isidentifier() and not keyword.iskeyword(word) for word in words)
        if not (words and usual and words[-1] == name):
            rule = f"lines of the form 'from module import {name}'"
            raise ValueError(argument_error("to_source", "sources", rule, {name: line}))
        if name in HELPERS or name in ("torch", "nn", "F", "math") or hasattr(builtins, name):
            rule = "of names that the written code does not use itself"
            raise ValueError(argument_error("to_source", "sources", rule, {name: line}))
    return found


def lower_custom(
    build: GraphBuilder, layer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Call a module of your own, which the text makes without arguments."""
    if isinstance(layer, (Layer, nn.Sequential, fx.GraphModule)):
        build.refuse("`sources` takes plain classes of torch.nn.Module, which this is not")
    required = [
        name
        for name, one in inspect.signature(type(layer)).parameters.items()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if required:
        build.refuse(f"its class cannot be made without arguments: {', '.join(required)}")
    if any(isinstance(x, Value) for x in iterate_values(kwargs.get("mask"))):
        build.refuse("its input has a mask")
    args, kwargs = map_structure(build.as_in_keras, (args, dict(kwargs)), Value)
    # The weights of the model stay its own.
    own = copy.deepcopy(layer)
    outputs = [_list_outputs(own, args, kwargs, size) for size in _OPEN_SIZES]
    is_single = isinstance(outputs[0], Tensor)
    y = build.module(own, *args, **kwargs)
    parts = [y] if is_single else build.unpack(y, len(outputs[0]))
    first, second = ([one] if is_single else one for one in outputs)
    found = [
        replace(
            part,
            shape=tuple(n if n == m else None for n, m in zip(a.shape, b.shape, strict=True)),
            moved=False,
            flattened=None,
            dtype=a.dtype,
        )
        for part, a, b in zip(parts, first, second, strict=True)
    ]
    return found[0] if is_single else found


def _list_outputs(layer: nn.Module, args: Any, kwargs: Any, size: int) -> Any:
    """Return the outputs for inputs of zeros, with a size in the place of open ones."""

    def make(x: Value) -> Tensor:
        return torch.zeros([size if n is None else n for n in x.shape], dtype=x.dtype)

    args, kwargs = map_structure(make, (args, kwargs), Value)
    mode = layer.training
    with torch.no_grad():
        found = layer.eval()(*args, **kwargs)
    layer.train(mode)
    return found
