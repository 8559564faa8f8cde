"""Rebuild a model from a Keras file where Keras cannot be imported, and write what it computes.

    python compat/models/rebuild.py MODEL INPUTS.npz OUTPUTS.npz

INPUTS has "inputs" and "gradient", the gradient of the logits in training mode. OUTPUTS gets the
logits in evaluation mode ("evaluation") and in training mode ("training"), then, each in Keras's
order of axes, the gradient of every trained weight ("gradients/<layer>/<weight>") and the moving
statistics after the one step ("statistics/<layer>/<weight>").
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

ABSENT = ("keras", "tensorflow", "tf_keras", "jax")


def main(model_file: str, inputs_file: str, outputs_file: str) -> None:
    for name in ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it raises ImportError
    import kerastorch

    data = np.load(inputs_file)
    torch.set_num_threads(1)
    model = kerastorch.load_model(Path(model_file))
    found = {}
    with torch.no_grad():
        found["evaluation"] = model.eval()(data["inputs"]).numpy()
    logits = model.train()(data["inputs"])
    found["training"] = logits.detach().numpy()
    logits.backward(torch.from_numpy(data["gradient"]))
    found.update(weights_of(model))
    np.savez(outputs_file, **found)


def weights_of(model: nn.Module) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the gradients of what is trained, and the values of what is not."""
    from kerastorch.layers.base.layer import Layer

    for layer in model.modules():
        if isinstance(layer, Layer):
            views = {role.name: role.view for role in layer.weight_specs}
            for variable in layer.variables:
                gradient, name = variable.parameter.grad, f"{layer.name}/{variable.name}"
                if gradient is None:
                    yield f"statistics/{name}", variable.value.detach().numpy()
                else:
                    yield f"gradients/{name}", views[variable.name](gradient).numpy()


if __name__ == "__main__":
    main(*sys.argv[1:])
