"""What inductor of torch 2.13 cannot compile: training a convolution of NHWC images of any size.

    python compat/ecosystem/torch_reports/permuted_convolution.py

Plain PyTorch only. The backward graph takes the permuted input in, and inductor orders its strides,
products of sizes that it knows no more than the names of: "cannot determine truth value of
Relational". The same compiles for fixed sizes, without gradients, for NCHW images, and with a
padding between the permutation and the convolution.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def nhwc(images: Tensor, weight: Tensor) -> Tensor:
    return torch.conv2d(images.permute(0, 3, 1, 2), weight)


def nhwc_padded(images: Tensor, weight: Tensor) -> Tensor:
    return torch.conv2d(F.pad(images.permute(0, 3, 1, 2), (1, 1, 1, 1)), weight)


def nchw(images: Tensor, weight: Tensor) -> Tensor:
    return torch.conv2d(images, weight)


def train(
    function: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...], *, dynamic: bool = True
) -> None:
    """Compile a function, and compare the gradient of its weight with that without compiling."""
    torch.compiler.reset()
    images, weight = torch.rand(shape), torch.rand(5, 4, 3, 2, requires_grad=True)
    compiled = torch.compile(function, dynamic=dynamic, fullgraph=True)
    found, expected = (
        torch.autograd.grad(run(images, weight).square().sum(), weight)
        for run in (compiled, function)
    )
    torch.testing.assert_close(found, expected)


if __name__ == "__main__":
    print(torch.__version__)
    train(nhwc, (2, 9, 12, 4))
    print("compiled: torch has mended it")
