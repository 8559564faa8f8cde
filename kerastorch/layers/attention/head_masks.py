"""The masks of attention with several heads, joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..._ops.attention.heads import expand_mask, make_causal_mask, make_window_mask
from ..base.masks import to_mask


def join_masks(
    layer: Any,
    inputs: tuple[Tensor, Tensor],
    padding: tuple[Any, Any, Any],
    attention_mask: Any,
    axes: Sequence[int],
    causal: bool,
    with_scores: bool,
) -> Tensor | None:
    """Return one mask for the scores; None without any, or for a causal one only.

    `padding` are the masks of query, value and key.
    """
    query, value = inputs
    found = _read_padding(layer, inputs, padding, axes)
    steps, keys = query.shape[1], value.shape[1]
    window = layer.sliding_window
    if len(axes) > 1 and (causal or window is not None):
        name = "use_causal_mask" if causal else "sliding_window"
        rule = "left out where attention has several axes, which have no order"
        layer._refuse_argument(name, rule, causal or window)
    if causal and not (found is None and attention_mask is None and window is None):
        found = _join(found, make_causal_mask(steps, keys, query.device))
    if window is not None:
        found = _join(found, make_window_mask(steps, keys, window, query.device))
    if attention_mask is not None:
        given = layer._as_real_tensor(attention_mask, "attention_mask").to(query.device)
        if any(one is not None for one in padding) and given.ndim > query.ndim:
            rule = f"of {query.ndim} dimensions at most with masks of query, value or key"
            remedy = "Join the masks yourself."
            layer._refuse_argument("attention_mask", rule, tuple(given.shape), remedy)
        _require_broadcasting(layer, given, inputs, axes)
        as_scores = with_scores or layer.dropout > 0
        found = _join(found, layer._read_attention_mask(given, found is None, as_scores))
    return None if found is None else expand_mask(found, query.ndim + len(axes), len(axes))


def _read_padding(
    layer: Any, inputs: tuple[Tensor, Tensor], padding: Sequence[Any], axes: Sequence[int]
) -> Tensor | None:
    """Return the joined masks of query, value and key."""
    found = None
    names = ("query_mask", "value_mask", "key_mask")
    for index, (name, mask) in enumerate(zip(names, padding, strict=True)):
        if mask is None:
            continue
        if len(axes) > 1:
            shown = tuple(getattr(mask, "shape", ()))
            layer._refuse_argument(name, "None where attention has several axes", shown)
        of = inputs[min(index, 1)]
        read = to_mask(layer, mask, of.shape[:-1], of.device, name)
        found = _join(found, read.unsqueeze(-2 if index else -1))
    return found


def _join(left: Tensor | None, right: Tensor) -> Tensor:
    return right if left is None else left & right


def _require_broadcasting(
    layer: Any, mask: Tensor, inputs: tuple[Tensor, Tensor], axes: Sequence[int]
) -> None:
    """Refuse a mask that does not broadcast to the scores."""
    query = inputs[0]
    batch = [query.shape[axis] for axis in range(query.ndim - 1) if axis not in axes]
    ends = [x.shape[axis] for x in inputs for axis in axes]
    shape = (*batch, layer._heads[0], *ends)
    fits = len(ends) <= mask.ndim <= len(shape)
    given = tuple(expand_mask(mask, len(shape), len(axes)).shape) if fits else ()
    if not fits or any(own not in (1, size) for own, size in zip(given, shape, strict=True)):
        layer._refuse_argument(
            "attention_mask", f"of sizes that broadcast to {shape}", tuple(mask.shape)
        )
