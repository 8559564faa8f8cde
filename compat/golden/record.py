"""Record what `keras.layers.Conv2D` computes on TensorFlow, as golden arrays for the tests.

Run it where Keras and TensorFlow are installed:

    KERAS_BACKEND=tensorflow python compat/golden/record.py

It writes `conv2d_tensorflow.npz` beside itself. The file holds no pickles: two JSON strings,

- `cases`: a list of `{"arguments", "input_shape", "gradients"}`. `arguments` are the keyword
  arguments of `Conv2D`, `gradients` the names of the tensors whose gradients are in the file;
- `versions`: of keras, tensorflow and numpy,

and for each case `i`, counted from 0, float32 arrays in Keras's axis orders:

- `{i}/input`, `{i}/kernel`, `{i}/bias`: what goes in. Without `use_bias` there is no bias;
- `{i}/output`: what comes out;
- `{i}/cotangent`: the weights of the scalar `sum(output * cotangent)`;
- `{i}/input_gradient`, `{i}/kernel_gradient`, `{i}/bias_gradient`: the scalar's gradients.
"""

import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
from versions import Case, read_versions, require_tensorflow

Arrays = dict[str, np.ndarray]

PATH = Path(__file__).with_name("conv2d_tensorflow.npz")
SEED = 20240607
CASES = 168

# Keras's activations, except `threshold`, which needs arguments, and `glu`, which halves an axis.
ACTIVATIONS = (
    "relu", "tanh", "softmax", "elu", "gelu", "silu", "selu", "sigmoid", "softplus", "leaky_relu",
    "hard_silu", "linear", "log_softmax", "relu6", "hard_sigmoid", "mish", "softsign", "celu",
    "exponential", "hard_tanh", "log_sigmoid", "sparsemax", "squareplus", "soft_shrink",
    "hard_shrink", "tanh_shrink", "sparse_plus", "sparse_sigmoid",
)  # fmt: skip
ACTIVATIONS_OF_LAST_AXIS = ("softmax", "log_softmax", "sparsemax")


def draw_pair(rng: np.random.Generator, high: int) -> list[int] | int:
    """Draw one number from 1 to `high` for each axis; a single number stands for an equal pair."""
    height, width = rng.integers(1, high, size=2, endpoint=True).tolist()
    return height if height == width else [height, width]


