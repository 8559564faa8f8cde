"""Whole models of Keras as exported programs and as ONNX files, at other sizes than the traced."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import keras
import pytest
import torch
from keras import layers
from torch import Tensor, nn

import kerastorch
from compat.models.test_models import with_configs
from kerastorch._core.errors import FileError
from tests.layers.case import batch
from tests.torch_tools.exporting import WARNINGS, assert_close_to_largest, open_axes
from tests.torch_tools.onnx_files import run, to_onnx

HERE = Path(__file__).parents[1]
# Where an axis of any layer's output has the size 1, torch.export keeps it at that: it never has.
LARGE = ((2, 18, 24, 3), (3, 19, 27, 3), (1, 21, 23, 3), (4, 22, 25, 3))
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


def of_file(path: Path) -> tuple[nn.Module, list[tuple[Tensor]]]:
    """Return a model and batches of three sizes: these models fix height and width.

    In single precision: onnxruntime has no convolution in bfloat16 or double on a CPU.
    """
    model = kerastorch.load_model(path).float()
    shape = model._inputs[0].shape
    return model, [(batch((size, *shape[1:])),) for size in (2, 1, 5)]


def of_any_size() -> tuple[nn.Module, list[tuple[Tensor]]]:
    return kerastorch.load_model(network()), [(batch(shape),) for shape in LARGE]


def check_deployed(model: nn.Module, inputs: list[tuple[Tensor]]) -> None:
    model.eval()
    exported = torch.export.export(model, inputs[0], dynamic_shapes=open_axes(inputs)).module()
    session = to_onnx(model, inputs[0], open_axes(inputs))
    half = any(getattr(m, "compute_dtype", "") == "float16" for m in model.modules())
    for arguments in inputs[1:]:
        with torch.no_grad():
            expected = as_list(model(*arguments))
            found = as_list(exported(*arguments))
        written = run(session, *arguments)
        for ours, theirs, in_onnx in zip(expected, found, written, strict=True):
            assert_close_to_largest(theirs, ours)
            assert_close_to_largest(in_onnx, ours, 1e-3 if half else 1e-5)


def as_list(outputs) -> list[torch.Tensor]:
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


@pytest.mark.filterwarnings(*WARNINGS)
class TestExported:
    def test_digits(self):
        check_deployed(*of_file(HERE / "digits" / "digits.keras"))

    @pytest.mark.sweep
    @pytest.mark.parametrize(
        "path",
        [path for path in with_configs() if path.suffix != ".json"],
        ids=lambda path: f"{path.parent.name}/{path.name}",
    )
    def test_files(self, path):
        try:
            deployed = of_file(path)
        except FileError as error:
            assert path.stem in UNSUPPORTED, error
            return
        check_deployed(*deployed)

    def test_any_size(self):
        check_deployed(*of_any_size())

    def test_traced_at_any_size(self):
        model, inputs = of_any_size()
        model.eval()
        with torch.no_grad():
            traced = torch.jit.trace(model, inputs[0], strict=False)
            for arguments in inputs[1:]:
                for found, expected in zip(traced(*arguments), model(*arguments), strict=True):
                    assert_close_to_largest(found, expected)


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
