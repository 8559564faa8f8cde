"""Normalizing by the batch's own statistics beside the same formula in double precision."""

import pytest
import torch
from torch.testing import assert_close

from kerastorch._ops import normalization as batch_norm_module
from kerastorch._ops.normalization import _NormalizeByBatch, normalize_by_batch
from kerastorch.layers import BatchNormalization

EPSILON = 1e-3


def images(*shape, dtype=torch.float32):
    """Return numbers around 1 in channels_last memory."""
    return (torch.randn(shape, dtype=dtype) + 1).contiguous(memory_format=torch.channels_last)


def by_formula(x, gamma=None, beta=None):
    wide = (-1, *(1,) * (x.ndim - 2))
    axes = (0, *range(2, x.ndim))
    mean, variance = x.mean(axes), x.var(axes, correction=0)
    y = (x - mean.view(wide)) / (variance.view(wide) + EPSILON).sqrt()
    y = y if gamma is None else y * gamma.view(wide)
    return y if beta is None else y + beta.view(wide), mean, variance


def affine(channels, dtype=torch.float32):
    return [torch.randn(channels, dtype=dtype) + 1 for _ in range(2)]


MANY, FEW = (9, 5, 31, 37), (3, 5, 4, 2)


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "plain"])
@pytest.mark.parametrize("shape", [MANY, FEW, (7, 5), (2000, 5), (4, 5, 700)], ids=str)
@pytest.mark.parametrize("memory", ["channels last", "channels first"])
def test_outputs_gradients_and_statistics(shape, memory, scaled, device):
    x = torch.randn(shape) + 1
    if memory == "channels last":
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    given = [each.to(device).requires_grad_() for each in (x, *affine(5))]
    given = given if scaled else given[:1]
    exact = [each.detach().double().requires_grad_() for each in given]
    rest = () if scaled else (None, None)
    found, wanted = normalize_by_batch(*given, *rest, EPSILON), by_formula(*exact)
    for one, other in zip(found, wanted, strict=True):
        assert_close(one.double(), other, rtol=2e-6, atol=2e-6)
    assert not found[1].requires_grad and not found[2].requires_grad
    slope = torch.randn(shape, dtype=torch.float64).to(device)
    gradients = torch.autograd.grad(found[0], given, slope.float())
    for one, other in zip(gradients, torch.autograd.grad(wanted[0], exact, slope), strict=True):
        assert_close(one.double(), other, rtol=1e-4, atol=1e-4)
    if x.ndim == 4:
        assert gradients[0].stride() == given[0].stride()


@pytest.mark.parametrize("shape", [(16, 3, 112, 112), (4, 256, 20, 16)], ids=str)
def test_many_numbers_are_summed_exactly(shape):
    x = images(*shape)
    _, _, variance = by_formula(x.double())
    found = normalize_by_batch(x, None, None, EPSILON)[2].double()
    assert_close(found, variance, rtol=7e-7, atol=0)
    torch_s = torch.batch_norm_update_stats(x, None, None, 0.0)[1]
    assert (torch_s.double() / variance - 1).abs().max() > 1e-6  # what all of this is for


def test_the_moving_statistics_of_many_numbers():
    layer, x = BatchNormalization(momentum=0.0), images(8, 3, 112, 112).movedim(1, -1)
    layer(x)
    _, mean, variance = by_formula(x.double().movedim(-1, 1))
    assert_close(layer.running_mean.double(), mean, rtol=1e-6, atol=0)
    assert_close(layer.running_var.double(), variance, rtol=1e-6, atol=0)


def test_the_exact_way_is_taken_for_many_numbers_only(monkeypatch):
    monkeypatch.setattr(batch_norm_module, "_NormalizeByBatch", None)
    for x in (images(*FEW), images(*MANY).double(), images(*MANY).contiguous()):
        normalize_by_batch(x, None, None, EPSILON)
    with pytest.raises(AttributeError):
        normalize_by_batch(images(*MANY), None, None, EPSILON)


@pytest.mark.parametrize("scaled", [True, False], ids=["scaled", "plain"])
def test_every_order_of_gradients(scaled):
    given = [images(3, 2, 4, 5, dtype=torch.float64), *affine(2, torch.float64)]
    given = [each.requires_grad_() for each in given[: 3 if scaled else 1]]

    def ours(x, gamma=None, beta=None):
        return _NormalizeByBatch.apply(x, gamma, beta, EPSILON)[0]

    assert torch.autograd.gradcheck(ours, given, fast_mode=True)
    assert torch.autograd.gradgradcheck(ours, given, fast_mode=True)


@pytest.mark.filterwarnings("ignore:.*jit.script:DeprecationWarning")  # within torch itself
def test_transforms_and_forward_mode():
    x, along = images(*MANY), images(*MANY).cos()
    weights = affine(x.shape[1])

    def ours(x):
        return normalize_by_batch(x, *weights, EPSILON)[0]

    def formula(x):
        return by_formula(x, *weights)[0]

    expected = torch.stack([formula(x), formula(2 * x)])
    assert_close(torch.vmap(ours)(torch.stack([x, 2 * x])), expected, rtol=1e-4, atol=1e-4)
    expected = torch.func.jvp(formula, (x,), (along,))[1]
    assert_close(torch.func.jvp(ours, (x,), (along,))[1], expected, rtol=1e-4, atol=1e-4)
    with torch.autograd.forward_ad.dual_level():
        y = ours(torch.autograd.forward_ad.make_dual(x, along))
        tangent = torch.autograd.forward_ad.unpack_dual(y).tangent
    assert_close(tangent, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 7])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("rank", [2, 4])
def test_a_batch_of_other_channels_is_refused(rank, affine, channels):
    """Torch would take one channel for all, and read past the end of the weights for more."""
    layer = BatchNormalization(center=affine, scale=affine, input_shape=(None,) * (rank - 2) + (5,))
    kept = layer.running_mean.clone()
    for x in (torch.randn((3,) * (rank - 1) + (channels,)), torch.randn(3, channels)[:0]):
        with pytest.raises(ValueError, match="5 channels along axis -1"):
            layer.train()(x)
    assert_close(layer.running_mean, kept)
