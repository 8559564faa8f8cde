"""MobileNetV2, EfficientNetB0 and Xception as one writes them in plain PyTorch.

As in `native.py`: for NHWC data, in channels_last memory, with everything in place that may be.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .native import Native

# (filters, stride, repeats) of the blocks of MobileNetV2; the first does not expand
INVERTED = [(16, 1, 1), (24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3), (320, 1, 1)]
# (filters, kernel, stride, repeats) of EfficientNetB0
MOBILE = [
    *[(16, 3, 1, 1), (24, 3, 2, 2), (40, 5, 2, 2), (80, 3, 2, 3)],
    *[(112, 5, 1, 3), (192, 5, 2, 4), (320, 3, 1, 1)],
]


def norm(channels: int, momentum: float = 0.01) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, 1e-3, momentum)


def convolve(inputs: int, outputs: int, size: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, bias=False)


class Depthwise(nn.Conv2d):
    """A depthwise convolution, padded for even sizes as Keras's applications pad."""

    def __init__(self, channels: int, size: int, stride: int) -> None:
        padding = 0 if stride == 2 else size // 2
        super().__init__(channels, channels, size, stride, padding, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            after = self.kernel_size[0] // 2
            x = F.pad(x, (after - 1, after, after - 1, after))
        return super().forward(x)


class Inverted(nn.Module):
    """A block of MobileNetV2."""

    def __init__(self, inputs: int, filters: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * inputs
        self.summed = stride == 1 and inputs == filters
        self.expand = convolve(inputs, inner) if expansion > 1 else None
        self.expand_bn = norm(inner, 0.001) if expansion > 1 else None
        self.depthwise, self.depthwise_bn = Depthwise(inner, 3, stride), norm(inner, 0.001)
        self.project, self.project_bn = convolve(inner, filters), norm(filters, 0.001)

    def named_layers(self, prefix: str) -> dict[str, nn.Module]:
        found = {
            "expand": self.expand,
            "expand_BN": self.expand_bn,
            "depthwise": self.depthwise,
            "depthwise_BN": self.depthwise_bn,
            "project": self.project,
            "project_BN": self.project_bn,
        }
        return {f"{prefix}_{name}": layer for name, layer in found.items() if layer is not None}

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.expand is not None:
            y = F.relu6(self.expand_bn(self.expand(y)), inplace=True)
        y = F.relu6(self.depthwise_bn(self.depthwise(y)), inplace=True)
        y = self.project_bn(self.project(y))
        if self.summed:
            y += x
        return y


class MobileNetV2(Native):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.bn = convolve(3, 32, 3, 2), norm(32, 0.001)
        self.layers = {"Conv1": self.conv, "bn_Conv1": self.bn}
        self.blocks, channels = nn.Sequential(), 32
        for filters, stride, repeats in INVERTED:
            for repeat in range(repeats):
                number, first = len(self.blocks), repeat == 0
                block = Inverted(channels, filters, stride if first else 1, 6 if number else 1)
                self.blocks.append(block)
                prefix = f"block_{number}" if number else "expanded_conv"
                self.layers.update(block.named_layers(prefix))
                channels = filters
        self.last, self.last_bn = convolve(channels, 1280), norm(1280, 0.001)
        self.top = nn.Linear(1280, classes)
        self.layers.update(Conv_1=self.last, Conv_1_bn=self.last_bn, predictions=self.top)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.pad(inputs.permute(0, 3, 1, 2), (0, 1, 0, 1))
        x = self.blocks(F.relu6(self.bn(self.conv(x)), inplace=True))
        x = F.relu6(self.last_bn(self.last(x)), inplace=True)
        return self.top(x.mean((2, 3)))


def silu(x: Tensor) -> Tensor:
    return F.silu(x, inplace=not torch.is_grad_enabled())


class Excited(nn.Module):
    """A block of EfficientNet: inverted, with squeeze and excitation."""

    def __init__(self, inputs: int, filters: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * inputs
        self.summed = stride == 1 and inputs == filters
        self.expand = convolve(inputs, inner) if expansion > 1 else None
        self.expand_bn = norm(inner) if expansion > 1 else None
        self.depthwise, self.bn = Depthwise(inner, size, stride), norm(inner)
        squeezed = max(1, inputs // 4)
        self.reduce, self.widen = nn.Conv2d(inner, squeezed, 1), nn.Conv2d(squeezed, inner, 1)
        self.project, self.project_bn = convolve(inner, filters), norm(filters)

    def named_layers(self, prefix: str) -> dict[str, nn.Module]:
        found = {
            "expand_conv": self.expand,
            "expand_bn": self.expand_bn,
            "dwconv": self.depthwise,
            "bn": self.bn,
            "se_reduce": self.reduce,
            "se_expand": self.widen,
            "project_conv": self.project,
            "project_bn": self.project_bn,
        }
        return {f"{prefix}_{name}": layer for name, layer in found.items() if layer is not None}

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else silu(self.expand_bn(self.expand(x)))
        y = silu(self.bn(self.depthwise(y)))
        scale = torch.sigmoid(self.widen(silu(self.reduce(y.mean((2, 3), keepdim=True)))))
        y = y * scale if torch.is_grad_enabled() else y.mul_(scale)
        y = self.project_bn(self.project(y))
        if self.summed:
            y += x
        return y


class Standardized(nn.Module):
    """An image of bytes without the mean and the deviation of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("variance", torch.ones(3))

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs / 255.0).sub_(self.mean).div_(self.variance.sqrt())


class EfficientNetB0(Native):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.standard = Standardized()
        self.conv, self.bn = convolve(3, 32, 3, 2), norm(32)
        self.layers = {"normalization": self.standard, "stem_conv": self.conv, "stem_bn": self.bn}
        self.blocks, channels = nn.Sequential(), 32
        for stage, (filters, size, stride, repeats) in enumerate(MOBILE, 1):
            for repeat in range(repeats):
                expansion = 6 if stage > 1 else 1
                block = Excited(channels, filters, size, 1 if repeat else stride, expansion)
                self.blocks.append(block)
                self.layers.update(block.named_layers(f"block{stage}{'abcd'[repeat]}"))
                channels = filters
        self.last, self.last_bn = convolve(channels, 1280), norm(1280)
        self.top = nn.Linear(1280, classes)
        self.layers.update(top_conv=self.last, top_bn=self.last_bn, predictions=self.top)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.pad(self.standard(inputs).permute(0, 3, 1, 2), (0, 1, 0, 1))
        x = self.blocks(silu(self.bn(self.conv(x))))
        return self.top(silu(self.last_bn(self.last(x))).mean((2, 3)))


class Separable(nn.Sequential):
    """A depthwise and a 1x1 convolution, and batch normalization."""

    def __init__(self, inputs: int, filters: int) -> None:
        depthwise = nn.Conv2d(inputs, inputs, 3, 1, 1, groups=inputs, bias=False)
        super().__init__(depthwise, convolve(inputs, filters), norm(filters))


class Residual(nn.Module):
    """A block of Xception that halves the sizes."""

    def __init__(self, inputs: int, inner: int, filters: int, active: bool) -> None:
        super().__init__()
        self.shortcut, self.bn = convolve(inputs, filters, 1, 2), norm(filters)
        self.first, self.second = Separable(inputs, inner), Separable(inner, filters)
        self.active = active  # whether an activation comes first

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(x) if self.active else x
        y = self.second(torch.relu_(self.first(y)))
        if y.shape[-1] % 2:
            y = F.max_pool2d(y, 3, 2, 1)
        else:
            y = F.max_pool2d(F.pad(y, (0, 1, 0, 1), value=-torch.inf), 3, 2)
        y += self.bn(self.shortcut(x))
        return y


class Middle(nn.Module):
    """A block of Xception that keeps the sizes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Separable(channels, channels) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.parts[0](torch.relu(x))
        for part in self.parts[1:]:
            y = part(torch.relu_(y))
        y += x
        return y


class Xception(Native):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolve(3, 32, 3, 2), norm(32)
        self.conv2, self.bn2 = convolve(32, 64, 3), norm(64)
        self.entry = nn.Sequential(
            Residual(64, 128, 128, active=False),
            Residual(128, 256, 256, active=True),
            Residual(256, 728, 728, active=True),
        )
        self.middle = nn.Sequential(*(Middle(728) for _ in range(8)))
        self.exit = Residual(728, 728, 1024, active=True)
        self.last1, self.last2 = Separable(1024, 1536), Separable(1536, 2048)
        self.top = nn.Linear(2048, classes)
        self.layers = {
            "block1_conv1": self.conv1,
            "block1_conv1_bn": self.bn1,
            "block1_conv2": self.conv2,
            "block1_conv2_bn": self.bn2,
            "predictions": self.top,
        }
        for number, block in enumerate((*self.entry, self.exit)):
            suffix = f"_{number}" if number else ""
            self.layers[f"conv2d{suffix}"] = block.shortcut
            self.layers[f"batch_normalization{suffix}"] = block.bn
            self.add_separable(number + 2 if number < 3 else 13, block.first, block.second)
        for number, block in enumerate(self.middle, 5):
            self.add_separable(number, *block.parts)
        self.add_separable(14, self.last1, self.last2)

    def add_separable(self, block: int, *parts: Separable) -> None:
        for number, (depthwise, pointwise, norm) in enumerate(parts, 1):
            name = f"block{block}_sepconv{number}"
            self.layers[name] = nn.ModuleDict({"depthwise": depthwise, "pointwise": pointwise})
            self.layers[f"{name}_bn"] = norm

    def forward(self, inputs: Tensor) -> Tensor:
        x = torch.relu_(self.bn1(self.conv1(inputs.permute(0, 3, 1, 2))))
        x = self.entry(torch.relu_(self.bn2(self.conv2(x))))
        x = self.exit(self.middle(x))
        x = torch.relu_(self.last2(torch.relu_(self.last1(x))))
        return self.top(x.mean((2, 3)))
