"""Rebuild models from Keras files where Keras cannot be imported, and write what they compute.

    python compat/models/rebuild.py FOLDER

For each NAME.keras and NAME.h5 in the folder, NAME.npz has "inputs" and "gradient", the gradient of
the logits in training mode. A file `.outputs.npz` beside each gets the logits in evaluation mode
("evaluation") and in training mode ("training"), then, each in Keras's order of axes, the gradient
of every trained weight ("gradients/<layers>/<number>") and, after the one step, what is not trained
("statistics/<layers>/<number>").
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

ABSENT = ("keras", "tensorflow", "tf_keras", "jax")


def main(folder: str) -> None:
    for name in ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it raises ImportError
    torch.set_num_threads(1)
    for path in Path(folder).iterdir():
        if path.suffix in (".keras", ".h5"):
            with np.load(path.with_suffix(".npz")) as given:
                found = compute(path, given["inputs"], given["gradient"])
            np.savez(f"{path}.outputs.npz", **found)


def compute(path: Path, inputs: np.ndarray, gradient: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a model computes of the inputs, and of the gradient of its logits."""
    import kerastorch

    kerastorch.config.set_floatx(inputs.dtype.name)  # of numbers in operations between layers
    model, found = kerastorch.load_model(path), {}
    with torch.no_grad():
        found["evaluation"] = model.eval()(inputs).numpy()
    logits = model.train()(inputs)
    found["training"] = logits.detach().numpy()
    logits.backward(torch.from_numpy(gradient))
    return {**found, **dict(weights_of(model))}


def weights_of(model: nn.Module, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the gradients of what is trained, and the values of what is not."""
    from kerastorch.layers.base.layer import Layer

    for name, layer in model.layers.items():
        if not isinstance(layer, Layer):
            yield from weights_of(layer, f"{path}{name}/") if hasattr(layer, "layers") else ()
            continue
        for i, variable in enumerate(layer.variables):
            own = f"{path}{name}/{i}"
            if variable.parameter.requires_grad:
                gradient = variable.view(*(parameter.grad for parameter in variable.parameters))
                yield f"gradients/{own}", gradient.numpy()
            else:
                yield f"statistics/{own}", variable.value.detach().numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
