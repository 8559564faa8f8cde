"""resnet50, written by kerastorch 0.1.0 from ResNet50.keras.

Input x: (batch, 224, 224, 3) float32
Output: (batch, 1000)

In training, the running variance is unbiased as in PyTorch: n / (n - 1) of Keras's.
"""

from torch import nn
from torch.nn import functional as F


class ProjectionBlock(nn.Module):
    """conv2_block1, conv3_block1, conv4_block1 and conv5_block1 in Keras."""

    def __init__(self, channels, width, stride=1):
        super().__init__()
        self.conv0 = nn.Conv2d(channels, 4 * width, 1, stride=stride)
        self.bn0 = nn.BatchNorm2d(4 * width, eps=1.001e-05, momentum=0.01)
        self.conv1 = nn.Conv2d(channels, width, 1, stride=stride)
        self.bn1 = nn.BatchNorm2d(width, eps=1.001e-05, momentum=0.01)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width, eps=1.001e-05, momentum=0.01)
        self.conv3 = nn.Conv2d(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width, eps=1.001e-05, momentum=0.01)

    def forward(self, x):
        shortcut = self.bn0(self.conv0(x))
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return F.relu(shortcut + self.bn3(self.conv3(x)), inplace=True)


class ResidualBlock(nn.Module):
    """conv2_block2, conv2_block3, conv3_block2, conv3_block3, conv3_block4, ... in Keras."""

    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(4 * width, width, 1)
        self.bn1 = nn.BatchNorm2d(width, eps=1.001e-05, momentum=0.01)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width, eps=1.001e-05, momentum=0.01)
        self.conv3 = nn.Conv2d(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width, eps=1.001e-05, momentum=0.01)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(x + self.bn3(self.conv3(y)), inplace=True)


class Resnet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1_conv = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.conv1_bn = nn.BatchNorm2d(64, eps=1.001e-05, momentum=0.01)
        self.conv2 = nn.Sequential(
            ProjectionBlock(64, 64),
            ResidualBlock(64),
            ResidualBlock(64),
        )
        self.conv3 = nn.Sequential(
            ProjectionBlock(256, 128, stride=2),
            *(ResidualBlock(128) for _ in range(3)),
        )
        self.conv4 = nn.Sequential(
            ProjectionBlock(512, 256, stride=2),
            *(ResidualBlock(256) for _ in range(5)),
        )
        self.conv5 = nn.Sequential(
            ProjectionBlock(1024, 512, stride=2),
            ResidualBlock(512),
            ResidualBlock(512),
        )
        self.predictions = nn.Linear(2048, 1000)

    def forward(self, x):
        x = x.permute(0, 3, 1, 2)
        x = F.relu(self.conv1_bn(self.conv1_conv(x)), inplace=True)
        # Keras pads zeros: the same, since nothing is below 0
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.conv2(x)
        x = self.conv3(x)
        x = self.conv4(x)
        x = self.conv5(x)
        return self.predictions(x.mean((2, 3)))
