"""Models whose plain form the tests look at."""

from __future__ import annotations

from typing import Any

from tests.models.configs import Config, functional, input_layer, layer, node, sequential, tensor


def one(class_name: str, name: str, *before: str, **config: Any) -> Config:
    """Return a layer that is called once, on one tensor or a list."""
    refs: Any = [tensor(name) for name in before]
    made = layer(class_name, name, [node(refs[0] if len(refs) == 1 else refs)], **config)
    return {**made, "module": "keras.layers"}


def images(shape: Any = (None, 8, 9, 3), **config: Any) -> Config:
    """Return a small network of images with all that folds, and what must not."""
    conv = {"kernel_size": 3, "use_bias": False}
    return functional(
        input_layer("images", shape),
        one("ZeroPadding2D", "pad", "images", padding=1),
        one("Conv2D", "conv_a", "pad", filters=4, **conv),
        one("BatchNormalization", "bn_a", "conv_a", epsilon=1e-3, momentum=0.75),
        one("ReLU", "relu_a", "bn_a", max_value=6),
        one("Conv2D", "conv_b", "relu_a", filters=5, **conv),
        one("BatchNormalization", "bn_b", "conv_b", scale=False),
        one("BatchNormalization", "bn_c", "conv_b", center=False),  # reads it, too
        one("Add", "add", "bn_b", "bn_c"),
        one("Dropout", "drop", "add", rate=0.25),
        one("Activation", "act", "drop", activation="relu"),
        one("Flatten", "flat", "act"),
        one("Dense", "hidden", "flat", units=6),
        one("BatchNormalization", "bn_d", "hidden"),
        one("Dense", "out", "bn_d", units=2, activation="softmax"),
        inputs=["images", 0, 0],
        outputs=["out", 0, 0],
        name="images_net",
        **config,
    )


def nested(times: int = 2) -> Config:
    """Return a model that calls a nested model several times."""
    inner = sequential(
        input_layer("inner_in", (None, 6, 5, 2)),
        layer("Conv2D", "inner_conv", filters=3, kernel_size=2, activation="relu"),
        layer("GlobalAveragePooling2D", "inner_pool"),
        name="branch",
    )
    names = [f"in_{n}" for n in range(times)]
    calls = [node(tensor(name)) for name in names]
    called = {**inner, "name": "branch", "inbound_nodes": calls}
    ends = [tensor("branch", n) for n in range(times)]
    return functional(
        *(input_layer(name, (None, 6, 5, 2)) for name in names),
        called,
        {**layer("Concatenate", "join", [node(ends)]), "module": "keras.layers"},
        one("Dense", "out", "join", units=2),
        inputs=[[name, 0, 0] for name in names],
        outputs=["out", 0, 0],
        name="siamese",
    )
