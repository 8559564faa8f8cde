"""The adapter of nn.MultiheadAttention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..._core.errors import argument_error, short_repr
from ..._core.layout import heads_weight_to_kernel, output_weight_to_kernel
from .adapter import Adapter, Config, ModuleWeight, View

_INPUTS = ("query", "key", "value")  # in the order in one parameter of torch, and in Keras's
_VALID = {"attention_axes": (None, 1, [1], (1,)), "use_gate": (False,), "sliding_window": (None,)}


def _list_weights(module: Any) -> list[ModuleWeight]:
    """Return the kernels and biases of the projections; torch joins those of the inputs."""
    for argument, wanted, given in (
        ("add_bias_kv", False, module.bias_k is not None),
        ("add_zero_attn", False, module.add_zero_attn),
    ):
        if given != wanted:
            remedy = "Keras adds no key and no value."
            owner = type(module).__name__
            raise ValueError(argument_error(owner, argument, str(wanted), given, remedy))
    heads, size = module.num_heads, module.embed_dim
    joined = module.in_proj_weight is not None
    found = []
    for number, name in enumerate(_INPUTS):
        parameter = "in_proj_weight" if joined else f"{name[0]}_proj_weight"
        kernel, bias = _view_kernel(heads, number if joined else None), _view_bias(heads, number)
        group, part = f"{name}_dense", name if joined else ""
        found += [
            ModuleWeight(parameter, "kernel", kernel, group=group, part=part),
            ModuleWeight("in_proj_bias", "bias", bias, group=group, part=name),
        ]

    def view_output(weight: Tensor) -> Tensor:
        return output_weight_to_kernel(weight, heads, (size,))

    return [
        *found,
        ModuleWeight("out_proj.weight", "kernel", view_output, group="output_dense"),
        ModuleWeight("out_proj.bias", "bias", group="output_dense"),
    ]


def _view_kernel(heads: int, number: int | None) -> View:
    def view(weight: Tensor) -> Tensor:
        own = weight if number is None else weight.chunk(3)[number]
        return heads_weight_to_kernel(own, heads)

    return view


def _view_bias(heads: int, number: int) -> View:
    return lambda bias: torch.unflatten(bias.chunk(3)[number], 0, (heads, -1))


def _compare(module: Any, config: Config) -> Iterator[str]:
    """Yield the arguments of a Keras layer that a module of torch does not compute."""
    for argument, valid in _VALID.items():
        given = config.get(argument, valid[0])
        if given not in valid:
            what = f"it has no {argument}, where the source has {argument}={short_repr(given)}"
            yield f"{what}. Use the layer of the same name from kerastorch.layers instead."


ATTENTION_ADAPTER = Adapter(
    {nn.MultiheadAttention: ("multi_head_attention",)}, _list_weights, _compare
)
