"""Which layers of a model cannot be written for the model that its config describes."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from ...graph.spec import LayerSpec
from ...models.error_context import missing_layer
from ...models.functional import Model
from .keras_names import activation_spec, kind_of, weight_names
from .module_weights import leaves_of
from .parameters import kinds_of, variables_of


def misplaced(model: Model, prefix: str = "") -> Iterator[str]:
    """Yield why Keras's model of the config has no place for a layer's weights.

    Other sizes than the config's are fine: Keras's model is then made with these.
    """
    layers = model.layers
    for layer in model.spec.layers:
        if layer.operation or layer.class_name == "InputLayer":
            continue
        module, path = layers.get(layer.name), f"{prefix}{layer.name}"
        if module is None:
            yield str(missing_layer(model._title, layer.name, model._attributes[layer.name]))
        elif isinstance(module, Model) and layer.model is not None:
            yield from misplaced(module, f"{path}/")
        elif not _takes(layer, module):
            what = f"the model's config has a {layer.class_name}, which cannot load what is there"
            yield f"{path}: {what}. Found: {type(module).__name__}. Save the weights with torch."


def _takes(layer: LayerSpec, module: nn.Module) -> bool:
    """Return whether the layer of a config has the weights of a module."""
    if layer.model is not None:
        return False
    names = weight_names(layer)
    if names is None:  # a class of the user's own
        return True
    if not names:
        return not leaves_of(module)
    if kind_of(layer) not in kinds_of(module):
        return False
    inner = activation_spec(layer)
    own = {target.name for target in variables_of(module) if target.owner is not module}
    return inner is None or own.issuperset(weight_names(inner) or ())
