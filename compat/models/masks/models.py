"""Models in which masks and states go from layer to layer, of Keras 2 or of Keras 3.

Each function takes the package, `tf_keras` or `keras`, and returns a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

WORDS, SIZE, STEPS = 9, 3, 6
MASKED = np.array([[0, 0, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 1], [1, 1, 1, 1, 1, 1]])


def make_inputs(model: Any, seed: int) -> list[np.ndarray]:
    """Return an array for each input, with steps that are 0: in front, behind, within, and all."""
    rng, arrays = np.random.default_rng(seed), []
    for number, tensor in enumerate(model.inputs):
        shape, dtype = (4, *tensor.shape[1:]), np.dtype(getattr(tensor.dtype, "name", tensor.dtype))
        steps = np.roll(MASKED, number, axis=0) == 0  # inputs have different masks
        if dtype.kind == "b":
            arrays.append(steps)
        elif len(shape) == 2 and shape[1] == STEPS:
            arrays.append((rng.integers(1, WORDS, shape) * steps).astype(dtype))
        elif len(shape) == 3:
            arrays.append((rng.normal(size=shape) * steps[:, :, None]).astype(dtype))
        else:
            arrays.append(rng.normal(size=shape).astype(dtype))
    return arrays


def fill(model: Any, seed: int) -> None:
    """Set the weights to random values, which a variance may have, too."""
    rng = np.random.default_rng(seed)
    model.set_weights([
        rng.uniform(0.1 if w.ndim == 1 else -1, 1, w.shape) for w in model.get_weights()
    ])  # fmt: skip


def iterate_weights(model: Any, path: str = "") -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield the path of each layer of a model, nested ones included, and its weights."""
    for layer in model.layers:
        own = f"{path}{layer.name}"
        if hasattr(layer, "layers"):
            yield from iterate_weights(layer, f"{own}/")
        else:
            yield own, layer.get_weights()


def words(keras: Any, name: str, **arguments: Any) -> tuple[Any, Any]:
    """Return an input of indices, and its embedding with a mask."""
    found = keras.layers.Input((STEPS,), dtype="int32", name=name)
    embedding = keras.layers.Embedding(WORDS, SIZE, mask_zero=True, name=f"{name}_rows")
    return found, embedding(found)


def text(keras: Any) -> Any:
    layers, (x, h) = keras.layers, words(keras, "x")
    h = layers.Dropout(0.5)(layers.LSTM(4, return_sequences=True)(h))
    return keras.Model(x, layers.Dense(2)(layers.GRU(3)(h)))


def text_in_a_sequential_model(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        layers.Input((STEPS,), dtype="int32"),
        layers.Embedding(WORDS, SIZE, mask_zero=True),
        layers.SimpleRNN(4, return_sequences=True),
        layers.LayerNormalization(),
        layers.GRU(3, return_sequences=True),
    ])  # fmt: skip


def sequences(keras: Any) -> Any:
    """Return a model of which outputs have masks."""
    layers, (x, h) = keras.layers, words(keras, "x")
    h, *states = layers.LSTM(4, return_sequences=True, return_state=True)(h)
    mean = layers.GlobalAveragePooling1D()(h)
    return keras.Model(x, [layers.Dense(2)(h), *states, mean])


def masking(keras: Any) -> Any:
    layers, x = keras.layers, keras.layers.Input((STEPS, 2), name="x")
    h = layers.BatchNormalization()(layers.Masking()(x))
    return keras.Model(x, [layers.LSTM(3)(h), layers.GRU(2, return_sequences=True)(h)])


def backwards(keras: Any) -> Any:
    """Return a model with a mask that does not turn around with its sequence."""
    layers, (x, h) = keras.layers, words(keras, "x")
    h = layers.LSTM(4, return_sequences=True, go_backwards=True)(h)
    return keras.Model(x, layers.GRU(3)(h))


def without_masks_between(keras: Any) -> Any:
    """Return a model of layers and operators that drop masks."""
    layers, (x, h) = keras.layers, words(keras, "x")
    dropped = (h * 2.0, h + 1.0, h[:, :-1], layers.Reshape((STEPS, SIZE))(h))
    dropped += (layers.Conv1D(3, 2)(h), layers.MaxPooling1D(2)(h), layers.ZeroPadding1D(1)(h))
    return keras.Model(x, [layers.GRU(2)(one) for one in dropped])


def merges(keras: Any) -> Any:
    layers, (x, a), (y, b) = keras.layers, words(keras, "x"), words(keras, "y")
    z = layers.Input((STEPS, SIZE), name="z")
    kinds = (layers.Add, layers.Multiply, layers.Maximum, layers.Average, layers.Concatenate)
    merged = [kind()([a, one]) for kind in kinds for one in (b, z)]
    return keras.Model([x, y, z], [layers.GRU(2, return_sequences=True)(one) for one in merged])


def shared(keras: Any) -> Any:
    """Return a model that calls a layer with a mask, with another one, and with none."""
    layers, gru = keras.layers, keras.layers.GRU(SIZE, return_sequences=True)
    x, y = (layers.Input((STEPS,), dtype="int32", name=name) for name in "xy")
    z, table = layers.Input((STEPS, SIZE), name="z"), layers.Embedding(WORDS, SIZE, mask_zero=True)
    return keras.Model([x, y, z], [gru(table(x)), gru(gru(table(y))), gru(z)])


