"""Record models in the containers of TensorFlow: SavedModels and checkpoints, of each writer.

Run it where TensorFlow, tf_keras and Keras are installed:

    KERAS_BACKEND=tensorflow python -m compat.golden.record_containers

It writes `compat/files/writers/tf_keras-2.21-containers.tar.xz`:

- `<model>_savedmodel` and `<model>_checkpoint` of the models in `tf_keras-2.21.tar.xz`, where
  tf_keras reads its own files, without the graphs of layers;
- a network of nested layers, `net.h5`, `net.json` and `net.reference.npz`, in containers without a
  config: `net_plain`, `net_export`, `net_holder`, `net_train` (with an optimizer's state);
- a subclass of Model, `subclass` and `subclass_checkpoint`, whose arrays are `subclass.npz`;
- a model of Keras 3, `keras3.keras` and `keras3.json`, as `keras3_export`, `keras3_plain` and
  `keras3_train`;
- variables of TensorFlow 1, `variables` and `variables_savedmodel`.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from compat.models import archives

SEED = 20261130
MODELS = (
    *("attention", "line", "local", "mobilenet", "norms", "seq2seq", "seq2seq_mask", "series"),
    *("shared_cnn", "spectral", "stacked", "teachable", "text", "unet", "video", "volume"),
)


def load(folder: Path, name: str) -> Any:
    """Return a model from the first of its files that tf_keras reads, or None."""
    for ending in (".keras", ".h5"):
        try:
            return tf_keras.models.load_model(folder / f"{name}{ending}", compile=False)
        except Exception as error:  # of any class: it cannot read all of its own files
            print(f"{name}{ending}: {type(error).__name__}")
    return None


def save_models(folder: Path, target: Path) -> None:
    archives.unpack("tf_keras-2.21", folder)
    for name in MODELS:
        model = load(folder, name)
        if model is not None:
            model.save(target / f"{name}_savedmodel", save_format="tf", save_traces=False)
            model.save_weights(target / f"{name}_checkpoint" / name)


def make_network(layers: Any, model: Any, input_: Any) -> Any:
    """Return a network of layers inside layers and a model inside a model."""
    inside = tf_keras.Sequential([layers.Dense(3, name="q"), layers.BatchNormalization()])
    x = input_((6, 4), name="x")
    h = layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="both_ways")(x)
    h = layers.MultiHeadAttention(2, 3, name="attention")(h, h)
    h = layers.TimeDistributed(layers.Dense(2), name="each")(inside(h))
    h = layers.Flatten()(h * 2.0 + 1.0)
    return model(x, layers.Dense(2, name="head")(h), name="net")


class Holder(tf.Module):
    """An object that has a model as an attribute."""


class Subclass(tf_keras.Model):
    """A model whose config is in no file."""

    def __init__(self) -> None:
        super().__init__()
        self.features = tf_keras.layers.Conv2D(2, 3)
        self.blocks = [tf_keras.layers.Dense(3), tf_keras.layers.Dense(3)]
        self.head = tf_keras.layers.Dense(2, name="scores")
        self.rnn = tf_keras.layers.LSTM(3)

    def call(self, x: Any) -> Any:
        x = self.features(x)
        x = self.rnn(tf.reshape(x, [tf.shape(x)[0], -1, 2]))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def save_network(target: Path) -> None:
    network = make_network(tf_keras.layers, tf_keras.Model, tf_keras.Input)
    network.compile("adam", "mse")
    network.fit(np.ones((2, 6, 4), "f4"), np.ones((2, 2), "f4"), verbose=0)
    x = np.random.default_rng(SEED).normal(size=(3, 6, 4)).astype("float32")
    outputs = network(x).numpy()
    np.savez(target / "net.reference.npz", input_0=x, output_0=outputs)
    network.save(target / "net.h5")
    (target / "net.json").write_text(network.to_json())
    training = tf.train.Checkpoint(model=network, optimizer=network.optimizer)
    training.save(str(target / "net_train" / "state"))
    holder = Holder()
    holder.model, holder.step = network, tf.Variable(3.0)
    tf.saved_model.save(network, str(target / "net_plain"))
    tf.saved_model.save(holder, str(target / "net_holder"))
    network.export(target / "net_export")


def save_subclass(target: Path) -> None:
    model = Subclass()
    model(np.ones((1, 5, 5, 3), "float32"))
    model.save(target / "subclass", save_format="tf", save_traces=False)
    model.save_weights(target / "subclass_checkpoint" / "weights")
    np.savez(target / "subclass.npz", *model.get_weights())


def save_keras3(target: Path) -> None:
    layers = keras.layers
    inside = keras.Sequential([layers.Dense(3, name="q"), layers.Dropout(0.1)], name="inside")
    x = keras.Input((6, 4), name="x")
    h = layers.BatchNormalization()(inside(layers.LSTM(3, name="recurrent")(x)))
    model = keras.Model(x, layers.Dense(2, name="head")(h), name="net")
    model.compile("adam", "mse")
    model.fit(np.ones((2, 6, 4), "f4"), np.ones((2, 2), "f4"), verbose=0)
    model.save(target / "keras3.keras")
    (target / "keras3.json").write_text(model.to_json())
    model.export(target / "keras3_export", verbose=False)
    tf.saved_model.save(model, str(target / "keras3_plain"))
    tf.train.Checkpoint(model=model).save(str(target / "keras3_train" / "state"))


def save_variables(target: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        kernel = v1.get_variable("connected/weights", (4, 3))
        bias = v1.get_variable("connected/biases", (3,))
        x = v1.placeholder(tf.float32, (None, 4))
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(target / "variables" / "model.ckpt"), global_step=5)
        folder, y = str(target / "variables_savedmodel"), x @ kernel + bias
        v1.saved_model.simple_save(session, folder, {"x": x}, {"y": y})


def main() -> None:
    tf_keras.utils.set_random_seed(SEED)
    with tempfile.TemporaryDirectory() as read, tempfile.TemporaryDirectory() as written:
        target = Path(written)
        save_models(Path(read), target)
        for save in (save_network, save_subclass, save_keras3, save_variables):
            save(target)
        archive = archives.ARCHIVES / f"tf_keras-{tf_keras.__version__[:4]}-containers.tar.xz"
        with tarfile.open(archive, "w:xz", preset=9) as file:
            for path in sorted(one for one in target.rglob("*") if one.is_file()):
                data = path.read_bytes()
                info = tarfile.TarInfo(str(path.relative_to(target)))
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
        print(archive, archive.stat().st_size)


if __name__ == "__main__":
    main()
