"""The table of lowering functions: what each layer is in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

Layout = Literal["keras", "channels_second", "any"]
Lower = Callable[..., Any]


class Lowering(NamedTuple):
    """How calls of a layer become plain PyTorch."""

    function: Lower  # (builder, layer, *arguments) -> a Value, or a list of them
    layout: Layout  # of the Values that it gets
    takes_masks: bool  # whether it reads `Value.mask` and sets it on the result


LOWERINGS: dict[type, Lowering] = {}  # exact class -> its lowering
OPERATION_LOWERINGS: dict[str, Lowering] = {}  # key of an operation -> its lowering
REASONS: dict[type, str] = {}  # a layer without a plain form -> why


def lowers(
    *layers: type, layout: Layout = "keras", takes_masks: bool = False
) -> Callable[[Lower], Lower]:
    """Register a function as the lowering of layers, of exactly these classes.

    Args:
        *layers: The classes. A subclass may compute something else, so it is not included.
        layout: How the function gets its Values: "keras" with the axes and features in Keras's
            order, "channels_second" with the channels as axis 1 unless the layer is
            channels_first itself, "any" as they are, flattened features included.
        takes_masks: Whether the function computes with masks and sets that of the result.
            Otherwise a mask is passed on where the layer only passes it on, and refused elsewhere.
    """

    def register(function: Lower) -> Lower:
        for layer in layers:
            LOWERINGS[layer] = Lowering(function, layout, takes_masks)
        return function

    return register


def lowers_operations(*keys: str, layout: Layout = "keras") -> Callable[[Lower], Lower]:
    """Register a function as the lowering of operations between layers, such as "Add".

    It is called with the builder and the operation's arguments; `builder.layer.key` is the key.

    Args:
        *keys: The keys; those of TensorFlow's functions begin with "tf.".
        layout: "keras" or "any", as in `lowers`.
    """

    def register(function: Lower) -> Lower:
        OPERATION_LOWERINGS.update(dict.fromkeys(keys, Lowering(function, layout, False)))
        return function

    return register


def has_no_plain_form(reason: str, *layers: type) -> None:
    """Say why layers are refused, in words that complete "no plain form: "."""
    REASONS.update(dict.fromkeys(layers, reason))
