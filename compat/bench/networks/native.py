"""ResNet50, DenseNet121 and a network like MobileNet as one writes them in plain PyTorch.

For NHWC data of any size, in channels_last memory, with everything in place that may be. `layers`
has the layers by their names in Keras, whose `state_dict`s have the same keys as kerastorch's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1.001e-5
MOMENTUM = 0.01  # PyTorch's is the share of the new, Keras's 0.99 that of the old


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, EPSILON, MOMENTUM)


class Native(nn.Module):
    """A network whose layers are known by their names in Keras."""

    layers: dict[str, nn.Module]

    def take(self, model: nn.Module) -> None:
        """Copy the weights of the same network in kerastorch."""
        theirs = dict(model.named_children())
        for name, layer in self.layers.items():
            weights = theirs[name].state_dict()  # two convolutions where ours is separable
            weights = {key.replace("_weight", ".weight"): value for key, value in weights.items()}
            layer.load_state_dict(weights, strict=False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, filters: int, stride: int, with_shortcut: bool) -> None:
        super().__init__()
        outputs = 4 * filters
        self.conv1, self.bn1 = nn.Conv2d(inputs, filters, 1, stride), norm(filters)
        self.conv2, self.bn2 = nn.Conv2d(filters, filters, 3, 1, 1), norm(filters)
        self.conv3, self.bn3 = nn.Conv2d(filters, outputs, 1), norm(outputs)
        self.with_shortcut = with_shortcut
        if with_shortcut:
            self.conv0, self.bn0 = nn.Conv2d(inputs, outputs, 1, stride), norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.bn0(self.conv0(x)) if self.with_shortcut else x
        y = torch.relu_(self.bn1(self.conv1(x)))
        y = torch.relu_(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += shortcut
        return torch.relu_(y)


class ResNet50(Native):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 64, 7, 2, 3), norm(64)
        self.layers = {"conv1_conv": self.conv, "conv1_bn": self.bn}
        self.blocks = nn.Sequential()
        channels = 64
        for stage, (filters, count) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
            for number in range(1, count + 1):
                first = number == 1
                block = Bottleneck(channels, filters, 2 if first and stage > 2 else 1, first)
                self.blocks.append(block)
                channels = 4 * filters
                for kind in ("conv", "bn"):
                    for place in range(0 if first else 1, 4):
                        name = f"conv{stage}_block{number}_{place}_{kind}"
                        self.layers[name] = getattr(block, f"{kind}{place}")
        self.top = nn.Linear(channels, classes)
        self.layers["predictions"] = self.top

    def forward(self, inputs: Tensor) -> Tensor:
        x = torch.relu_(self.bn(self.conv(inputs.permute(0, 3, 1, 2))))
        x = self.blocks(F.max_pool2d(x, 3, 2, 1))  # nothing is below the zeros that Keras pads
        return self.top(x.mean((2, 3)))


class Dense(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn0, self.conv1 = norm(channels), nn.Conv2d(channels, 128, 1, bias=False)
        self.bn1, self.conv2 = norm(128), nn.Conv2d(128, 32, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(torch.relu_(self.bn0(x)))
        return torch.cat((x, self.conv2(torch.relu_(self.bn1(y)))), 1)


class Transition(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn, self.conv = norm(channels), nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(torch.relu_(self.bn(x))), 2)


class DenseNet121(Native):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 64, 7, 2, 3, bias=False), norm(64)
        self.layers = {"conv1_conv": self.conv, "conv1_bn": self.bn}
        self.blocks = nn.Sequential()
        channels = 64
        for stage, count in enumerate((6, 12, 24, 16), 2):
            for number in range(1, count + 1):
                block = Dense(channels)
                self.blocks.append(block)
                channels += 32
                for part in ("0_bn", "1_conv", "1_bn", "2_conv"):
                    place, kind = part.split("_")
                    name = f"conv{stage}_block{number}_{part}"
                    self.layers[name] = getattr(block, f"{kind}{place}")
            if stage < 5:
                transition = Transition(channels)
                self.blocks.append(transition)
                self.layers[f"pool{stage}_bn"] = transition.bn
                self.layers[f"pool{stage}_conv"] = transition.conv
                channels //= 2
        self.last_bn, self.top = norm(channels), nn.Linear(channels, classes)
        self.layers.update(bn=self.last_bn, predictions=self.top)

    def forward(self, inputs: Tensor) -> Tensor:
        x = torch.relu_(self.bn(self.conv(inputs.permute(0, 3, 1, 2))))
        x = torch.relu_(self.last_bn(self.blocks(F.max_pool2d(x, 3, 2, 1))))
        return self.top(x.mean((2, 3)))


# (filters, stride) of the blocks of the network like MobileNet
BLOCKS = [
    *[(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)],
    *[(512, 1)] * 5,
    *[(1024, 2), (1024, 1)],
]


class Separable(nn.Module):
    """A grouped 3x3 and a 1x1 convolution, and the sum with the input where it has their shape."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()
        padding = 0 if stride == 2 else 1
        self.conv0 = nn.Conv2d(inputs, inputs, 3, stride, padding, groups=inputs, bias=False)
        self.conv1 = nn.Conv2d(inputs, filters, 1, bias=False)
        self.bn0, self.bn1 = norm(inputs), norm(filters)
        self.strided, self.summed = stride == 2, stride == 1 and inputs == filters

    def forward(self, x: Tensor) -> Tensor:
        y = F.pad(x, (0, 1, 0, 1)) if self.strided else x
        y = F.relu6(self.bn0(self.conv0(y)), inplace=True)
        y = self.bn1(self.conv1(y))
        if self.summed:
            y += x
        return y


class MobileNet(Native):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 32, 3, 2, bias=False), norm(32)
        self.layers = {"stem_conv": self.conv, "stem_bn": self.bn}
        self.blocks, channels = nn.Sequential(), 32
        for number, (filters, stride) in enumerate(BLOCKS):
            block = Separable(channels, filters, stride)
            self.blocks.append(block)
            channels = filters
            for part in ("conv0", "bn0", "conv1", "bn1"):
                self.layers[f"block{number}_{part}"] = getattr(block, part)
        self.top = nn.Linear(channels, classes)
        self.layers["predictions"] = self.top

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.pad(inputs.permute(0, 3, 1, 2), (0, 1, 0, 1))
        x = F.relu6(self.blocks(F.relu6(self.bn(self.conv(x)), inplace=True)), inplace=True)
        return self.top(x.mean((2, 3)))
