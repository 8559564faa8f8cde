"""Save the text classifier that the guides load, with Keras 3.

Run it where Keras is installed, with any backend:

    KERAS_BACKEND=torch python compat/golden/record_text.py

It writes `text.keras` beside itself: an embedding of 20 words with a mask, an LSTM, and a readout
of 3 classes.
"""

from pathlib import Path

import keras

PATH = Path(__file__).with_name("text.keras")


def main() -> None:
    keras.utils.set_random_seed(20261129)
    model = keras.Sequential([
        keras.Input((None,), dtype="int32", name="ids"),
        keras.layers.Embedding(20, 4, mask_zero=True, name="embedding"),
        keras.layers.LSTM(8, name="lstm"),
        keras.layers.Dense(3, name="readout"),
    ], name="text")  # fmt: skip
    model.save(PATH)
    print(f"{PATH.name}: {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
