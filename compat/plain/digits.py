"""digits, written by kerastorch 0.1.0 from digits.keras.

Input x: (batch, 8, 8, 1) float32
Output: (batch, 10)

Left out, since a training loop adds it:
- kernel_regularizer L2(l2=0.0001) of conv1, conv2, conv3
- kernel_constraint MaxNorm(max_value=1.0) of conv1, conv2, conv3

In training, the running variance is unbiased as in PyTorch: n / (n - 1) of Keras's.
"""

from torch import nn
from torch.nn import functional as F


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16, eps=0.001, momentum=0.01)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2)
        self.conv3 = nn.Conv2d(32, 64, 3, stride=2)
        self.linear = nn.Linear(256, 10)  # the columns are in the order of flattened torch images

    def forward(self, x):
        x = x.permute(0, 3, 1, 2) * 0.0625
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        x = F.pad(x, (0, 1, 0, 1))  # Keras pads an odd rest at the end
        x = F.relu(self.conv2(x), inplace=True)
        x = F.pad(x, (0, 1, 0, 1))
        return self.linear(F.relu(self.conv3(x), inplace=True).flatten(1))
