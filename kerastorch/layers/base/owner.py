"""LayerOwner: the base of the layers whose weights are those of other layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from ... import dtype_policies
from ..._core.registry import ALIASES, LAYERS, OLD_NAMES
from .layer import Layer
from .weights import Callback, WeightView

Groups = list[tuple[str, tuple[str, ...]]]


class LayerOwner(Layer):
    """A layer that holds other layers, or other torch modules, and has no weight itself."""

    depends_on_training_mode = True  # where one of its layers does
    forced_arguments: ClassVar[tuple[str, ...]] = ()  # of the layers, whatever these were made with

    def _list_owned(self) -> list[Any]:
        """Return the modules that it holds, in Keras's order of their weights."""
        raise NotImplementedError

    def _list_layers(self) -> list[Layer]:
        """Return the layers that it holds, those in models and other modules included."""
        return [layer for owned in self._list_owned() for layer in _find_layers(owned)]

    def _register_weights(self, device: Any, input_shape: Any = None) -> None:
        """Freeze the weights if the layer is frozen; build the layer for a sample."""
        if not self._trainable:
            for parameter in self.parameters():
                parameter.requires_grad = False
        super()._register_weights(device, input_shape)

    @classmethod
    def weight_names(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return Keras's names of the weights of a layer with this config."""
        return tuple(name for _, names in cls.weight_groups(config) for name in names)

    @property
    def dtype_policy(self) -> dtype_policies.DTypePolicy:
        """The dtype policy; after `.half()`, `.double()` and the like, that dtype."""
        return self._policy

    @property
    def built(self) -> bool:
        """Whether the weights of all layers have their shapes."""
        return all(layer.built for layer in self._list_layers())

    @property
    def variables(self) -> list[WeightView]:
        """The weights of the layers; their regularizers and constraints are left to these."""
        layers = self._list_layers() if self.built else []
        found = (variable for layer in layers for variable in layer.variables)
        return [variable._replace(regularizer=None, constraint=None) for variable in found]

    @property
    def trainable(self) -> bool:
        """Whether the weights are trained; setting it sets that of the layers, too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)
        for owned in self._list_owned():
            if isinstance(owned, Layer):
                owned.trainable = value
            else:
                owned.requires_grad_(self._trainable)

    @property
    def losses(self) -> list[Tensor]:
        """Keras's loss terms: the activity terms of all layers, then those of their weights."""
        return list_losses(self)

    def _iterate_penalties(self) -> Iterator[tuple[Callback, WeightView]]:
        return iter(())

    def _find_first_tensor(self) -> Tensor | None:
        for tensor in self.parameters():
            return tensor
        return None

    def _require_writable(self, variable: WeightView) -> None:
        for layer in self._list_layers():
            for own in layer.variables:
                if own.parameter is variable.parameter:
                    layer._require_writable(own)
                    return
        super()._require_writable(variable)

    def reset_parameters(self) -> None:
        """Sample new initial values for the weights of all layers."""
        for layer in self._list_layers():
            layer.reset_parameters()

    def _is_lowerable(self) -> bool:
        return False


def list_losses(module: nn.Module) -> list[Tensor]:
    """Return the terms of all layers in a module, each once: of activities, then of weights."""
    layers = [one for one in module.modules() if isinstance(one, Layer)]
    terms = [term for layer in layers for term in layer._activity_losses]
    pairs = (pair for layer in layers for pair in layer._iterate_penalties())
    return [*terms, *(rule(variable.value) for rule, variable in pairs)]


def _find_layers(module: nn.Module) -> Iterator[Layer]:
    """Yield a layer, or the outermost layers in another module."""
    if isinstance(module, Layer):
        yield module
        return
    for child in module.children():
        yield from _find_layers(child)


def nest_groups(path: str, entry: Any) -> Groups:
    """Return the groups of the weights of a layer below a path, for its entry in a config."""
    name = entry.get("class_name") if isinstance(entry, Mapping) else None
    kind = LAYERS.get({**OLD_NAMES, **ALIASES}.get(name, name)) if isinstance(name, str) else None
    if kind is None:
        return []
    groups: Groups = kind.weight_groups(entry["config"])
    return [(f"{path}/{group}" if group else path, names) for group, names in groups]


def require_module(owner: Layer, argument: str, value: Any, *attributes: str) -> None:
    """Refuse what is no module, or one without the attributes."""
    if not isinstance(value, nn.Module):
        owner._refuse_argument(argument, "a layer or another torch.nn.Module", value)
    missing = [name for name in attributes if not hasattr(value, name)]
    if missing:
        rule = f"a layer with the attributes {', '.join(attributes)}"
        owner._refuse_argument(argument, rule, value, missing=missing, error=TypeError)
