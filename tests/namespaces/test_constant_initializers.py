"""Constants, the identity, the STFT kernel, and fans."""

import builtins
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kerastorch import initializers

# Constants.


def test_a_constant_does_not_share_memory():
    value = np.ones((2, 3), dtype="float32")
    for initializer in (initializers.Constant(value), initializers.get(value)):
        initializer((2, 3)).zero_()
        assert value.all()


def test_zeros_ones_and_identity():
    assert torch.equal(initializers.Zeros()((2,)), torch.tensor([0.0, 0.0]))
    assert torch.equal(initializers.Ones()(3, dtype="int8"), torch.ones(3, dtype=torch.int8))
    expected = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    assert torch.equal(initializers.Identity(2.0)((2, 3)), expected)
    assert initializers.Identity().get_config() == {}
    again = initializers.deserialize(initializers.serialize(initializers.Identity(2.0)))
    assert torch.equal(again((2, 3)), expected)


@pytest.mark.parametrize("window", [None, [0.5, 1.0, 2.0, 1.5, 1.0, 0.25], "window"])
@pytest.mark.parametrize("scaling", ["density", "spectrum", None])
@pytest.mark.parametrize("side", ["real", "imag"])
def test_stft_is_a_fourier_transform(side, scaling, window):
    if window == "window":
        signal = pytest.importorskip("scipy.signal")
        window, values = "hamming", signal.get_window("hamming", 6, False)
    else:
        values = np.ones(6) if window is None else np.array(window)
    kernel = initializers.STFT(side, window, scaling)((6, 1, 5), dtype="float64")
    frame = np.linspace(-1, 2, 6) ** 2
    spectrum = np.fft.rfft(frame * values, n=8)
    expected = spectrum.real if side == "real" else spectrum.imag
    if window is not None and scaling is not None:
        expected = expected / (
            math.sqrt((values**2).sum()) if scaling == "density" else values.sum()
        )
    found = np.einsum("t,tcf->f", frame, kernel.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_periodic_window():
    signal = pytest.importorskip("scipy.signal")
    for periodic in (False, True):
        kernel = initializers.STFT(scaling=None, periodic=periodic)((6, 1, 5), dtype="float64")
        expected = signal.get_window("hann", 6, periodic)
        np.testing.assert_allclose(kernel[:, 0, 0].numpy(), expected, atol=1e-12)


def test_stft_configs():
    written = initializers.STFT("imag", np.array([1.0, 2.0]), None, True).get_config()
    window = {"class_name": "__numpy__", "config": {"value": [1.0, 2.0], "dtype": "float64"}}
    assert written == {"side": "imag", "window": window, "periodic": True, "scaling": None}
    assert list(written) == ["side", "window", "periodic", "scaling"]
    again = initializers.STFT.from_config(written)
    assert np.array_equal(again.window, [1.0, 2.0]) and again.get_config() == written


def test_stft_without_scipy(monkeypatch):
    real = builtins.__import__

    def without_scipy(name, *arguments, **keywords):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ImportError) as error:
        initializers.STFT()
    assert str(error.value) == (
        "STFT: `window` must be an array or None where SciPy is not installed. "
        "Received: window='hann'. Install it: `pip install scipy`."
    )
    assert initializers.STFT(window=None)((4, 1, 3)).shape == (4, 1, 3)


# Fans.


@given(st.lists(st.integers(0, 9), min_size=2, max_size=5))
def test_fans_are_products(shape):
    fan_in, fan_out = initializers.compute_fans(shape)
    assert fan_in * shape[-1] == fan_out * shape[-2] == math.prod(shape)


def test_no_inputs_count_as_one():
    limit = initializers.HeUniform(seed=1)((0, 3, 0, 2)), initializers.LecunUniform(seed=1)((0, 4))
    assert [tuple(values.shape) for values in limit] == [(0, 3, 0, 2), (0, 4)]