def draw_channels(rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw input channels, filters and groups for a plain, a grouped or a depthwise convolution."""
    kind = rng.choice(["plain", "grouped", "depthwise"], p=[0.6, 0.2, 0.2])
    if kind == "plain":
        channels, filters = rng.choice(6, size=2, replace=False) + 1
        return int(channels), int(filters), 1
    groups = int(rng.integers(2, 4))
    width = 1 if kind == "depthwise" else int(rng.integers(2, 4))
    multiplier = int(rng.integers(1, 3))
    return groups * width, groups * multiplier, groups


def draw_size(rng: np.random.Generator, arguments: dict[str, Any]) -> list[int]:
    """Draw an unequal height and width on which the kernel meets at least one pixel."""
    dilation_rate = arguments.get("dilation_rate", 1)
    if arguments["padding"] == "valid":
        least = np.multiply(np.subtract(arguments["kernel_size"], 1), dilation_rate) + 1
    else:
        least = np.minimum(dilation_rate, 2)  # a dilated kernel can miss a single pixel
    height, width = (least + rng.integers(0, 7, size=2)).tolist()
    return [height, width + (height == width)]


def draw_case(rng: np.random.Generator, activation: str | None) -> Case:
    """Draw a valid configuration."""
    channels, filters, groups = draw_channels(rng)
    arguments = {
        "filters": filters,
        "kernel_size": draw_pair(rng, high=5),
        "padding": str(rng.choice(["valid", "same"])),
        str(rng.choice(["strides", "dilation_rate"], p=[0.6, 0.4])): draw_pair(rng, high=3),
        "groups": groups,
        "use_bias": bool(rng.random() < 0.75),
        "data_format": str(rng.choice(["channels_last", "channels_first"], p=[0.8, 0.2])),
    }
    if activation:
        arguments["activation"] = activation
    batch, size = int(rng.integers(1, 4)), draw_size(rng, arguments)
    first = arguments["data_format"] == "channels_first"
    input_shape = [batch, channels, *size] if first else [batch, *size, channels]
    gradients = ["input", "kernel", "bias"] if arguments["use_bias"] else ["input", "kernel"]
    return {"arguments": arguments, "input_shape": input_shape, "gradients": gradients}


def is_telling(case: Case) -> bool:
    """Whether Keras computes this case right and its gradients are more than rounding noise."""
    arguments = case["arguments"]
    last = keras.layers.Conv2D(**arguments).compute_output_shape(case["input_shape"])[-1]
    biased_channels_first = arguments["use_bias"] and arguments["data_format"] == "channels_first"
    if arguments.get("activation") in ACTIVATIONS_OF_LAST_AXIS:
        # Adding the same bias along the axis of a softmax changes nothing.
        return last > 1 and not biased_channels_first
    # Keras 3.15.1 on TensorFlow adds the bias to the wrong axis of a channels_first output that is
    # as wide as it has channels, because of the special case that `add` makes of a bias in
    # `keras/src/backend/tensorflow/numpy.py`. On torch it adds it to the channels.
    return not (biased_channels_first and last == arguments["filters"])


def draw_cases(rng: np.random.Generator) -> list[Case]:
    """Draw telling cases; every second one has an activation, each in its turn."""
    cases: list[Case] = []
    while len(cases) < CASES:
        turn, has_activation = divmod(len(cases), 2)
        activation = ACTIVATIONS[turn % len(ACTIVATIONS)] if has_activation else None
        case = draw_case(rng, activation)
        if is_telling(case):
            cases.append(case)
    return cases


def draw_arrays(rng: np.random.Generator, case: Case, layer: keras.layers.Conv2D) -> Arrays:
    """Draw all that goes in; the kernel's scale lets activations see their bends and tails."""
    shapes = {"input": case["input_shape"], "kernel": layer.kernel.shape}
    if layer.use_bias:
        shapes["bias"] = layer.bias.shape
    shapes["cotangent"] = layer.compute_output_shape(case["input_shape"])
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["kernel"] *= np.float32(2 / math.sqrt(math.prod(layer.kernel.shape[:-1])))
    return arrays


def record(rng: np.random.Generator, case: Case) -> Arrays:
    """Run one case forward and backward, and return everything that went in and came out."""
    import tensorflow as tf  # after `main` has found that Keras runs on it

    layer = keras.layers.Conv2D(**case["arguments"])
    layer.build(case["input_shape"])
    arrays = draw_arrays(rng, case, layer)
    layer.set_weights([arrays[weight.name] for weight in layer.weights])
    inputs = tf.constant(arrays["input"])
    sources = [inputs, *(weight.value for weight in layer.weights)]

    def differentiate() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
            total = tf.reduce_sum(outputs * arrays["cotangent"])
        return outputs, tape.gradient(total, sources)

    # TensorFlow does channels_first on CPU through XLA only.
    through_xla = layer.data_format == "channels_first"
    run = tf.function(differentiate, jit_compile=True) if through_xla else differentiate
    outputs, gradients = run()
    arrays["output"] = outputs.numpy()
    for name, gradient in zip(case["gradients"], gradients, strict=True):
        arrays[f"{name}_gradient"] = gradient.numpy()
    return arrays


def main() -> None:
    require_tensorflow()
    rng = np.random.default_rng(SEED)
    cases = draw_cases(rng)
    arrays: Arrays = {}
    for i, case in enumerate(cases):
        arrays |= {f"{i}/{name}": array for name, array in record(rng, case).items()}
    np.savez_compressed(
        PATH, cases=json.dumps(cases), versions=json.dumps(read_versions()), **arrays
    )
    print(f"{PATH.name}: {len(cases)} cases, {PATH.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
