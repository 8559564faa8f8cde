"""Resizing and cropping of images to given sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.nn import functional as F

from ....layers.preprocessing.resizing import CenterCrop, RandomCrop, Resizing
from ...graph import GraphBuilder, Value
from ...printed import modules as printed_modules
from ...printed import resizing as printed
from ...registry import lowers
from ..axes import slice_last
from ..padding import get_sizes, pad_sides

_RADII = {"lanczos3": 3, "lanczos5": 5}


@lowers(Resizing, layout="channels_second")
def lower_resizing(build: GraphBuilder, layer: Resizing, x: Value) -> Value:
    """Resizing, after a crop or a padding to the new aspect ratio."""
    _require_images(build, x)
    if layer.crop_to_aspect_ratio:
        x = _crop_to_aspect(build, layer, x)
    elif layer.pad_to_aspect_ratio:
        x = _pad_to_aspect(build, layer, x)
    size = layer.height, layer.width
    return resample(build, x, layer.interpolation, size, antialias=layer.antialias)


@lowers(CenterCrop, layout="channels_second")
def lower_center_crop(build: GraphBuilder, layer: CenterCrop, x: Value) -> Value:
    """The middle of an image; a smaller image is resized."""
    height, width = _get_known_sizes(build, layer, x)
    if height >= layer.height and width >= layer.width:
        return _crop(build, x, (height, width), (layer.height, layer.width))
    x = _crop_to_aspect(build, layer, x)
    return resample(build, x, "bilinear", (layer.height, layer.width))


@lowers(RandomCrop, layout="channels_second")
def lower_random_crop(build: GraphBuilder, layer: RandomCrop, x: Value) -> Value:
    """In evaluation nothing, or in Keras 2 resizing; training is refused."""
    _require_images(build, x)
    x = build.module(printed_modules.OnlyInEvaluation(), x)
    if not layer.keras_2:
        return x
    x = _crop_to_aspect(build, layer, x)
    return resample(build, x, "bilinear", (layer.height, layer.width))


def resample(
    build: GraphBuilder, x: Value, kind: str, size: Sequence[int], *, antialias: bool = False
) -> Value:
    """Resize images with channels as axis 1 as TensorFlow does."""
    size = tuple(size)
    options = {"antialias": True} if antialias else {}
    if kind == "nearest":
        return build.function(F.interpolate, x, size, mode="nearest-exact")
    if kind == "bilinear" or (kind == "bicubic" and antialias):
        return build.function(F.interpolate, x, size, mode=kind, **options)
    if kind in _RADII:
        return build.function(printed.resize_lanczos, x, size, _RADII[kind], **options)
    if kind == "bicubic":
        return build.function(printed.resize_bicubic, x, size)
    if kind == "area":
        return build.function(printed.resize_area, x, size)
    build.refuse(f"its interpolation is {kind!r}")


def _require_images(build: GraphBuilder, x: Value) -> None:
    if x.rank != 4:
        build.refuse("its input is one image without a batch")


def _get_known_sizes(build: GraphBuilder, layer: Any, x: Value) -> tuple[int, int]:
    """Return height and width, or refuse the layer."""
    _require_images(build, x)
    sizes: Any = get_sizes(layer, x)
    if None in sizes:
        build.refuse("its crop depends on the size of the input, which is open")
    height, width = sizes
    return height, width


def _crop_to_aspect(build: GraphBuilder, layer: Any, x: Value) -> Value:
    if None in get_sizes(layer, x):
        return build.function(printed.crop_to_aspect, x, (layer.height, layer.width))
    height, width = _get_known_sizes(build, layer, x)
    new_height = max(min(height, width * layer.height // layer.width), 1)
    new_width = max(min(width, height * layer.width // layer.height), 1)
    return _crop(build, x, (height, width), (new_height, new_width))


def _crop(build: GraphBuilder, x: Value, old: Sequence[int], new: Sequence[int]) -> Value:
    """Cut out a window in the middle."""
    before = [(n - m) // 2 for n, m in zip(old, new, strict=True)]
    after = [n - m - b for n, m, b in zip(old, new, before, strict=True)]
    return slice_last(build, x, list(zip(before, after, strict=True)))


def _pad_to_aspect(build: GraphBuilder, layer: Any, x: Value) -> Value:
    options = {"value": layer.fill_value} if layer.fill_value else {}
    if None in get_sizes(layer, x):
        return build.function(printed.pad_to_aspect, x, (layer.height, layer.width), **options)
    height, width = _get_known_sizes(build, layer, x)
    above = (max(height, width * layer.height // layer.width) - height) // 2
    left = (max(width, height * layer.width // layer.height) - width) // 2
    if not above and not left:
        return x
    return pad_sides(build, x, [(above, above), (left, left)], **options)
