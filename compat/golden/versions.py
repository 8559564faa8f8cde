"""What wrote a recording: Keras on TensorFlow, and the versions of both."""

from typing import Any

import keras
import numpy as np

Case = dict[str, Any]


def require_tensorflow() -> None:
    """Stop where Keras runs on another backend."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise SystemExit(
            f"The golden arrays come from TensorFlow, but Keras runs on {backend}: "
            "set KERAS_BACKEND=tensorflow."
        )


def read_versions() -> dict[str, str]:
    import tensorflow as tf

    return {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}
