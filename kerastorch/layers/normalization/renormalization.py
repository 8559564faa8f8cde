"""Batch renormalization (arXiv:1702.03275), an option of BatchNormalization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..._ops.normalization import normalize_by_batch

_CLIPPING = ("rmax", "rmin", "dmax")


def check_clipping(layer: Any, given: Any) -> dict[str, Any]:
    """Return the limits of the correction, or refuse the argument."""
    clipping = dict(given or {})
    if set(clipping) - set(_CLIPPING):
        layer._refuse_argument("renorm_clipping", f"a dict of {', '.join(_CLIPPING)}", given)
    rmax, rmin, dmax = map(clipping.get, _CLIPPING)
    if rmax is not None and rmin is not None and rmax < rmin:
        layer._refuse_argument("renorm_clipping", "a dict whose rmax is rmin at least", given)
    if dmax is not None and dmax < 0:
        layer._refuse_argument("renorm_clipping", "a dict whose dmax is 0 at least", given)
    return clipping


def renormalize(layer: Any, x: Tensor) -> Tensor:
    """Normalize by the batch statistics, corrected towards the moving ones, and update these."""
    y, mean, variance = normalize_by_batch(x, None, None, layer.epsilon)
    if not x.numel():
        return y
    clipping: dict[str, Any] = layer.renorm_clipping
    with torch.no_grad():
        deviation = (variance + layer.epsilon).sqrt()
        moving_deviation: Tensor = layer._tensor("renorm_stddev").to(x.dtype)
        moving_deviation = moving_deviation.clamp(min=layer.epsilon**0.5)
        r = deviation / moving_deviation
        rmin, rmax = clipping.get("rmin"), clipping.get("rmax")
        if rmin is not None or rmax is not None:
            r = r.clamp(rmin, rmax)
        d: Tensor = (mean - layer._tensor("renorm_mean").to(x.dtype)) / moving_deviation
        if (dmax := clipping.get("dmax")) is not None:
            d = d.clamp(-dmax, dmax)
        update_moving(layer._tensor("renorm_mean"), mean, layer.renorm_momentum)
        update_moving(layer._tensor("renorm_stddev"), deviation, layer.renorm_momentum)
        update_moving(layer._tensor("running_mean"), mean, layer.momentum)
        moving = update_moving(layer._tensor("moving_stddev"), deviation, layer.momentum)
        layer.running_var.copy_((moving * moving - layer.epsilon).relu())
    gamma, beta = layer._cast_affine(x.dtype)
    scale = r if gamma is None else r * gamma
    offset = d if gamma is None else d * gamma
    if beta is not None:
        offset = offset + beta
    shape = (-1, *(1,) * (x.ndim - 2))
    corrected: Tensor = y * scale.reshape(shape) + offset.reshape(shape)
    return corrected


def update_moving(moving: Tensor, value: Tensor, momentum: float) -> Tensor:
    """Update a moving statistic in place and return its new value in the dtype of `value`."""
    if moving.dtype is value.dtype:
        return moving.lerp_(value, 1.0 - momentum)
    new = moving.to(value.dtype).lerp_(value, 1.0 - momentum)
    moving.copy_(new)
    return new
