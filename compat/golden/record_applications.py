"""Record small networks of keras.applications as Keras 2 writes them.

Run it where TensorFlow and tf_keras are installed:

    python compat/golden/record_applications.py

It writes `compat/files/writers/tf_keras-2.21-applications.tar.xz` with `<name>.h5`, `<name>.keras`
and `<name>.reference.npz`: images, and what the model computes of them. `teachable_machine.h5` is
in the dialect of Keras 2.4, as exports of Teachable Machine are: tf_keras writes the model, and
what later versions added to the config is taken out.

The networks are narrow or cut, and their weights have few digits, which compresses them.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tf_keras
from tf_keras.applications import MobileNet, MobileNetV2, MobileNetV3Small, Xception
from tf_keras.src.applications.efficientnet import EfficientNet
from tf_keras.src.applications.nasnet import NASNet

WRITERS = Path(__file__).parents[1] / "files" / "writers"
SEED = 20261129
SIZE = 32
HEAD: dict[str, Any] = {"weights": None, "classes": 10}
LATER = ("module", "registered_name", "build_config", "optional", "keepdims")  # than Keras 2.4


def make_xception() -> Any:
    """Return the first residual blocks of Xception, with its head."""
    whole = Xception(weights=None, input_shape=(71, 71, 3), include_top=False)
    x = whole.get_layer("add").output
    x = tf_keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = tf_keras.layers.Dense(10, activation="softmax", name="predictions")(x)
    return tf_keras.Model(whole.input, x, name="xception")


def make_teachable_machine() -> Any:
    """Return a Sequential of two: the features of MobileNetV2, and a head."""
    layers, shape = tf_keras.layers, (SIZE, SIZE, 3)
    whole = MobileNetV2(weights=None, alpha=0.35, input_shape=shape, include_top=False)
    features = tf_keras.Model(whole.input, whole.get_layer("block_6_project_BN").output)
    head = [layers.Dense(100, "relu"), layers.Dense(3, "softmax", use_bias=False)]
    features = tf_keras.Sequential([features, layers.GlobalAveragePooling2D()])
    model = tf_keras.Sequential([features, tf_keras.Sequential(head)])
    model.build((None, *shape))
    return model


def make_networks() -> dict[str, Any]:
    """Return the networks by name."""
    shape = {"input_shape": (SIZE, SIZE, 3), **HEAD}
    narrow = {"width_coefficient": 0.25, "depth_coefficient": 0.3, "default_size": SIZE}
    cells = {"penultimate_filters": 96, "num_blocks": 1, "stem_block_filters": 8}
    return {
        "MobileNet": MobileNet(alpha=0.25, **shape),
        "MobileNetV2": MobileNetV2(alpha=0.35, **shape),
        "MobileNetV3Small": MobileNetV3Small(alpha=0.25, **shape),
        "EfficientNetB0": EfficientNet(**narrow, **shape),
        "Xception": make_xception(),
        "NASNetMobile": NASNet(**cells, skip_reduction=False, **shape),
        "teachable_machine": make_teachable_machine(),
    }


def set_weights(model: Any, generator: np.random.Generator, images: np.ndarray) -> None:
    """Give all weights values of few digits, and the normalizations the statistics of images."""
    for weight in model.weights:
        values = weight.numpy()
        if "gamma" in weight.name:
            values = generator.uniform(0.8, 1.2, values.shape)
        elif "beta" in weight.name or "bias" in weight.name:
            values = generator.normal(0, 0.1, values.shape)
        weight.assign(round_to(values, 5))
    found = [one for one in model._flatten_layers() if hasattr(one, "moving_variance")]
    kept = [layer.momentum for layer in found]
    for layer in found:
        layer.momentum = 0.0
    model(images, training=True)
    for layer, momentum in zip(found, kept, strict=True):
        layer.momentum = momentum
        layer.moving_mean.assign(round_to(layer.moving_mean.numpy(), 8))
        layer.moving_variance.assign(round_to(1.5 * layer.moving_variance.numpy(), 8))


def round_to(values: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers of so many bits, relative to the largest."""
    step = 2.0 ** np.ceil(np.log2(max(np.abs(values).max(), 1e-9)) - bits)
    return np.asarray(np.round(values / step) * step, np.float32)


def without_later(config: Any) -> Any:
    """Return a config without what is newer than Keras 2.4."""
    if isinstance(config, dict):
        return {key: without_later(one) for key, one in config.items() if key not in LATER}
    return [without_later(one) for one in config] if isinstance(config, list) else config


def rewrite_as_2_4(path: Path) -> None:
    """Bring the config of a `.h5` file into the form of Keras 2.4."""
    with h5py.File(path, "r+") as file:
        config = without_later(json.loads(file.attrs["model_config"]))
        file.attrs["model_config"] = json.dumps(config).encode()
        for group in (file, file["model_weights"]):
            group.attrs["keras_version"] = b"2.4.0"


def main() -> None:
    tf_keras.utils.set_random_seed(SEED)
    generator = np.random.default_rng(SEED)
    target = WRITERS / f"tf_keras-{tf_keras.__version__[:4]}-applications.tar.xz"
    with tempfile.TemporaryDirectory() as folder:
        for name, model in make_networks().items():
            shape = (8, *model.input_shape[1:])
            images = generator.normal(128, 40, shape) + generator.uniform(-90, 90, (8, 1, 1, 3))
            images = np.round(images).astype("float32")
            set_weights(model, generator, images)
            start = Path(folder, name)
            model.save(f"{start}.h5")
            if name == "teachable_machine":
                rewrite_as_2_4(Path(f"{start}.h5"))
            else:
                model.save(f"{start}.keras")
            outputs = model.predict(images[:2], verbose=0)
            arrays = {"input_0": images[:2], "output_0": outputs}
            np.savez_compressed(f"{start}.reference.npz", **arrays)
            print(f"{name}: {model.count_params()} weights, of one image {outputs[0].round(3)}")
        with tarfile.open(target, "w:xz", preset=9) as archive:
            for path in sorted(Path(folder).iterdir()):
                entry = tarfile.TarInfo(path.name)
                entry.size = path.stat().st_size
                archive.addfile(entry, io.BytesIO(path.read_bytes()))
    print(f"{target.name}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
