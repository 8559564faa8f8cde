"""Record what TensorFlow's functions compute inside models of tf.keras, for the tests.

Run it where TensorFlow and tf_keras are installed:

    python compat/golden/record_operations.py

It writes `operations_tf_keras.json` beside itself: `versions`, `inputs` (the arrays "a" and "b")
and `cases`, a list of `{"name", "config", "outputs"}`. `config` is the model's own; a case with
one input has "a" alone.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

HERE = Path(__file__).parent
SHAPE = (2, 3, 4)

ONE = {
    "add_number": lambda a: a + 1.5,
    "add_to_number": lambda a: 1.5 + a,
    "subtract_number": lambda a: a - 2.0,
    "subtract_from_number": lambda a: 2.0 - a,
    "multiply_number": lambda a: a * 3.0,
    "multiply_by": lambda a: 3.0 * a,
    "divide_by": lambda a: a / 4.0,
    "divide_number": lambda a: 1.0 / (a * a + 1.0),
    "power": lambda a: a**2,
    "negative": lambda a: -a,
    "absolute": lambda a: tf.abs(a),
    "absolute_operator": lambda a: abs(a),
    "square": tf.square,
    "sqrt": lambda a: tf.sqrt(a * a),
    "rsqrt": lambda a: tf.math.rsqrt(a * a + 1.0),
    "exp": tf.exp,
    "log": lambda a: tf.math.log(a * a + 1.0),
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "softplus": tf.nn.softplus,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "softmax": tf.nn.softmax,
    "softmax_axis": lambda a: tf.nn.softmax(a, axis=1),
    "log_softmax": lambda a: tf.nn.log_softmax(a),
    "leaky_relu": lambda a: tf.nn.leaky_relu(a, alpha=0.1),
    "leaky_relu_default": tf.nn.leaky_relu,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "gelu": tf.nn.gelu,
    "gelu_tanh": lambda a: tf.nn.gelu(a, approximate=True),
    "silu": tf.nn.silu,
    "mean_axes": lambda a: tf.reduce_mean(a, axis=[1, 2], keepdims=True),
    "mean_last": lambda a: tf.reduce_mean(a, axis=-1),
    "mean_all": lambda a: tf.reduce_mean(a),
    "sum": lambda a: tf.reduce_sum(a, 1),
    "max": lambda a: tf.reduce_max(a, axis=1),
    "min": lambda a: tf.reduce_min(a, axis=1),
    "product": lambda a: tf.reduce_prod(a, axis=[1, 2]),
    "reshape": lambda a: tf.reshape(a, [-1, 12]),
    "transpose": lambda a: tf.transpose(a, [0, 2, 1]),
    "transpose_all": lambda a: tf.transpose(a),
    "expand_dims": lambda a: tf.expand_dims(a, 1),
    "squeeze": lambda a: tf.squeeze(tf.expand_dims(a, 1), axis=1),
    "squeeze_list": lambda a: tf.squeeze(tf.expand_dims(a, 1), [1]),
    "cast": lambda a: tf.cast(tf.cast(a, tf.float16), tf.float32),
    "cast_integer": lambda a: tf.cast(a, "int32"),
    "clip": lambda a: tf.clip_by_value(a, -0.5, 0.5),
    "identity": tf.identity,
    "stop_gradient": tf.stop_gradient,
    "l2_normalize": lambda a: tf.math.l2_normalize(a, axis=-1),
    "item": lambda a: a[:, 1:],
    "item_last": lambda a: a[:, -1],
    "item_new": lambda a: a[..., tf.newaxis, ::2],
    "item_mixed": lambda a: a[:, 1:3, 2],
    "constant": lambda a: a + np.arange(4, dtype="float32"),
    "keras_relu": lambda a: tf_keras.activations.relu(a),
    "keras_relu6": lambda a: tf_keras.activations.relu(a, max_value=6.0),
    "keras_swish": lambda a: tf_keras.activations.swish(a),
    "keras_softmax": lambda a: tf_keras.activations.softmax(a),
    "hard_sigmoid": lambda a: tf.nn.relu6(a + 3.0) * (1.0 / 6.0),
}
TWO = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / (b * b + 1.0),
    "maximum": lambda a, b: tf.maximum(a, b),
    "minimum": lambda a, b: tf.minimum(a, b),
    "concat": lambda a, b: tf.concat([a, b], -1),
    "stack": lambda a, b: tf.stack([a, b], axis=1),
    "matmul": lambda a, b: tf.matmul(a, b, transpose_b=True),
    "matmul_operator": lambda a, b: a @ tf.transpose(b, [0, 2, 1]),
    "matmul_left": lambda a, b: tf.matmul(a, b, transpose_a=True),
}


def case(name: str, function: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return one case."""
    tf_keras.backend.clear_session()
    inputs = {key: tf_keras.Input(SHAPE[1:], name=key) for key in arrays}
    given, symbols = list(arrays.values()), list(inputs.values())
    model = tf_keras.Model(symbols if len(symbols) > 1 else symbols[0], function(*symbols))
    found = model(given if len(given) > 1 else given[0])
    config = json.loads(model.to_json())
    return {"name": name, "config": config, "outputs": found.numpy().tolist()}


def main() -> None:
    """Write the file."""
    generator = np.random.default_rng(0)
    drawn = {key: np.round(generator.normal(size=SHAPE) * 2, 3) for key in ("a", "b")}
    arrays = {key: array.astype("float32") for key, array in drawn.items()}
    first = {"a": arrays["a"]}
    cases = [case(name, function, first) for name, function in ONE.items()]
    cases += [case(name, function, arrays) for name, function in TWO.items()]
    versions = {"tensorflow": tf.__version__, "tf_keras": tf_keras.__version__}
    written = {
        "versions": versions,
        "inputs": {key: array.tolist() for key, array in drawn.items()},
        "cases": cases,
    }
    text = json.dumps(written, separators=(",", ":"))
    (HERE / "operations_tf_keras.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
