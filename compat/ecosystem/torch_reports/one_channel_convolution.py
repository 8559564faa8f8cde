"""What oneDNN of torch 2.13 computes wrong on a CPU with AVX-512: one channel, one place wide.

    python compat/ecosystem/torch_reports/one_channel_convolution.py

Plain PyTorch only. In channels_last order a convolution of one channel, whose output is one place
wide and whose step along the width is above 1, reads what lies beside its input. The same numbers
in contiguous order are right, and so are processors without AVX-512 (ONEDNN_MAX_CPU_ISA=AVX2).
"""

from itertools import product

import torch
from torch import Tensor


def wrong(columns: int, step: int, *, channels_last: bool) -> bool:
    """Return whether the output differs from that in double precision."""
    kernel = (5, 3)
    x, weight = torch.randn(2, 1, 7, columns), torch.randn(2, 1, *kernel)
    if channels_last:
        x, weight = map(in_channels_last, (x, weight))
    found = torch.conv2d(x, weight, None, (1, step))
    expected = torch.conv2d(x.double(), weight.double(), None, (1, step))
    return not torch.allclose(found.double(), expected, rtol=1e-3, atol=1e-3)


def in_channels_last(x: Tensor) -> Tensor:
    """Return the same numbers with the strides that an NHWC tensor of one channel has."""
    _, channels, height, width = x.shape
    strides = (height * width * channels, 1, width * channels, channels)
    return torch.empty_strided(x.shape, strides).copy_(x)


def main() -> None:
    torch.manual_seed(0)
    print(torch.__version__, torch.backends.cpu.get_cpu_capability())
    cases = [case for case in product(range(3, 8), (1, 2, 3, 4)) for _ in range(20)]
    for channels_last in (True, False):
        count = sum(wrong(*case, channels_last=channels_last) for case in cases)
        order = "channels_last" if channels_last else "contiguous"
        print(f"{order}: {count} of {len(cases)} wrong")


if __name__ == "__main__":
    main()
