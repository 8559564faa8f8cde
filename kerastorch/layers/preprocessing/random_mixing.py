"""Random erasing, mixing and chains of augmentations of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..._core.registry import keras_layer
from .augmentation import INTERPOLATION, Augmentation, check_seed, check_span

__all__ = ["AugMix", "CutMix", "MixUp", "RandAugment", "RandomErasing"]

Factor = float | Sequence[float]
Range = Sequence[float]


@keras_layer()
class RandomErasing(Augmentation):
    """Fills rectangles of images at random in training; see `RandomFlip`.

    Args:
        factor: The probability, or a pair of bounds of it.
        scale: The area, of the image's, or a pair of bounds.
        fill_value: The value of the rectangle; None for noise.
        value_range: The least and the largest value of a pixel.
        seed, data_format, **kwargs: As in `RandomFlip`.
    """

    _in_training = "RandomErasing"
    _casts_integers = True
    _checks: ClassVar = {
        "seed": check_seed,
        "factor": check_span(0, 1),
        "scale": check_span(0, 1),
    }

    def __init__(
        self,
        factor: Factor = 1.0,
        scale: Factor = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Range = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(factor=factor, scale=scale, fill_value=fill_value)
        self._assign(value_range=value_range, seed=seed)


@keras_layer()
class RandAugment(Augmentation):
    """Applies random augmentations in training; see `RandomFlip`.

    Args:
        value_range: The least and the largest value of a pixel.
        num_ops: How many augmentations are applied.
        factor: Their strength, from 0 to 1, or a pair of bounds.
        interpolation: "nearest" or "bilinear".
        seed, data_format, **kwargs: As in `RandomFlip`.
    """

    _in_training = "RandAugment"
    _casts_integers = True
    _checks: ClassVar = {
        "seed": check_seed,
        "factor": check_span(0, 1),
        "interpolation": INTERPOLATION,
    }

    def __init__(
        self,
        value_range: Range = (0, 255),
        num_ops: int = 2,
        factor: Factor = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(value_range=value_range, num_ops=num_ops, factor=factor)
        self._assign(interpolation=interpolation, seed=seed)


@keras_layer()
class AugMix(Augmentation):
    """Mixes chains of random augmentations in training; see `RandAugment`.

    Args:
        value_range, factor, interpolation, seed, data_format, **kwargs: As in `RandAugment`.
        num_chains: How many chains are mixed.
        chain_depth: How many augmentations a chain has.
        alpha: The concentration of the weights of the chains.
        all_ops: Whether the augmentations of brightness and the like are among them.
    """

    _in_training = "AugMix"
    _casts_integers = True
    _checks: ClassVar = RandAugment._checks

    def __init__(
        self,
        value_range: Range = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Factor = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(value_range=value_range, num_chains=num_chains, chain_depth=chain_depth)
        self._assign(factor=factor, alpha=alpha, all_ops=all_ops)
        self._assign(interpolation=interpolation, seed=seed)


@keras_layer()
class CutMix(Augmentation):
    """Pastes parts of images into others at random in training; see `RandomFlip`.

    Args:
        factor: The concentration of the areas, from 0 to 1, or a pair of bounds.
        seed, data_format, **kwargs: As in `RandomFlip`.
    """

    _in_training = "CutMix"
    _casts_integers = True
    _checks: ClassVar = {"seed": check_seed, "factor": check_span(0, 1)}

    def __init__(
        self,
        factor: Factor = 1.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(factor=factor, seed=seed)


@keras_layer()
class MixUp(Augmentation):
    """Mixes images with others at random in training; see `RandomFlip`.

    Integers are kept in their dtype.

    Args:
        alpha: The concentration of the weights.
        data_format, seed, **kwargs: As in `RandomFlip`.
    """

    _in_training = "MixUp"
    _checks: ClassVar = {"seed": check_seed}

    def __init__(
        self,
        alpha: float = 0.2,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self._assign(alpha=alpha, seed=seed)
