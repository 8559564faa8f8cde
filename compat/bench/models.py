"""How fast are whole models that were loaded from a file of Keras?

    python compat/bench/models.py                           # some 20 minutes
    python compat/bench/models.py --networks ResNet50 --skip compiled

Keras makes ResNet50, DenseNet121, MobileNetV2, EfficientNetB0 and Xception of keras.applications,
and a network like MobileNet of grouped convolutions, ReLU(6.0) and residual sums, and saves them;
`kerastorch.load_model` rebuilds them. Images are 224 x 224 (Xception: 299 x 299), numbers float32,
without dropout.

- `native`: the same network in plain PyTorch, in channels_last memory (`networks/`);
- `keras`: Keras's own model on its torch backend;
- `compiled`: ours by `torch.compile` with inductor's `freezing` and `cpp_wrapper` (see the guides),
  and `native compiled`: the hand-written network so;
- `plain`: the code that `kerastorch.to_torch` writes, in channels_last memory, and `folded`: its
  form for inference;
- `onnxruntime`: ours written by `torch.onnx.export`, in onnxruntime.

A train step is forward, then backward from a gradient of the logits that is there already, to all
weights. All share weights and data and are checked to agree first. `tracing` is what torch.compile
takes to trace a model, without a compiler behind it. Every round runs all ways, in random order;
the medians of the ratios within rounds are printed with their quartiles. The clock is the process's
CPU time. Times decide nothing: a missed bar exits with 0.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from networks.applications import EfficientNetB0, MobileNetV2, Xception
from networks.native import BLOCKS, EPSILON, DenseNet121, MobileNet, Native, ResNet50
from timing import CLOCKS, Rounds, Timer, cuda_timer, host_timer, interleave, keep_freed_memory
from torch import Tensor, nn
from variants import import_keras

import kerastorch

CLASSES = 1000
SIZES = {"Xception": 299}  # of images, as the networks were made for; 224 for the others
# In training, torch's normalization in `native` rounds by more: see kerastorch/docs/numerics.md.
TOLERANCE = {"inference": 2e-4, "train step": 2e-2}
LIGHT: dict[str, type[Native]] = {
    cls.__name__: cls for cls in (MobileNetV2, EfficientNetB0, Xception)
}
NATIVE = {**{cls.__name__: cls for cls in (ResNet50, DenseNet121, MobileNet)}, **LIGHT}
# (ratio, over, mode, at this batch only) -> bar, and whether larger is better
BARS: dict[tuple[str, str, str, int | None], tuple[float, bool]] = {
    ("kerastorch", "native", "inference", None): (1.03, False),
    ("kerastorch", "native", "train step", None): (1.03, False),
    ("keras", "kerastorch", "inference", None): (2.0, True),
    ("keras", "kerastorch", "train step", None): (1.7, True),
    ("compiled", "native", "inference", None): (0.72, False),
}
LIGHT_BARS = {
    **BARS,
    # Of a single image, many small layers have little to compute.
    ("kerastorch", "native", "inference", 1): (1.05, False),
    ("keras", "kerastorch", "inference", None): (2.3, True),
}

PLAIN_BARS: dict[tuple[str, str, str, int | None], float] = {
    ("plain", "kerastorch", "inference", None): 1.03,
    ("plain", "kerastorch", "tracing", None): 0.5,
}
FOLDED_BARS = {  # network -> at batch 1 and 8
    "ResNet50": (0.93, 0.90),
    "MobileNetV2": (0.82, 0.85),
    "EfficientNetB0": (0.88, 0.88),
}

Ways = dict[str, Callable[[], Any]]


class Models(NamedTuple):
    """A network as Keras makes it, as loaded from its file, and in plain PyTorch."""

    network: str
    shape: tuple[int, int, int]  # of an image
    keras: Any
    ours: nn.Module
    native: nn.Module


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    keras = import_keras(options.device)
    if keras is None:
        raise SystemExit("Keras makes the models: install it first.")
    timer = cuda_timer() if options.device == "cuda" else host_timer(CLOCKS["cpu"])
    for network in options.networks:
        models = made(network, keras, options.device)
        for batch in options.batches:
            measure_inference(models, batch, timer, options)
        if "plain" not in options.skip:
            measure_tracing(models, timer)
        if "train" not in options.skip:  # afterwards: it moves the statistics of each its own way
            for batch in options.batches:
                measure_training(models, batch, timer, options)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time whole models loaded from Keras's files.")
    add = parser.add_argument
    add("--networks", nargs="+", choices=NATIVE, default=list(NATIVE))
    add("--batches", nargs="+", type=int, default=[1, 8], help="default: 1 8")
    add("--skip", nargs="+", choices=("compiled", "onnxruntime", "plain", "train"), default=[])
    add("--seconds", type=float, default=30.0, help="for each row (default: %(default)s)")
    add("--threads", type=int, default=1, help="default: %(default)s")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args()


def made(network: str, keras: Any, device: str) -> Models:
    keras.utils.clear_session()  # which the names of layers without a given one count in
    keras.utils.set_random_seed(1)
    size = SIZES.get(network, 224)
    shape = (size, size, 3)
    if network == "MobileNet":
        theirs = make_mobilenet(keras.layers, keras.Model, shape)
    else:
        make = getattr(keras.applications, network)
        top = {"classes": CLASSES, "classifier_activation": None}
        theirs = make(weights=None, input_shape=shape, **top)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # else no two train steps compute the same numbers
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        theirs.save(path)
        ours = kerastorch.load_model(path, device=device)
    native = NATIVE[network](CLASSES)
    native.take(ours)
    return Models(network, shape, theirs, ours, native.to(device).eval())


def make_mobilenet(layers: Any, model: Any, shape: tuple[int, int, int]) -> Any:
    """Return Keras's model of the blocks, which pads before strides as its MobileNetV2 does."""

    def convolve(x: Any, name: str, filters: int, size: int, strides: int, **more: Any) -> Any:
        if strides == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        padding = "valid" if strides == 2 else "same"
        arguments = {"strides": strides, "padding": padding, "use_bias": False, **more}
        x = layers.Conv2D(filters, size, name=name, **arguments)(x)
        return layers.BatchNormalization(epsilon=EPSILON, name=name.replace("conv", "bn"))(x)

    inputs = layers.Input(shape)
    x = layers.ReLU(6.0)(convolve(inputs, "stem_conv", 32, 3, 2))
    channels = 32
    for number, (filters, strides) in enumerate(BLOCKS):
        y = convolve(x, f"block{number}_conv0", channels, 3, strides, groups=channels)
        y = convolve(layers.ReLU(6.0)(y), f"block{number}_conv1", filters, 1, 1)
        x = layers.Add()([x, y]) if strides == 1 and channels == filters else y
        channels = filters
    x = layers.GlobalAveragePooling2D()(layers.ReLU(6.0)(x))
    return model(inputs, layers.Dense(CLASSES, name="predictions")(x))


