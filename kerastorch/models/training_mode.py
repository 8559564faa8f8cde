"""Which layers a model of Keras 2 keeps in one mode, whatever it is called with."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from .._core.errors import FileError
from ..graph.spec import ModelSpec
from ..layers.base.layer import Layer
from ..operations.operation import Operation
from .functional import Functional, Model


def require_modes(spec: ModelSpec, model: Model) -> None:
    """Refuse a layer that runs in two modes, which one module cannot have at once.

    Raises:
        FileError: there is one.
    """
    found: dict[int, set[bool | None]] = {}
    names: dict[int, str] = {}
    for path, module, mode in _modes(model, None, ""):
        names.setdefault(id(module), path)
        found.setdefault(id(module), set()).add(mode)
    wrong = [names[one] for one, modes in found.items() if len(modes) > 1]
    if wrong:
        what = "a layer must be called with one `training` throughout"
        raise FileError(
            f"{spec.source}: {what}. Found: two for {', '.join(map(repr, wrong))}. Rebuild the "
            "model in PyTorch, and load the weights with `load_weights`."
        )


def _modes(
    model: Model, outer: bool | None, prefix: str
) -> Iterator[tuple[str, nn.Module, bool | None]]:
    """Yield the modules that compute by mode, and the mode of each call."""
    if isinstance(model, Functional):
        calls = [(call.layer, call.kwargs.get("training")) for call in model.spec.calls]
    else:
        calls = [(name, None) for name in model.layers]
    layers = model.layers
    for name, own in calls:
        layer, mode, path = layers[name], outer if own is None else own, f"{prefix}{name}"
        if isinstance(layer, Model):
            yield from _modes(layer, mode, f"{path}/")
        elif isinstance(layer, Layer):
            if layer.depends_on_training_mode:
                yield path, layer, mode
        elif not isinstance(layer, Operation):
            yield path, layer, mode
