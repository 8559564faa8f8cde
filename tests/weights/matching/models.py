"""Models that differ from the source of their weights in a part."""

from itertools import pairwise

import numpy as np
from torch import nn

from tests.models.configs import dense, input_layer, layer, sequential


def array(*shape, start=1):
    return np.arange(start, start + np.prod(shape), dtype="f4").reshape(shape)


def conv(name, filters, size=3, **config):
    return layer("Conv2D", name, filters=filters, kernel_size=size, padding="same", **config)


CONFIG = sequential(
    input_layer("x", (None, 4, 4, 2)),
    conv("conv1", 3),
    layer("Flatten", "flat"),
    dense("head", units=10),
)
ARRAYS = {
    "conv1": {"kernel": array(3, 3, 2, 3), "bias": array(3)},
    "head": {"kernel": array(48, 10), "bias": array(10)},
}
TREE = {
    "layers/conv2d/vars/0": ARRAYS["conv1"]["kernel"],
    "layers/conv2d/vars/1": ARRAYS["conv1"]["bias"],
    "layers/dense/vars/0": ARRAYS["head"]["kernel"],
    "layers/dense/vars/1": ARRAYS["head"]["bias"],
}


class Net(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding="same")
        self.head = head


def chain(*sizes):
    config = sequential(
        input_layer("x", (None, sizes[0])),
        *(dense(f"d{n}", units=units) for n, units in enumerate(sizes[1:])),
    )
    arrays = {
        f"d{n}": {"kernel": array(*pair, start=n), "bias": array(pair[1], start=n)}
        for n, pair in enumerate(pairwise(sizes))
    }
    return config, arrays


class Pair(nn.Module):
    """Modules by names that the source does not have, in the order of the arguments."""

    def __init__(self, *modules):
        super().__init__()
        for name, module in zip("pqrstu", modules, strict=False):
            setattr(self, name, module)
