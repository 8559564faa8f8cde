"""Conv2D against Keras on the torch backend: forward, gradients, shapes and configs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch

import kerastorch
from compat.layers.configurations import Case, random_array, random_case, relative_difference

keras = pytest.importorskip("keras")
PER_CHUNK, WITH_GRADIENTS = 110, 10  # in 30 chunks: 3,300 configurations, 300 with gradients
CHUNKS = [*range(3), *(pytest.param(seed, marks=pytest.mark.sweep) for seed in range(3, 30))]


@contextmanager
def without_onednn() -> Iterator[None]:
    """Let Keras convolve without oneDNN, which computes one channel wrong on some processors.

    `compat/ecosystem/torch_reports/one_channel_convolution.py` shows it.
    """
    torch.backends.mkldnn.enabled = False
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = True


def pair(case: Case, generator: np.random.Generator) -> tuple[Any, Any, np.ndarray]:
    """Return our layer and Keras's with the same random weights, and an input."""
    theirs = keras.layers.Conv2D(**case.arguments)
    theirs.build(case.input_shape)
    ours = kerastorch.layers.Conv2D(**case.arguments)
    ours.build(case.input_shape)
    values = [random_array(generator, array.shape) / 3 for array in theirs.get_weights()]
    theirs.set_weights(values)
    ours.set_weights(values)
    return ours, theirs, random_array(generator, case.input_shape)


@pytest.mark.parametrize("seed", CHUNKS)
def test_forward_of_random_configurations(seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(PER_CHUNK):
        case = random_case(generator)
        ours, theirs, x = pair(case, generator)
        ours.name = theirs.name = "c"
        assert ours.get_config() == theirs.get_config()
        with torch.no_grad():
            got = ours(x)
            with without_onednn():
                wanted = theirs(x)
        assert relative_difference(got.numpy(), wanted.numpy()) < 1e-5, case
        assert (
            ours.compute_output_shape(case.input_shape)
            == theirs.compute_output_shape(case.input_shape)
            or case.arguments["activation"] == "glu"
        )
        assert ours.count_params() == theirs.count_params()
        for mine, yours in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            assert np.array_equal(mine, yours)


@pytest.mark.parametrize("seed", CHUNKS)
def test_gradients_of_random_configurations(seed: int) -> None:
    generator = np.random.default_rng(1000 + seed)
    for _ in range(WITH_GRADIENTS):
        case = random_case(generator)
        ours, theirs, x = pair(case, generator)
        cotangent = None
        gradients = []
        for layer, kernel in ((ours, ours.weight), (theirs, theirs.kernel.value)):
            inputs = torch.tensor(x, requires_grad=True)
            with without_onednn() if layer is theirs else nullcontext():
                outputs = layer(inputs)
            if cotangent is None:
                cotangent = torch.from_numpy(random_array(generator, tuple(outputs.shape)))
            (outputs * cotangent).sum().backward()
            kernel_gradient = kernel.grad.permute(2, 3, 1, 0) if layer is ours else kernel.grad
            bias = ours.bias if layer is ours else getattr(theirs.bias, "value", None)
            found = [inputs.grad, kernel_gradient, *([] if bias is None else [bias.grad])]
            gradients.append([gradient.numpy() for gradient in found])
        for mine, yours in zip(*gradients, strict=True):  # a bias before a softmax has none
            assert relative_difference(mine, yours, least=0.1) < 1e-5, case


def test_lora_follows_keras() -> None:
    generator = np.random.default_rng(4)
    arguments = {"filters": 4, "kernel_size": (3, 2), "lora_rank": 2, "lora_alpha": 5}
    ours, theirs, x = pair(Case(arguments, (3, 7, 6, 4)), generator)
    for layer in (ours, theirs):
        layer.name = "c"
    assert ours.get_config() == {**theirs.get_config(), "name": "c"}
    assert relative_difference(ours(x).detach().numpy(), theirs(x).detach().numpy()) < 1e-5
    merged = ours.kernel.detach().numpy()
    assert relative_difference(merged, theirs.kernel.detach().numpy()) < 1e-6
    assert [w.requires_grad for w in ours.weights] == [w.trainable for w in theirs.weights]
    assert [v.name for v in ours.variables] == [w.name for w in theirs.weights]
    for trainable in (False, True):
        ours.trainable = theirs.trainable = trainable
        assert [w.requires_grad for w in ours.weights] == [w.trainable for w in theirs.weights]
    later = kerastorch.layers.Conv2D(4, (3, 2), input_shape=(7, 6, 4))
    keras_later = keras.layers.Conv2D(4, (3, 2))
    keras_later.build((None, 7, 6, 4))
    for layer in (later, keras_later):
        layer.enable_lora(3)
    assert [w.shape for w in later.get_weights()] == [w.shape for w in keras_later.get_weights()]


STEPS = ("depthwise_initializer", "pointwise_initializer")


@pytest.mark.parametrize(
    "name, arguments, kernels",
    [
        *((f"Conv{rank}D", {"filters": 4}, ("kernel_initializer",)) for rank in (1, 2, 3)),
        *((f"Conv{rank}DTranspose", {"filters": 4}, ("kernel_initializer",)) for rank in (1, 2, 3)),
        *((f"DepthwiseConv{rank}D", {"depth_multiplier": 2}, STEPS[:1]) for rank in (1, 2)),
        *(
            (f"SeparableConv{rank}D", {"filters": 4, "depth_multiplier": 2}, STEPS)
            for rank in (1, 2)
        ),
    ],
)
def test_initial_values_are_keras_s(
    name: str, arguments: dict[str, Any], kernels: tuple[str, ...]
) -> None:
    """The fans are those of the last two axes of every kernel, whatever these are."""
    weights = []
    for library in (kerastorch, keras):
        given = {kernel: library.initializers.GlorotUniform(seed=3) for kernel in kernels}
        layer = getattr(library.layers, name)(**arguments, kernel_size=3, **given)
        layer.build((None, *[6] * layer.rank, 5))
        weights.append([np.asarray(weight) for weight in layer.get_weights()])
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