def measure_inference(
    models: Models, batch: int, timer: Timer, options: argparse.Namespace
) -> None:
    network, shape, theirs, ours, native = models
    inputs = normal(batch, *shape).to(options.device)
    ways: Ways = {
        "kerastorch": lambda: ours(inputs),
        "native": lambda: native(inputs),
        "keras": lambda: theirs(inputs, training=False),
    }
    if "compiled" not in options.skip:
        torch.compiler.reset()  # else a second batch would be compiled as one of any size
        ways["compiled"] = frozen(ours, inputs)
        ways["native compiled"] = frozen(native, inputs)
    if "onnxruntime" not in options.skip:
        ways["onnxruntime"] = in_onnxruntime(ours, inputs, options.threads)
    if "plain" not in options.skip:
        plain, folded = make_plain(ours), make_plain(ours, inference=True)
        ways |= {"plain": lambda: plain(inputs), "folded": lambda: folded(inputs)}
    with torch.no_grad():
        check(ways, "inference")
        report(network, batch, "inference", interleave(ways, timer, options.seconds, 5))


def make_plain(model: nn.Module, **options: Any) -> nn.Module:
    """Return the plain PyTorch of a model, in channels_last memory."""
    plain: Any = kerastorch.to_torch(model, **options)
    return plain.to(memory_format=torch.channels_last).eval()  # type: ignore[no-any-return]


def measure_tracing(models: Models, timer: Timer, rounds: int = 5) -> None:
    """Measure what torch.compile takes to trace a model for one image."""
    inputs = normal(1, *models.shape)
    traced = {"kerastorch": models.ours, "plain": make_plain(models.ours), "native": models.native}
    seconds: dict[str, list[float]] = {name: [] for name in traced}

    def trace(model: nn.Module) -> None:
        torch.compiler.reset()
        with torch.no_grad():
            torch.compile(model, backend="eager")(inputs)

    for model in traced.values():  # the first one imports
        trace(model)
    for _ in range(rounds):
        for name, model in traced.items():
            seconds[name].append(timer(lambda model=model: trace(model), 1))
    report(models.network, 1, "tracing", Rounds(seconds))


