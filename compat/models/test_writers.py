"""Models of nine versions of Keras in the formats of each, beside the outputs of their writer."""

from __future__ import annotations

import h5py
import keras
import numpy as np
import pytest
import torch

import kerastorch

KERAS_2 = ("keras-2.12.1", "keras-2.13.1", "keras-2.15.1", "tf_keras-2.21")
KERAS_3 = ("keras-3.0.5", "keras-3.4.1", "keras-3.10.0", "keras-3.15.1", "keras-3.15.1-tensorflow")
APPLICATIONS = "tf_keras-2.21-applications"
NETWORKS = (
    *("EfficientNetB0", "MobileNet", "MobileNetV2", "MobileNetV3Small"),
    *("NASNetMobile", "Xception"),
)
MODELS = (
    *("line", "mobilenet", "norms", "spectral", "teachable", "unet", "volume"),
    *("attention", "seq2seq", "seq2seq_mask", "series", "shared_cnn", "stacked", "text", "video"),
)
HDF5 = ("mobilenet", "teachable", "text")
# What Keras 3.0.5 could not write
NOT_WRITTEN = {("shared_cnn", ending) for ending in (".keras", ".h5", ".weights.h5")}
NOT_WRITTEN |= {(model, ".h5") for model in ("attention", "stacked", "teachable", "text")}
WHOLE = (".keras", ".h5")
WEIGHTS = (".weights.h5", "_w.h5")  # beside the config in `.json`
# Keras on torch shifted some strided transposes until 3.14; the same weights and input on
# TensorFlow are the reference of `Conv2DTranspose`.
SHIFTED = {("keras-3.0.5", "unet"), ("keras-3.10.0", "unet")}


def list_files():
    """Yield the writer, the model and the ending of each file."""
    for writer in (*KERAS_2, *KERAS_3):
        old = writer in KERAS_2
        for model in (*MODELS, "local") if old else MODELS:
            if (writer, model) == ("keras-2.12.1", "spectral"):  # it had no such layer
                continue
            for ending in (*WHOLE, *(WEIGHTS if old else WEIGHTS[:1])):
                if writer != "keras-3.0.5" or (model, ending) not in NOT_WRITTEN:
                    yield writer, model, ending
    yield from (
        ("keras-2.12.1", model, "_hdf5.keras") for model in ("mobilenet", "teachable", "text")
    )
    for model in NETWORKS:
        yield from ((APPLICATIONS, model, ending) for ending in WHOLE)
    yield APPLICATIONS, "teachable_machine", ".h5"


@pytest.mark.parametrize(("writer", "model", "ending"), [*list_files()])
def test_the_outputs_are_the_writer_s(unpack, writer, model, ending):
    folder = unpack(writer)
    path = folder / f"{model}{ending}"
    if ending in WEIGHTS:
        loaded = kerastorch.load_model(folder / f"{model}.json", weights=path)
    else:
        loaded = kerastorch.load_model(path)
    reference = unpack("keras-3.15.1-tensorflow") if (writer, model) in SHIFTED else folder
    arrays = np.load(reference / f"{model}.reference.npz")
    inputs = [torch.from_numpy(arrays[name]) for name in sorted(arrays) if "input_" in name]
    with torch.no_grad():
        outputs = loaded(inputs[0] if len(inputs) == 1 else inputs)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    expected = [arrays[name] for name in sorted(arrays) if "output_" in name]
    assert len(outputs) == len(expected)
    for found, wanted in zip(outputs, expected, strict=True):
        assert np.abs(found.numpy() - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_keras_3_refuses_the_groups_of_depthwise_convolutions_in_2_4(unpack):
    path = unpack(APPLICATIONS) / "teachable_machine.h5"
    with h5py.File(path) as file:
        assert file.attrs["keras_version"] == "2.4.0" and "optional" not in str(dict(file.attrs))
    with pytest.raises(TypeError, match="groups"):
        keras.models.load_model(path)
