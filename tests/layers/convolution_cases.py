"""Tables of valid layers. No row is square in anything, so that swapped axes show.

Each row carries its wrong inputs too: shapes that the layer, built for the row's own, refuses.
"""

from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    name: str
    arguments: dict[str, Any]
    channels: int
    sizes: tuple[Shape, ...]  # of the spatial axes, changing from call to call
    wrong: tuple[Shape, ...]

    @property
    def channels_first(self) -> bool:
        return self.arguments.get("data_format") == "channels_first"

    @property
    def shapes(self) -> list[Shape]:
        if self.channels_first:
            return [(2, self.channels, *size) for size in self.sizes]
        return [(2, *size, self.channels) for size in self.sizes]

    @property
    def geometry(self) -> dict[str, Any]:
        """The arguments of `oracle.convolve` that say the same."""
        given = self.arguments
        return {
            "strides": given.get("strides", (1, 1)),
            "padding": given.get("padding", "valid"),
            "dilation": given.get("dilation_rate", (1, 1)),
            "groups": given.get("groups", 1),
        }


def _case(name, channels, sizes, wrong, filters, kernel_size, **arguments) -> Case:
    arguments = {"filters": filters, "kernel_size": kernel_size, **arguments}
    return Case(name, arguments, channels, sizes, wrong)


FIRST = {"data_format": "channels_first"}
SAME = {"padding": "same"}
# name, channels, sizes, wrong inputs, filters, kernel, ...
CONV2D = [
    _case("valid", 3, ((7, 5), (4, 9)), ((2, 7, 5, 4), (2, 1, 5, 3)), 5, (2, 3)),
    _case("no-bias", 3, ((7, 5), (4, 9)), ((2, 3, 7, 5), (2, 7, 2, 3)), 4, (2, 3), use_bias=False),
    _case("one-channel", 1, ((5, 4), (3, 8)), ((2, 5, 4, 2), (5, 4, 1)), 1, (3, 1)),
    _case("whole-input", 2, ((4, 3), (4, 3)), ((2, 3, 4, 2), (2, 4, 3, 3)), 3, (4, 3)),
    _case("pointwise", 3, ((4, 6), (1, 5)), ((2, 4, 6, 1), (2, 4, 6)), 5, (1, 1)),
    _case("strided", 2, ((8, 7), (5, 9)), ((2, 8, 7, 1), (2, 2, 7, 2)), 3, (3, 2), strides=(2, 3)),
    _case("dilated", 2, ((5, 8), (6, 7)), ((2, 5, 4, 2), (2, 5, 8, 3)), 3, (2, 3),
          dilation_rate=(1, 2)),
    _case("dilated-high", 2, ((9, 4), (7, 6)), ((2, 6, 4, 2), (9, 4, 2)), 3, (3, 2),
          dilation_rate=(3, 1)),
    _case("grouped", 4, ((5, 6), (7, 4)), ((2, 5, 6, 2), (2, 5, 6, 8)), 6, (2, 3), groups=2),
    _case("depthwise", 3, ((5, 6), (7, 4)), ((2, 5, 6, 1), (2, 5, 6, 6)), 6, (3, 2), groups=3),
    _case("same-odd", 3, ((5, 7), (2, 4)), ((2, 5, 7, 2), (2, 0, 7, 3)), 4, (3, 5), **SAME),
    _case("same-even", 3, ((5, 7), (1, 6)), ((2, 5, 7, 4), (5, 7, 3)), 4, (2, 4), **SAME),
    _case("same-mixed", 2, ((5, 7), (6, 3)), ((2, 5, 7, 1), (2, 5, 0, 2)), 4, (3, 2), **SAME),
    _case("same-wide", 2, ((3, 2), (2, 4)), ((2, 3, 2, 3), (2, 1, 3, 2, 2)), 3, (5, 8), **SAME),
    _case("same-pointwise-strided", 3, ((7, 5), (6, 9)), ((2, 7, 5, 2), (7, 5, 3)), 4, (1, 1),
          strides=(2, 3), **SAME),
    _case("same-strided", 2, ((7, 8), (6, 9)), ((2, 7, 8, 3), (2, 0, 8, 2)), 3, (3, 4),
          strides=(2, 3), **SAME),
    _case("same-skipping", 2, ((8, 9), (7, 11)), ((2, 8, 9, 1), (8, 9, 2)), 3, (1, 2),
          strides=(3, 4), **SAME),
    _case("same-dilated", 2, ((5, 9), (7, 4)), ((2, 5, 9, 3), (2, 2, 5, 9)), 3, (2, 3),
          dilation_rate=(3, 1), **SAME),
    _case("same-dilated-odd", 2, ((5, 9), (7, 4)), ((2, 5, 9, 3), (5, 9, 2)), 3, (3, 5),
          dilation_rate=(1, 2), **SAME),
    _case("same-grouped", 4, ((5, 6), (8, 3)), ((2, 5, 6, 2), (2, 5, 6, 3)), 6, (2, 4), groups=2,
          **SAME),
    _case("same-grouped-strided", 4, ((6, 7), (9, 8)), ((2, 6, 7, 2), (2, 4, 6, 7)), 6, (3, 2),
          groups=2, strides=(2, 3), **SAME),
    _case("same-grouped-dilated", 4, ((5, 6), (8, 3)), ((2, 5, 6, 2), (5, 6, 4)), 2, (2, 3),
          groups=2, dilation_rate=(3, 1), **SAME),
    _case("same-depthwise-strided", 3, ((6, 9), (8, 4)), ((2, 6, 9, 1), (2, 3, 6, 9)), 6, (3, 3),
          groups=3, strides=(2, 1), **SAME),
    _case("first-valid", 3, ((7, 5), (4, 9)), ((2, 7, 5, 3), (2, 3, 1, 5)), 5, (2, 3), **FIRST),
    _case("first-strided", 2, ((8, 7), (5, 9)), ((2, 8, 7, 2), (2, 2, 2, 7)), 3, (3, 2),
          strides=(2, 3), **FIRST),
    _case("first-dilated", 2, ((5, 8), (6, 7)), ((2, 2, 5, 4), (2, 3, 5, 8)), 3, (2, 3),
          dilation_rate=(1, 2), **FIRST),
    _case("first-same-even", 3, ((5, 7), (1, 6)), ((2, 5, 7, 3), (3, 5, 7)), 4, (2, 4), **FIRST,
          **SAME),
    _case("first-same-grouped-strided", 4, ((6, 7), (9, 8)), ((2, 2, 6, 7), (2, 6, 7, 4)), 6,
          (3, 2), groups=2, strides=(2, 3), **FIRST, **SAME),
]  # fmt: skip
