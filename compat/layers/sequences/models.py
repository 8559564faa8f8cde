"""Models of Keras 2 with layers of sequences, for what tf_keras computes of them.

Each function takes `tf_keras` and returns a model; an input has the batch size 4 where its layer
needs one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

BATCH, STEPS, SIZE, UNITS = 4, 6, 2, 3
Make = Callable[[Any], Any]


def start(keras: Any, masked: bool = False, axes: Any = (STEPS, SIZE)) -> tuple[Any, Any]:
    """Return an input, and itself or what Masking makes of it."""
    x = keras.Input(batch_shape=(BATCH, *axes))
    return x, keras.layers.Masking()(x) if masked else x


def make_recurrent(keras: Any, kind: str, given: dict[str, Any]) -> Any:
    """Return a layer by its class, or an RNN of a stack of cells."""
    layers = keras.layers
    if kind == "RNN":
        return layers.RNN([layers.LSTMCell(2), layers.GRUCell(UNITS)], **given)
    if kind.startswith("Conv"):
        return getattr(layers, kind)(2, 2, **given)
    return getattr(layers, kind)(UNITS, **given)


def one_layer(keras: Any, kind: str, masked: bool, given: dict[str, Any]) -> Any:
    x, h = start(keras, masked)
    return keras.Model(x, make_recurrent(keras, kind, given)(h))


def from_states(keras: Any, kind: str, given: dict[str, Any]) -> Any:
    """Return a masked layer that starts from states that are inputs."""
    x, h = start(keras, masked=True)
    sizes = {"LSTM": [UNITS, UNITS], "RNN": [2, 2, UNITS]}.get(kind, [UNITS])
    states = [keras.Input(batch_shape=(BATCH, size)) for size in sizes]
    nested = [states[:2], states[2]] if kind == "RNN" else states
    layer = make_recurrent(keras, kind, {"return_sequences": True, "return_state": True, **given})
    return keras.Model([x, *states], layer(h, initial_state=nested))


def time_first(keras: Any, kind: str, given: dict[str, Any]) -> Any:
    """Return a layer of sequences (time, batch, features), and a mask (time, batch)."""
    x, h = start(keras, True, (BATCH, SIZE))
    layer = make_recurrent(keras, kind, {"time_major": True, **given})
    return keras.Model(x, layer(h))


def both_directions(keras: Any, mode: str | None, kind: str, given: dict[str, Any]) -> Any:
    x, h = start(keras, masked=True)
    layer = make_recurrent(keras, kind, given)
    return keras.Model(x, keras.layers.Bidirectional(layer, merge_mode=mode)(h))


def two_layers(keras: Any) -> Any:
    """Return a masked Bidirectional of two layers of different classes, with states."""
    layers, (x, h) = keras.layers, start(keras, masked=True)
    states = [keras.Input(batch_shape=(BATCH, size)) for size in (UNITS, UNITS, 2, 2)]
    back = layers.LSTM(2, return_sequences=True, go_backwards=True)
    both = layers.Bidirectional(layers.LSTM(UNITS, return_sequences=True), backward_layer=back)
    return keras.Model([x, *states], both(h, initial_state=states))


def convolutional(keras: Any, rank: int, given: dict[str, Any], masked: bool) -> Any:
    x = keras.Input(batch_shape=(BATCH, 3, *(5, 4, 3)[:rank], SIZE))
    mask = keras.Input(batch_shape=(BATCH, 3), dtype="bool")
    layer = make_recurrent(keras, f"ConvLSTM{rank}D", {"padding": "same", **given})
    return keras.Model([x, mask], layer(x, mask=mask if masked else None))


def attention(keras: Any, kind: str, masked: bool, given: dict[str, Any], call: Any) -> Any:
    """Return attention with masks of its inputs or with its own, by position."""
    query, q = start(keras, masked)
    value, v = start(keras, masked, (STEPS + 1, SIZE))
    masks = [keras.Input(batch_shape=(BATCH, n), dtype="bool") for n in (STEPS, STEPS + 1)]
    layer = getattr(keras.layers, kind)(**given)
    return keras.Model([query, value, *masks], layer([q, v], *([] if masked else [masks]), **call))


def heads(keras: Any, masked: bool, given: dict[str, Any], call: dict[str, Any]) -> Any:
    """Return attention of several heads, to values of another size."""
    query, q = start(keras, masked)
    value, v = start(keras, masked, (STEPS + 1, 3))
    allowed = keras.Input(batch_shape=(BATCH, STEPS, STEPS + 1), dtype="bool")
    layer = keras.layers.MultiHeadAttention(2, 3, **given)
    return keras.Model([query, value, allowed], layer(q, v, None, allowed, **call))


def attention_over_two_axes(keras: Any) -> Any:
    x = keras.Input(batch_shape=(BATCH, 3, 2, SIZE))
    layer = keras.layers.MultiHeadAttention(2, 3, attention_axes=(1, 2), value_dim=4)
    return keras.Model(x, layer(x, x))


def constants(keras: Any, kind: str, with_states: bool) -> Any:
    """Return a layer whose cell adds a constant at each step."""
    x, h = start(keras, True, (STEPS, UNITS))
    inputs = [keras.Input(batch_shape=(BATCH, UNITS)) for _ in range(3)]
    cell = make_cell(keras)
    if kind == "stack":
        layer = keras.layers.RNN([keras.layers.GRUCell(UNITS), cell], return_sequences=True)
    else:
        layer = keras.layers.RNN(cell, return_sequences=True)
    states = inputs[:1] if with_states else None
    if kind == "Bidirectional":
        layer, states = keras.layers.Bidirectional(layer), inputs[:2] if with_states else None
    return keras.Model([x, *inputs], layer(h, initial_state=states, constants=inputs[2:]))


def make_cell(keras: Any) -> Any:
    """Return a cell without weights that takes constants."""

    class Adding(keras.layers.Layer):
        state_size = UNITS

        def call(self, inputs: Any, states: Any, constants: Any = None) -> Any:
            output = keras.activations.tanh(inputs - states[0] + constants[0])
            return output, [output]

    return Adding()


def at_each_step(keras: Any, inner: str) -> Any:
    """Return a layer or a model at each step of a sequence."""
    layers, axes = keras.layers, (STEPS, SIZE) if inner == "model" else (3, STEPS, SIZE)
    x, h = start(keras, inner == "model", axes)
    parts = [layers.Dense(4), layers.LayerNormalization(), layers.Dense(UNITS)]
    layer = keras.Sequential(parts) if inner == "model" else layers.LSTM(UNITS)
    return keras.Model(x, layers.TimeDistributed(layer)(h))


def softmax(keras: Any) -> Any:
    """Return a softmax with a mask, which may leave out all of a row."""
    x, mask = keras.Input(batch_shape=(BATCH, STEPS)), keras.Input((STEPS,), BATCH, dtype="bool")
    return keras.Model([x, mask], keras.layers.Softmax()(x, mask=mask))


def tiny_products(keras: Any) -> Any:
    """Return products of normalized vectors below the least norm."""
    x, y = start(keras)[0], start(keras)[0]
    return keras.Model([x, y], keras.layers.Dot(2, normalize=True)([x * 1e-7, y]))


def list_models() -> Iterator[tuple[str, Make]]:
    """Yield models with their names."""
    on = {"return_sequences": True, "return_state": True}
    for kind in ("LSTM", "GRU", "SimpleRNN", "RNN"):
        for masked, back, sequences in itertools.product((False, True), repeat=3):
            given = {"go_backwards": back, "return_sequences": sequences, "return_state": back}
            name = f"{kind} {'masked' if masked else 'plain'} {back:d}{sequences:d}"
            yield name, partial(one_layer, kind=kind, masked=masked, given=given)
        for name, given in {
            "stateful": {"stateful": True, **on},
            "zero output": {"zero_output_for_mask": True, **on},
            "unrolled": {"unroll": True, **on},
        }.items():
            yield f"{kind} {name}", partial(one_layer, kind=kind, masked=True, given=given)
        for name, given in {"": {}, " backwards": {"go_backwards": True}}.items():
            yield f"{kind} from states{name}", partial(from_states, kind=kind, given=given)
        for back, sequences in itertools.product((False, True), repeat=2):
            given = {"go_backwards": back, "return_sequences": sequences, "return_state": back}
            yield f"{kind} time {back:d}{sequences:d}", partial(time_first, kind=kind, given=given)
        for mode in ("concat", "sum", "ave", "mul", None) if kind != "RNN" else ():
            for sequences in (False, True):
                given = {"return_sequences": sequences, "return_state": mode in ("sum", None)}
                make = partial(both_directions, mode=mode, kind=kind, given=given)
                yield f"both {kind} {mode} {sequences:d}", make
    for name, kind, given in (
        ("before", "GRU", {"reset_after": False}),
        ("old LSTM", "LSTM", {"recurrent_activation": "hard_sigmoid", "implementation": 1}),
        ("old GRU", "GRU", {"recurrent_activation": "hard_sigmoid", "use_bias": False}),
        ("relu", "LSTM", {"activation": "relu", "use_bias": False}),
        ("softsign", "SimpleRNN", {"activation": "softsign"}),
    ):
        yield name, partial(one_layer, kind=kind, masked=True, given={**on, **given})
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        given = {"activity_regularizer": "l2", **on}
        yield f"activity {kind}", partial(one_layer, kind=kind, masked=False, given=given)
        make = partial(both_directions, mode="concat", kind=kind, given=given)
        yield f"activity of both {kind}", make
    turned = {"time_major": True, "return_sequences": True}
    yield (
        "both time first",
        lambda keras: keras.Model(
            *(lambda x, h: (x, keras.layers.Bidirectional(keras.layers.GRU(UNITS, **turned))(h)))(
                *start(keras, True, (BATCH, SIZE))
            )
        ),
    )
    yield "both classes", two_layers
    for rank, name, given in (
        (1, "plain", {"activity_regularizer": "l2"}),
        (2, "plain", {}),
        (2, "strided", {"strides": (2, 1), "padding": "valid", **on}),
        (2, "dilated", {"dilation_rate": 2, "go_backwards": True, **on}),
        (2, "stateful", {"stateful": True, "return_sequences": True}),
        (3, "plain", {"recurrent_activation": "sigmoid"}),
    ):
        make = partial(convolutional, rank=rank, given=given, masked=name != "plain")
        yield f"ConvLSTM{rank}D {name}", make
    for kind, masked in itertools.product(("Attention", "AdditiveAttention"), (False, True)):
        for name, given, call in (
            ("scale", {"use_scale": True}, {"return_attention_scores": True}),
            ("causal", {"use_scale": False, "dropout": 0.5}, {"use_causal_mask": True}),
        ):
            make = partial(attention, kind=kind, masked=masked, given=given, call=call)
            yield f"{kind} {name} {masked:d}", make
    scores = partial(attention, kind="Attention", masked=True, given={"score_mode": "concat"})
    yield "Attention concat", partial(scores, call={})
    for masked, (name, given, call) in itertools.product(
        (False, True),
        (
            ("plain", {}, {}),
            ("scores", {"dropout": 0.5}, {"return_attention_scores": True}),
            ("causal", {"value_dim": 4, "output_shape": 5}, {"use_causal_mask": True}),
        ),
    ):
        yield f"heads {name} {masked:d}", partial(heads, masked=masked, given=given, call=call)
    yield "heads over two axes", attention_over_two_axes
    for kind, states in itertools.product(("one", "stack", "Bidirectional"), (False, True)):
        if (kind, states) != ("stack", True):
            make = partial(constants, kind=kind, with_states=states)
            yield f"constants {kind} {states:d}", make
    yield from (("softmax", softmax), ("tiny products", tiny_products))
    for inner in ("model", "layer"):
        yield f"at each step {inner}", partial(at_each_step, inner=inner)


MODELS = dict(list_models())
CALLS = 2  # of each model; the second one goes on from the states of a stateful one