def measure_training(models: Models, batch: int, timer: Timer, options: argparse.Namespace) -> None:
    network, shape, theirs, ours, native = models
    inputs = normal(batch, *shape).to(options.device)
    gradient = normal(batch, CLASSES).to(options.device)
    ways: Ways = {
        "kerastorch": step(ours.train(), lambda: ours(inputs), gradient),
        "native": step(native.train(), lambda: native(inputs), gradient),
        "keras": step(theirs, lambda: theirs(inputs, training=True), gradient),
    }
    check({"kerastorch": lambda: ours(inputs), "native": lambda: native(inputs)}, "train step")
    report(network, batch, "train step", interleave(ways, timer, options.seconds, 5))


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def step(model: nn.Module, call: Callable[[], Tensor], gradient: Tensor) -> Callable[[], None]:
    parameters = [p for p in model.parameters() if p.requires_grad]

    def run() -> None:
        torch.autograd.backward(call(), gradient)
        for parameter in parameters:
            parameter.grad = None

    return run


def frozen(model: nn.Module, inputs: Tensor) -> Callable[[], Tensor]:
    """Return a model compiled with its weights as constants."""
    import torch._inductor.config as inductor

    inductor.freezing = inductor.cpp_wrapper = True
    compiled = torch.compile(model)
    with torch.no_grad():
        compiled(inputs)
    return lambda: compiled(inputs)


def in_onnxruntime(model: nn.Module, inputs: Tensor, threads: int) -> Callable[[], Tensor]:
    import onnxruntime

    on_cuda = inputs.is_cuda
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(model, (inputs,), path, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        provider = "CUDAExecutionProvider" if on_cuda else "CPUExecutionProvider"
        session = onnxruntime.InferenceSession(path, options, providers=[provider])
    feed = {session.get_inputs()[0].name: inputs.cpu().numpy()}
    return lambda: torch.from_numpy(np.asarray(session.run(None, feed)[0]))


def check(ways: Ways, mode: str) -> None:
    """Raise where the outputs differ: times of different numbers mean nothing."""
    with torch.no_grad():
        outputs = {name: way().detach().cpu() for name, way in ways.items()}
    expected = outputs["native"]
    for name, found in outputs.items():
        apart = float((found - expected).abs().max() / expected.abs().max())
        if not apart <= TOLERANCE[mode]:
            raise SystemExit(f"numbers disagree: {name} and native, by {apart:.1e}")


def report(network: str, batch: int, mode: str, rounds: Rounds) -> None:
    milliseconds = f"native {rounds.milliseconds('native'):.0f} ms, {rounds.count} rounds"
    print(f"{network}, batch {batch}, {mode}: {milliseconds}")
    for line in lines(network, batch, mode, rounds):
        print(f"  {line}", flush=True)


def lines(network: str, batch: int, mode: str, rounds: Rounds) -> Iterator[str]:
    pairs = [("kerastorch", "native"), ("keras", "kerastorch")]
    bars = LIGHT_BARS if network in LIGHT else BARS
    others = ("compiled", "native compiled", "onnxruntime")
    pairs += [(name, "native") for name in others]
    pairs += [("plain", "kerastorch"), ("folded", "plain")]
    pairs = [pair for pair in pairs if set(pair) <= rounds.seconds.keys()]
    bars = {**bars, **{pair: (bar, False) for pair, bar in PLAIN_BARS.items()}}
    for number, bar in zip((1, 8), FOLDED_BARS.get(network, ()), strict=False):
        bars["folded", "plain", "inference", number] = bar, False
    for name, base in pairs:
        ratio, words = rounds.ratio(name, base), ""
        found = bars.get((name, base, mode, batch)) or bars.get((name, base, mode, None))
        if found is not None:
            bar, larger = found
            met = ratio.median >= bar if larger else ratio.median <= bar
            words = f"bar {bar}  {'ok' if met else 'missed'}"
        yield f"{name + ' / ' + base:24} {ratio}  {words}".rstrip()


if __name__ == "__main__":
    main()
