"""Calls that Keras refuses: refused here with the same exception type, and never answered."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import kerastorch

keras = pytest.importorskip("keras")
BATCH = np.random.default_rng(0).standard_normal((2, 7, 6, 4)).astype("float32")


class Call(NamedTuple):
    """Something done with a library that has `layers.Conv2D`."""

    label: str
    run: Callable[[Any], Any]


def constructed(**changed: Any) -> Callable[[Any], Any]:
    """Construct a layer with the arguments, and call it on a batch."""
    arguments = {"filters": 4, "kernel_size": 3, **changed}
    return lambda library: library.layers.Conv2D(**arguments)(BATCH)


def on_built(do: Callable[[Any], Any], **arguments: Any) -> Callable[[Any], Any]:
    """Do something with a layer that has been called."""

    def run(library: Any) -> Any:
        layer = library.layers.Conv2D(**{"filters": 4, "kernel_size": 3, **arguments})
        layer(BATCH)
        return do(layer)

    return run


def on_new(do: Callable[[Any], Any], **arguments: Any) -> Callable[[Any], Any]:
    """Do something with a layer that is not built."""
    return lambda library: do(
        library.layers.Conv2D(**{"filters": 4, "kernel_size": 3, **arguments})
    )


def constructor_calls() -> Iterator[Call]:
    """Yield calls with more than one wrong argument; `tests/layers` has the rest as rows."""
    for filters, groups in ((5, 2), (6, 4), (3, 2), (10, 4), (1, 2)):
        yield Call(f"{filters=} {groups=}", constructed(filters=filters, groups=groups))
    for strides, dilation in (((2, 2), 2), ((1, 2), (2, 1)), (3, (1, 2)), ((2, 1), 3), (2, 5)):
        label = f"strides={strides} dilation_rate={dilation}"
        yield Call(label, constructed(strides=strides, dilation_rate=dilation))
    yield Call("lora and constraint", constructed(lora_rank=2, kernel_constraint="non_neg"))
    yield Call(
        "orthogonal penalty",
        on_built(lambda layer: layer.losses, kernel_regularizer="orthogonal_regularizer"),
    )
    yield Call("no arguments", lambda library: library.layers.Conv2D())
    yield Call("no kernel size", lambda library: library.layers.Conv2D(3))
    yield Call(
        "too many",
        lambda library: library.layers.Conv2D(
            3, 3, 1, "valid", None, 1, 1, None, True, "zeros", "zeros", *[None] * 5, 7
        ),
    )
    yield Call("twice", lambda library: library.layers.Conv2D(3, 3, filters=3))


def input_calls() -> Iterator[Call]:
    inputs = {
        "1-D": BATCH[0, 0, 0],
        "2-D": BATCH[0, 0],
        "3-D": BATCH[0],
        "scalar": np.float32(1),
        "5-D": BATCH[None],
        "3 channels": BATCH[..., :3],
        "8 channels": np.tile(BATCH, 2),
        "1 channel": BATCH[..., :1],
        "channels first": BATCH.transpose(0, 3, 1, 2),
        "list": BATCH.tolist(),
        "string": "abc",
        "None": None,
        "number": 1.0,
        "object": object(),
        "list of arrays": [BATCH],
        "dict": {"a": BATCH},
        "strings": np.array([["a"]]),
    }
    for (label, value), built in itertools.product(inputs.items(), (True, False)):
        if not built and ("channel" in label or label in STUMBLES):
            continue
        wrap = on_built if built else on_new
        yield Call(f"call {label} built={built}", wrap(lambda layer, value=value: layer(value)))
        if isinstance(value, np.ndarray) and value.dtype == np.float32:
            tensor = torch.tensor(value)
            run = wrap(lambda layer, tensor=tensor: layer(tensor))
            yield Call(f"call tensor {label} built={built}", run)
    for layout, height, width in (
        ("channels_last", 2, 6),
        ("channels_last", 7, 1),
        ("channels_first", 2, 6),
        ("channels_last", 0, 6),
    ):
        shape = (2, height, width, 4) if layout == "channels_last" else (2, 4, height, width)
        x = np.zeros(shape, "float32")
        yield Call(f"too small {shape}", on_new(lambda layer, x=x: layer(x), data_format=layout))
    for groups, channels in ((2, 3), (4, 6), (3, 4), (2, 1)):
        x = np.zeros((2, 7, 6, channels), "float32")
        yield Call(
            f"{groups} groups of {channels}",
            on_new(lambda layer, x=x: layer(x), groups=groups, filters=12),
        )
    yield Call("no input", on_built(lambda layer: layer()))
    yield Call("two inputs", on_built(lambda layer: layer(BATCH, BATCH)))
    yield Call("unknown keyword", on_built(lambda layer: layer(BATCH, foo=1)))
    yield Call("mask", on_built(lambda layer: layer(BATCH, mask=None)))


def method_calls() -> Iterator[Call]:
    kernel, bias = np.zeros((3, 3, 4, 4)), np.zeros(4)
    weights = {
        "none": [],
        "one": [kernel],
        "three": [kernel, bias, bias],
        "swapped": [bias, kernel],
        "wrong kernel": [np.zeros((3, 3, 4, 5)), bias],
        "pytorch": [np.zeros((5, 4, 3, 3)), bias],
        "wrong bias": [kernel, np.zeros(5)],
        "bias 2-D": [kernel, np.zeros((4, 1))],
        "strings": [kernel.astype(str), bias],
        "scalar bias": [kernel, np.zeros(())],
    }
    for label, value in weights.items():
        yield Call(f"set_weights {label}", on_built(lambda la, v=value: la.set_weights(v)))
    yield Call("set_weights unbuilt", on_new(lambda layer: layer.set_weights([kernel, bias])))
    shapes = (
        (7, 6, 4),
        (None, 7, 6),
        (1, 2, 7, 6, 4),
        (None, 7, 6, 4, 4),
        (None, 2, 6, 4),
        (None, 7, 2, 4),
        (None, 0, 6, 4),
        (None, -7, 6, 4),
        (None, 7, 6, -4),
    )
    for shape in shapes:
        yield Call(f"build {shape}", on_new(lambda layer, s=shape: layer.build(s)))
        if -4 not in shape:
            yield Call(
                f"output shape {shape}",
                on_new(lambda layer, s=shape: layer.compute_output_shape(s)),
            )
    for channels, groups in ((3, 2), (5, 4), (1, 2)):
        shape = (None, 7, 6, channels)
        yield Call(
            f"build {channels} channels in {groups} groups",
            on_new(lambda layer, s=shape: layer.build(s), groups=groups),
        )
    yield Call("build twice", on_built(lambda layer: layer.build((None, 7, 6, 4))))
    yield Call("count_params unbuilt", on_new(lambda layer: layer.count_params()))
    yield Call("enable_lora unbuilt", on_new(lambda layer: layer.enable_lora(2)))
    yield Call("enable_lora twice", on_built(lambda layer: [layer.enable_lora(2) for _ in "ab"]))
    yield Call(
        "enable_lora constraint",
        on_built(lambda layer: layer.enable_lora(2), kernel_constraint="non_neg"),
    )
    for rank in (-1, 2.0, "2"):
        yield Call(f"enable_lora({rank!r})", on_built(lambda layer, r=rank: layer.enable_lora(r)))
    configs = {
        "no filters": {"kernel_size": 3},
        "no kernel": {"filters": 3},
        "empty": {},
        "list": [1],
        "bad filters": {"filters": 0, "kernel_size": 3},
        "None": None,
        "number": 3,
        "unknown": {"filters": 2, "kernel_size": 3, "zzz": 1},
        "bad name": {"filters": 2, "kernel_size": 3, "name": "a/b"},
        "bad padding": {"filters": 2, "kernel_size": 3, "padding": "x"},
        "bad activation": {"filters": 2, "kernel_size": 3, "activation": "nope"},
        "bad regularizer": {"filters": 2, "kernel_size": 3, "kernel_regularizer": "nope"},
        "bad dtype": {"filters": 2, "kernel_size": 3, "dtype": "float31"},
    }
    for label, config in configs.items():
        yield Call(f"from_config {label}", lambda li, c=config: li.layers.Conv2D.from_config(c))


# Keras stumbles here over what it does not check; a layer of this package says what is wrong.
STUMBLES: dict[str, tuple[Callable[[Any], Any], type[Exception]]] = {
    "rank=1": (constructed(rank=1), TypeError),
    "padding=None": (constructed(padding=None), AttributeError),
    "padding=1": (constructed(padding=1), AttributeError),
    "filters='4'": (constructed(filters="4"), TypeError),
    "groups=None": (constructed(groups=None), TypeError),
    "groups='2'": (constructed(groups="2"), TypeError),
    "kernel_size='33'": (constructed(kernel_size="33"), TypeError),
    "kernel_size=('2', 1)": (constructed(kernel_size=("2", 1)), TypeError),
    "strides=(2.0, 2.0)": (constructed(strides=(2.0, 2.0)), TypeError),
    "dtype='int32'": (constructed(dtype="int32"), NotImplementedError),
    "constant of 2 values": (
        lambda library: constructed(
            kernel_initializer=library.initializers.Constant(np.array([1.0, 2.0]))
        )(library),
        RuntimeError,
    ),
    "initializer of another shape": (
        constructed(kernel_initializer=lambda shape, dtype=None: np.zeros((1, 2))),
        RuntimeError,
    ),
    "list of arrays": (on_new(lambda layer: layer([BATCH])), TypeError),
    "dict": (on_new(lambda layer: layer({"a": BATCH})), KeyError),
    "complex": (on_built(lambda layer: layer(BATCH.astype("complex64"))), RuntimeError),
    "too small once built": (on_built(lambda layer: layer(BATCH[:, :2])), RuntimeError),
    "empty once built": (on_built(lambda layer: layer(BATCH[:, :0]), padding="same"), RuntimeError),
    "build(7)": (on_new(lambda layer: layer.build(7)), TypeError),
    "build('abc')": (on_new(lambda layer: layer.build("abc")), TypeError),
    "build without channels": (on_new(lambda layer: layer.build((None, 7, 6, None))), TypeError),
    "output shape of 3": (on_new(lambda layer: layer.compute_output_shape(3)), TypeError),
    "output shape of ()": (on_new(lambda layer: layer.compute_output_shape(())), IndexError),
    "set_weights(None)": (on_built(lambda layer: layer.set_weights(None)), TypeError),
}
CALLS = {call.label: call.run for call in (*constructor_calls(), *input_calls(), *method_calls())}


def outcome(run: Callable[[Any], Any], library: Any) -> type[BaseException] | None:
    """Return the type of what the call raises, or None."""
    try:
        run(library)
    except Exception as error:
        return type(error)
    return None


@pytest.mark.parametrize("run", CALLS.values(), ids=CALLS)
def test_refused_as_in_keras(run: Callable[[Any], Any]) -> None:
    wanted = outcome(run, keras)
    assert wanted is not None
    assert outcome(run, kerastorch) is wanted


@pytest.mark.parametrize(("run", "stumble"), STUMBLES.values(), ids=STUMBLES)
def test_refused_where_keras_stumbles(run: Callable[[Any], Any], stumble: type[Exception]) -> None:
    assert issubclass(outcome(run, keras) or object, stumble)
    assert outcome(run, kerastorch) is ValueError


def test_there_are_enough_invalid_calls() -> None:
    assert len(CALLS) >= 90
