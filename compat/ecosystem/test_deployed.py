"""Whole models of Keras as exported programs and as ONNX files, at other sizes than the traced."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import keras
import pytest
import torch
from keras import layers

import kerastorch
from compat.models.test_models import with_configs
from kerastorch._core.errors import FileError
from tests.layers.sized import SIZES, WARNINGS, Sized, assert_same_numbers
from tests.torch_tools.onnx_files import run, to_onnx

HERE = Path(__file__).parents[1]
# Where an axis of any layer's output has the size 1, torch.export keeps it at that: it never has.
LARGE = tuple((n, h + 10, w + 15, 3) for n, h, w in SIZES)
UNSUPPORTED = ("subclass", "wrappers", "seq_npz")  # with layers of one's own, or pickled


@cache
def network() -> keras.Model:
    """Return a network for images of any size, with all kinds of padding that follows the size."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(6, (3, 2), 2, "same", activation="silu")(x)
    x = layers.BatchNormalization()(x)
    wide = layers.Conv2D(8, (2, 3), padding="same", groups=2, activation="relu")(x)
    x = layers.MaxPooling2D((3, 2), 2, "same")(wide)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(gate)])
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2D(5, 3, (1, 2), "same", activation="softmax")(x)
    x = layers.AveragePooling2D((2, 3), (3, 2), "same")(x)
    return keras.Model(inputs, [x, layers.Dense(4)(layers.GlobalMaxPooling2D()(wide))])


def of_file(path: Path) -> Sized:
    """Return a model and batches of three sizes: these models fix height and width.

    In single precision: onnxruntime has no convolution in bfloat16 or double on a CPU.
    """
    shape = kerastorch.load_model(path)._inputs[0].shape
    shapes = tuple((batch, *shape[1:]) for batch in (2, 1, 5))
    return Sized(path.stem, lambda: kerastorch.load_model(path).float(), (shapes,))


def check_exported(one: Sized) -> None:
    module = one.module()
    exported = torch.export.export(module, one.arguments(0), dynamic_shapes=one.moving).module()
    session = to_onnx(module, one.arguments(0), one.moving)
    half = any(getattr(m, "compute_dtype", "") == "float16" for m in module.modules())
    for index in one.others:
        arguments = one.arguments(index)
        with torch.no_grad():
            expected = as_list(module(*arguments))
            found = as_list(exported(*arguments))
        written = run(session, *arguments)
        for ours, theirs, in_onnx in zip(expected, found, written, strict=True):
            assert_same_numbers(theirs, ours)
            assert_same_numbers(in_onnx, ours, 1e-3 if half else 1e-5)


def as_list(outputs) -> list[torch.Tensor]:
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


@pytest.mark.filterwarnings(*WARNINGS)
class TestExported:
    def test_digits(self):
        check_exported(of_file(HERE / "digits" / "digits.keras"))

    @pytest.mark.sweep
    @pytest.mark.parametrize(
        "path",
        [path for path in with_configs() if path.suffix != ".json"],
        ids=lambda path: f"{path.parent.name}/{path.name}",
    )
    def test_files(self, path):
        try:
            one = of_file(path)
        except FileError as error:
            assert path.stem in UNSUPPORTED, error
            return
        check_exported(one)

    def test_any_size(self):
        check_exported(Sized("network", lambda: kerastorch.load_model(network()), (LARGE,)))

    def test_traced_at_any_size(self):
        one = Sized("network", lambda: kerastorch.load_model(network()), (LARGE,))
        module = one.module()
        with torch.no_grad():
            traced = torch.jit.trace(module, one.arguments(0), strict=False)
            for index in one.others:
                arguments = one.arguments(index)
                for found, expected in zip(traced(*arguments), module(*arguments), strict=True):
                    assert_same_numbers(found, expected)


def test_exporting_leaves_the_losses_of_a_shared_layer():
    shared = layers.Dense(3, activity_regularizer="l2")
    inputs = keras.Input((3,))
    model = kerastorch.load_model(keras.Model(inputs, shared(shared(inputs))))
    x = torch.rand(2, 3)
    model(x)
    before = model.losses
    torch.export.export(model, (x,))
    assert len(before) == 2
    assert all(ours is theirs for ours, theirs in zip(model.losses, before, strict=True))
