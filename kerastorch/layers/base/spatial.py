"""Spatial: the base of the layers without weights over spatial axes, in either data format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from ... import config
from ..._core import arguments as arguments_module
from ..._core.arguments import choice
from ..._core.layout import CHANNELS_FIRST, CHANNELS_LAST
from .stateless import Weightless
from .weights import Sizes

_NOT_SHOWN = ("name", "autocast", "activity_regularizer")


class Spatial(Weightless):
    """A layer without weights over `rank` spatial axes, in either data format."""

    rank: ClassVar[int]
    data_format: str

    @property
    def _first_axis(self) -> int:
        """The first spatial axis."""
        return 1 if self.data_format == "channels_last" else 2

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    @property
    def input_rank(self) -> int:  # type: ignore[override]
        """The rank of the input."""
        return self.rank + 2

    def _prepare_input(self, inputs: Any) -> Tensor:
        x: Tensor = super()._prepare_input(inputs)
        if x.ndim != self.rank + 2:
            rule, layout = f"of {self.rank + 2} dimensions", self.data_format
            self._refuse("inputs", rule, tuple(x.shape), data_format=layout)
        return x

    def _split(self, shape: Sequence[int | None]) -> tuple[Sizes, Sizes, Sizes]:
        """Split a shape into the parts before, in and after the spatial axes."""
        first, last = self._first_axis, self._first_axis + self.rank
        return tuple(shape[:first]), tuple(shape[first:last]), tuple(shape[last:])

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Sizes:
        """Return the output shape for an input shape, batch included; unknown sizes are None."""
        owner, layout = type(self).__name__, self.data_format
        shape = arguments_module.shape(
            owner, "input_shape", input_shape, self.rank + 2, data_format=layout
        )
        before, sizes, after = self._split(shape)
        return (*before, *self._new_sizes("input_shape", shape, sizes), *after)

    def _new_sizes(self, argument: str, shape: Sizes, sizes: Sizes) -> Sizes:
        """Return the output's spatial sizes for an input's, or raise if the input is too small.

        The error names `argument` and shows the complete `shape`.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the layer's own arguments."""
        shown = [n for n in type(self).arguments() if n in vars(self) and n not in _NOT_SHOWN]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)


class SpatialChannelsFirst(Spatial):
    """A spatial layer that computes with the channels as axis 1."""

    compute_layout = "channels_first"

    @property
    def _orders(self) -> tuple[Any, Any] | None:  # type: ignore[override]
        rank = self.rank
        return (CHANNELS_FIRST[rank], CHANNELS_LAST[rank]) if self._channel_axis == -1 else None


def data_format_of(owner: str, data_format: Any) -> str:
    """Return an argument `data_format` in lower case; for None, that of `config`."""
    given = config.image_data_format() if data_format is None else data_format
    return choice(owner, "data_format", given, ("channels_last", "channels_first"))