def nested(keras: Any) -> Any:
    """Return a model of two: the first returns a mask, the second one receives it."""
    layers, (x, h) = keras.layers, words(keras, "x")
    first = keras.Model(x, layers.Dense(SIZE)(h), name="first")
    inner = layers.Input((STEPS, SIZE))
    second = keras.Model(inner, layers.LSTM(4, return_sequences=True)(inner), name="second")
    third = keras.Sequential([layers.Input((STEPS, 4)), layers.GRU(3)], name="third")
    y = layers.Input((STEPS,), dtype="int32", name="y")
    h = second(first(y))
    return keras.Model(y, [h, third(h), second(layers.Dense(SIZE)(h))])


def mask_as_input(keras: Any) -> Any:
    """Return a model that calls layers on a mask of its own, in the place of the carried one."""
    layers, (x, h) = keras.layers, words(keras, "x")
    mask = layers.Input((STEPS,), dtype="bool", name="mask")
    return keras.Model([x, mask], [layers.LSTM(3)(h, mask=mask), layers.GRU(3)(h)])


def stack(keras: Any) -> Any:
    layers, (x, h) = keras.layers, words(keras, "x")
    cells = [layers.LSTMCell(3), layers.GRUCell(2)]
    return keras.Model(x, layers.GRU(2)(layers.RNN(cells, return_sequences=True)(h)))


def encoder_and_decoder(keras: Any, *, masked: bool = False) -> Any:
    layers, found = keras.layers, []
    for name in "xy":
        ids = layers.Input((STEPS,), dtype="int32", name=name)
        found += [ids, layers.Embedding(WORDS, SIZE, mask_zero=masked)(ids)]
    x, a, y, b = found
    _, *states = layers.LSTM(4, return_state=True)(a)
    decoded = layers.LSTM(4, return_sequences=True)(b, initial_state=states)
    return keras.Model([x, y], layers.Dense(WORDS)(decoded))


def encoder_and_decoder_with_masks(keras: Any) -> Any:
    """Return a model whose decoder Keras 3 calls without the mask, and Keras 2 with it."""
    return encoder_and_decoder(keras, masked=True)


def decoder_called_with_its_mask(keras: Any) -> Any:
    """Return a model whose decoder has the mask in both Keras 2 and 3."""
    layers, (x, h) = keras.layers, words(keras, "x")
    _, *states = layers.LSTM(4, return_state=True)(h)
    y, table = layers.Input((STEPS,), dtype="int32", name="y"), layers.Embedding(WORDS, SIZE)
    mask = layers.Embedding(WORDS, SIZE, mask_zero=True).compute_mask(y)
    decoded = layers.LSTM(4, return_sequences=True)(table(y), initial_state=states, mask=mask)
    return keras.Model([x, y], layers.Dense(WORDS)(decoded))


def directions(keras: Any) -> Any:
    """Return a model of layers in both directions, which write 0 at masked steps."""
    layers, (x, h) = keras.layers, words(keras, "x")
    both = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(h)
    summed = layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode="sum")(both)
    last = layers.Bidirectional(layers.SimpleRNN(2))(summed)
    _, *states = layers.Bidirectional(layers.LSTM(3, return_state=True))(h)
    again = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(h, initial_state=states)
    return keras.Model(x, [both, summed, last, again])


def one_state(keras: Any) -> Any:
    layers, (x, h) = keras.layers, words(keras, "x")
    state = layers.Input((4,), name="state")
    y = layers.GRU(4, return_sequences=True)(h, initial_state=state)
    return keras.Model([x, state], [y, layers.SimpleRNN(4)(y, initial_state=state)])


def stateful(keras: Any) -> Any:
    layers = keras.layers
    x = layers.Input(batch_shape=(4, STEPS), dtype="int32", name="x")
    h = layers.Embedding(WORDS, SIZE, mask_zero=True)(x)
    h = layers.LSTM(4, return_sequences=True, stateful=True)(h)
    return keras.Model(x, layers.GRU(3, stateful=True)(h))


def chain(keras: Any) -> Any:
    layers, (x, h) = keras.layers, words(keras, "x")
    for layer in list_of_chain(layers):
        h = layer(h)
    return keras.Model(x, layers.GlobalAveragePooling1D()(h))


def chain_in_a_sequential_model(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        layers.Input((STEPS,), dtype="int32"),
        layers.Embedding(WORDS, SIZE, mask_zero=True),
        *list_of_chain(layers),
        layers.GlobalAveragePooling1D(),
    ])  # fmt: skip


def list_of_chain(layers: Any) -> list[Any]:
    return [
        layers.LSTM(4, return_sequences=True),
        layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
        layers.TimeDistributed(layers.Dense(2)),
    ]


MODELS = {
    make.__name__: make
    for make in (
        *(text, text_in_a_sequential_model, sequences, masking, backwards),
        *(without_masks_between, merges, shared, nested, mask_as_input, stack),
        *(encoder_and_decoder, encoder_and_decoder_with_masks, one_state, stateful),
        *(decoder_called_with_its_mask, directions),
    )
}
OF_KERAS_3 = {  # those, and some that are not recorded for Keras 2
    **MODELS,
    **{make.__name__: make for make in (chain, chain_in_a_sequential_model)},
}
CALLS = 2  # of each model; the second one goes on from the states of a stateful one
