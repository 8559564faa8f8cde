"""The sum of all squares at once beside one after the other."""

import pytest
import torch

from kerastorch._core.layout import empty_weight
from kerastorch._ops.l2_penalty import sum_of_squares

FACTORS = (0.1, 0.7, 0.01)


def tensors(dtype=torch.float64):
    matrix, bias = torch.randn(300, 7, dtype=dtype), torch.randn(3, dtype=dtype)
    return [empty_weight((5, 3, 2, 4), dtype=dtype).normal_(), matrix, bias]


def plain(*given):
    return sum(f * x.square().sum() for f, x in zip(FACTORS, given, strict=False))


def ours(*given):
    return sum_of_squares(FACTORS[: len(given)], given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_value_and_gradients(dtype, device):
    given = [x.to(device).requires_grad_() for x in tensors(dtype)]
    torch.testing.assert_close(ours(*given), plain(*given))
    gradients = torch.autograd.grad(3 * ours(*given), given)
    torch.testing.assert_close(gradients, torch.autograd.grad(3 * plain(*given), given))
    assert [g.stride() for g in gradients] == [x.stride() for x in given]


@pytest.mark.filterwarnings("ignore:.*jit.script:DeprecationWarning")  # within torch itself
def test_every_order_and_mode():
    given = [x.requires_grad_() for x in (torch.randn(2, 3).double(), torch.randn(300).double())]
    assert torch.autograd.gradcheck(ours, given, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(ours, given)
    assert torch.func.hessian(ours)(given[0].detach()).shape == (2, 3, 2, 3)
    batch = torch.randn(4, 300, 2, dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(ours)(batch), torch.stack(list(map(plain, batch))))


@pytest.mark.parametrize("size", [255, 256, 300_000, 5_000_000])
def test_as_exact_as_a_sum_of_squares(size):
    x = torch.rand(size)
    exact = x.double().square().sum()
    assert abs(sum_of_squares([1.0], [x]).double() - exact) <= 2e-7 * exact
