"""Record what a Keras model computes, layer by layer, for `kerastorch.compare` to check a port.

Run it where Keras lives, on whatever backend; neither PyTorch nor kerastorch is needed there:

    python compat/record_reference.py model.keras

It writes `model.reference.npz` beside the model: random inputs, the outputs, and what every layer
takes and gives out, and its weights. The file holds no pickles. It needs
`kerastorch/_comparison/recording.py` of the same checkout, which knows NumPy only.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

_FILE = Path(__file__).parents[1] / "kerastorch" / "_comparison" / "recording.py"
_RECORDING = runpy.run_path(str(_FILE))
MOST_INTEGER = 9  # few tables are shorter than ten


def record(model: Any, inputs: Any, path: str | Path, *, weights: bool = True) -> Any:
    """Run a Keras model on a batch, and write down what every layer takes and gives out.

    Args:
        model: A model of Keras 2 or 3.
        inputs: An array, or a list or dict of them, as the model takes it.
        path: The `.npz` file to write.
        weights: Whether to keep the layers' weights, too, so that wrong ones are told apart.

    Returns:
        What was recorded.
    """
    import keras

    version, backend = keras.__version__, keras.backend.backend()
    recording = _RECORDING["record"](model, inputs, keras=version, backend=backend, weights=weights)
    _RECORDING["write_recording"](recording, Path(path))
    return recording


def random_inputs(model: Any, batch: int, size: int, seed: int) -> Any:
    """Return inputs of a model's shapes and types.

    Args:
        model: A model that knows its inputs: not a subclassed one.
        batch: The size of the batch.
        size: What takes the place of sizes that the model leaves open.
        seed: Where the random numbers start.
    """
    generator = np.random.default_rng(seed)

    def drawn(tensor: Any) -> np.ndarray:
        shape = (batch, *(size if n is None else n for n in tensor.shape[1:]))
        dtype = str(getattr(tensor.dtype, "name", tensor.dtype))
        if "bool" in dtype:
            return generator.random(shape) < 0.5
        if "int" in dtype:
            return generator.integers(0, MOST_INTEGER + 1, shape).astype(dtype)
        if "float" not in dtype:
            raise SystemExit(f"record_reference: inputs of the type {dtype} cannot be drawn.")
        floats = generator.normal(size=shape)
        return floats.astype("float32" if dtype == "bfloat16" else dtype)

    return _RECORDING["mapped"](drawn, _symbolic_inputs(model))


def _symbolic_inputs(model: Any) -> Any:
    try:
        return model.input
    except (AttributeError, ValueError):  # Keras 3's Sequential has a list only
        if getattr(model, "inputs", None):
            return model.inputs[0]
    name = type(model).__name__
    remedy = "Import `record` and give it a batch"
    raise SystemExit(f"record_reference: {name} does not know its inputs. {remedy}.")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="a .keras or .h5 file")
    parser.add_argument("-o", "--output", type=Path, help="by default model.reference.npz")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=64, help="for sizes that the model leaves open")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-weights", action="store_true", help="leave the weights out")
    given = parser.parse_args(arguments)

    import keras

    model = keras.models.load_model(given.model, compile=False)
    path = given.output or given.model.with_suffix(".reference.npz")
    inputs = random_inputs(model, given.batch, given.size, given.seed)
    recording = record(model, inputs, path, weights=not given.no_weights)
    layers = len({call.layer for call in recording.calls})
    print(f"{path}: {layers} layers, {path.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
