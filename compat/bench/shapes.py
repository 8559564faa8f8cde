"""The convolutions of four networks at 224 x 224, each distinct shape once per network.

EfficientNet-B0 has more shapes in common with MobileNetV2 than of its own; these are listed under
MobileNetV2 only. Where a Keras model pads with `correct_pad` before a strided "valid" convolution,
the shape says "same" with the unpadded size, which is the same arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    size: int
    channels: int
    filters: int
    kernel: int
    stride: int = 1
    groups: int = 1
    padding: str = "same"

    def __str__(self) -> str:
        groups = " depthwise" if self.groups > 1 else ""
        padding = " valid" if self.padding == "valid" else ""
        window = f"k{self.kernel} s{self.stride}{groups}{padding}"
        return f"{self.size}x{self.size}x{self.channels}->{self.filters} {window}"

    @property
    def output_size(self) -> int:
        unpadded = self.size if self.padding == "same" else self.size - self.kernel + 1
        return -(-unpadded // self.stride)

    @property
    def pads(self) -> tuple[int, int]:
        """Zeros before and after each spatial axis, as TensorFlow places them."""
        if self.padding == "valid":
            return 0, 0
        total = max((self.output_size - 1) * self.stride + self.kernel - self.size, 0)
        return total // 2, total - total // 2


def _depthwise(size: int, channels: int, kernel: int, stride: int = 1) -> Shape:
    return Shape(size, channels, channels, kernel, stride, groups=channels)


TINY = Shape(8, 3, 8, 3)

NETWORKS: dict[str, tuple[Shape, ...]] = {
    "ResNet-50": (
        Shape(230, 3, 64, 7, 2, padding="valid"),
        Shape(56, 64, 64, 1),
        Shape(56, 64, 64, 3),
        Shape(56, 64, 256, 1),
        Shape(56, 256, 64, 1),
        Shape(56, 256, 128, 1, 2, padding="valid"),
        Shape(56, 256, 512, 1, 2, padding="valid"),
        Shape(28, 128, 128, 3),
        Shape(28, 128, 512, 1),
        Shape(28, 512, 128, 1),
        Shape(28, 512, 256, 1, 2, padding="valid"),
        Shape(28, 512, 1024, 1, 2, padding="valid"),
        Shape(14, 256, 256, 3),
        Shape(14, 256, 1024, 1),
        Shape(14, 1024, 256, 1),
        Shape(14, 1024, 512, 1, 2, padding="valid"),
        Shape(14, 1024, 2048, 1, 2, padding="valid"),
        Shape(7, 512, 512, 3),
        Shape(7, 512, 2048, 1),
        Shape(7, 2048, 512, 1),
    ),
    "VGG-16": (
        Shape(224, 3, 64, 3),
        Shape(224, 64, 64, 3),
        Shape(112, 64, 128, 3),
        Shape(112, 128, 128, 3),
        Shape(56, 128, 256, 3),
        Shape(56, 256, 256, 3),
        Shape(28, 256, 512, 3),
        Shape(28, 512, 512, 3),
        Shape(14, 512, 512, 3),
    ),
    "MobileNetV2": (
        Shape(224, 3, 32, 3, 2),
        _depthwise(112, 32, 3),
        Shape(112, 32, 16, 1),
        Shape(112, 16, 96, 1),
        _depthwise(112, 96, 3, 2),
        Shape(56, 96, 24, 1),
        Shape(56, 24, 144, 1),
        _depthwise(56, 144, 3),
        _depthwise(56, 144, 3, 2),
        Shape(28, 144, 32, 1),
        Shape(28, 32, 192, 1),
        _depthwise(28, 192, 3),
        _depthwise(28, 192, 3, 2),
        Shape(14, 384, 64, 1),
        Shape(14, 64, 384, 1),
        _depthwise(14, 384, 3),
        _depthwise(14, 576, 3, 2),
        Shape(7, 960, 160, 1),
        Shape(7, 160, 960, 1),
        _depthwise(7, 960, 3),
        Shape(7, 320, 1280, 1),
    ),
    "EfficientNet-B0": (
        _depthwise(56, 144, 5, 2),
        Shape(28, 144, 40, 1),
        Shape(28, 40, 240, 1),
        _depthwise(28, 240, 5),
        _depthwise(28, 240, 3, 2),
        Shape(14, 480, 80, 1),
        Shape(14, 80, 480, 1),
        _depthwise(14, 480, 5),
        _depthwise(14, 672, 5),
        _depthwise(14, 672, 5, 2),
        Shape(7, 1152, 192, 1),
        Shape(7, 192, 1152, 1),
        _depthwise(7, 1152, 5),
        Shape(1, 240, 10, 1),
        Shape(1, 10, 240, 1),
    ),
}
