"""TimeDistributed: a layer that is called on each step of a sequence."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..._core.registry import keras_layer
from ..base import nesting
from ..base.layer import Layer
from ..base.owner import Groups, nest_groups, require_module
from .wrapper import Wrapper

__all__ = ["TimeDistributed"]


@keras_layer()
class TimeDistributed(Wrapper):
    """Calls a layer on each step of a sequence, with the same weights.

    Same as `keras.layers.TimeDistributed`, except that the inner layer computes in its own dtype,
    and that each of several outputs has the axis of time. All steps are computed at once where
    that gives the same numbers, and one after the other where it does not: with batch
    statistics in training, states, seeds, activity regularizers inside of the layer, operations of
    `keras.ops`, and modules that are not of this package, which are called as Keras calls them. As
    in Keras, the activity regularizer of the layer itself is left out, and those of layers inside
    of it give one term for each step.

    In a model of Keras 1 or 2 all steps are computed at once as one batch, unless the layer is
    stateful: batch statistics are those of all steps, and activity terms are counted once.

    Args:
        layer: A layer, a model of this package, or another module.
        **kwargs: `name`, `dtype`, `trainable`, `autocast`, `activity_regularizer`, `input_shape`.

    Shape:
        - Input: (batch, time, ...), of which the layer takes (batch, ...).
        - Output: (batch, time, ...) for the layer's (batch, ...).

    Raises:
        ValueError: `layer` is no module.

    Example:
        >>> import torch
        >>> from kerastorch.layers import Conv2D
        >>> tuple(TimeDistributed(Conv2D(4, 3))(torch.rand(2, 10, 8, 8, 3)).shape)
        (2, 10, 6, 6, 4)
    """

    fixed_arguments: ClassVar[tuple[str, ...]] = ("layer",)
    depends_on_training_mode = True
    argument_namespaces: ClassVar[Mapping[str, Any]] = {"layer": nesting}
    nested_arguments: ClassVar[tuple[str, ...]] = ("layer",)
    call_arguments: ClassVar[tuple[str, ...]] = ("mask",)
    differs_in_keras_2 = True
    _least_rank = 3
    layer: Any

    def __init__(
        self, layer: Any, *, input_shape: Sequence[int | None] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        found = nesting.get(layer) if isinstance(layer, dict) else layer
        require_module(self, "layer", found)
        self.layer = found
        self._register_weights(None, input_shape)

    @classmethod
    def weight_groups(cls, config: Mapping[str, Any]) -> Groups:
        """Return the groups of the weights of the layer."""
        return nest_groups("layer", config["layer"])

    @property
    def output_count(self) -> int:
        """The number of tensors that `forward` returns."""
        return int(getattr(self.layer, "output_count", 1))

    @property
    def creates_mask(self) -> bool:  # type: ignore[override]
        """Whether the output may have a mask where the input has none: in Keras 2."""
        return self.keras_2 and bool(getattr(self.layer, "creates_mask", False))

    def _list_owned(self) -> list[Any]:
        return [self.layer]

    def _build(self, input_shape: Any, argument: str = "input_shape") -> None:
        shape = self._check_shape(input_shape, argument)
        built = self.built and getattr(self.layer, "built", True)
        if hasattr(self.layer, "build") and not built:
            self.layer.build((shape[0], *shape[2:]))

    def forward(self, inputs: Any, mask: Any = None) -> Any:
        """Call the layer on each step.

        Args:
            inputs: A tensor or array (batch, time, ...).
            mask: A tensor (batch, time, ...), of which the layer gets (batch, ...) if it takes
                a mask.

        Raises:
            ValueError: An argument has another shape, or the sequence no step.
        """
        x = self._prepare_input(inputs)
        self._require_rank(x)
        if x.shape[1] == 0:
            self._refuse_shape("inputs", "of 1 step or more", x.shape)
        valid = None if mask is None else self._read_mask(mask, x)
        if not self._layer_takes_masks():
            valid = None
        run = self._call_at_once if self._is_same_at_once() else self._call_each_step
        outputs = self._call_inner("inputs", x, lambda: run(x, valid), mask=mask)
        if isinstance(self.layer, Layer) and not self.keras_2:
            self.layer._activity_losses.clear()
        outputs = _map(self._cast_output, outputs)
        if self.activity_regularizer is not None:
            self._record_activity(outputs)
        return outputs

    def _call_at_once(self, x: Tensor, mask: Tensor | None) -> Any:
        """Call the layer once, with the steps of all samples as its batch."""
        given = {} if mask is None else {"mask": mask.flatten(0, 1)}
        sizes = x.shape[:2]
        outputs = self.layer(x.flatten(0, 1), **given)
        return _map(lambda y: y.reshape(*sizes, *y.shape[1:]), outputs)

    def _call_each_step(self, x: Tensor, mask: Tensor | None) -> Any:
        """Call the layer on one step after the other, and keep the activity terms of all."""
        kept: dict[Layer, list[Tensor]] = {layer: [] for layer in self._list_regularized()}
        steps = []
        for n, one in enumerate(x.unbind(1)):
            given = {} if mask is None else {"mask": mask[:, n]}
            steps.append(self.layer(one, **given))
            for layer, terms in kept.items():
                terms += layer._activity_losses
        for layer, terms in kept.items():
            layer._activity_losses[:] = terms
        return _map(lambda *ys: torch.stack(ys, 1), *steps)

    def _is_same_at_once(self) -> bool:
        """Return whether the steps as one batch give the numbers of Keras."""
        modules = list(self.layer.modules())
        if self.keras_2:
            return not any(getattr(module, "stateful", False) for module in modules)
        inside = [layer for layer in self._list_regularized() if layer is not self.layer]
        return not inside and all(map(_is_sample_wise, modules))

    def _list_regularized(self) -> list[Layer]:
        """Return the layers, the inner one included, that have an activity regularizer."""
        layers = (one for one in self.layer.modules() if isinstance(one, Layer))
        return [layer for layer in layers if layer.activity_regularizer is not None]

    def _layer_takes_masks(self) -> bool:
        arguments = getattr(self.layer, "call_arguments", None)
        if arguments is None:
            arguments = inspect.signature(self.layer.forward).parameters
        return "mask" in arguments

    def _read_mask(self, mask: Any, x: Tensor) -> Tensor:
        found = self._as_real_tensor(mask, "mask")
        if tuple(found.shape[:2]) != tuple(x.shape[:2]):
            rule = f"of the shape (batch, time, ...) = ({x.shape[0]}, {x.shape[1]}, ...)"
            self._refuse_argument("mask", rule, tuple(found.shape))
        return found.to(device=x.device, dtype=torch.bool)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the output: that of the input, or in Keras 2 that of the layer."""
        if not self.keras_2:
            return mask
        x = self._prepare_input(inputs)
        given = None if mask is None else self._read_mask(mask, x)
        compute = getattr(self.layer, "compute_mask", None)
        inner = None if given is None else given.flatten(0, 1)
        found = None if compute is None else compute(x.flatten(0, 1), inner)
        if found is None:
            return None if given is None else given.flatten(2).any(-1) if given.ndim > 2 else given
        return _map(lambda one: None if one is None else one.unflatten(0, x.shape[:2]), found)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        """Return the output shape for an input shape, batch included; unknown sizes are None.

        Raises:
            ValueError: The layer does not accept such an input, or cannot tell.
        """
        shape = self._check_shape(input_shape)
        compute = getattr(self.layer, "compute_output_shape", None)
        if compute is None:
            rule = "a layer with `compute_output_shape`"
            self._refuse_argument("layer", rule, self.layer)
        found = compute((shape[0], *shape[2:]))
        return _insert_time(found, shape[1])


def _is_sample_wise(module: nn.Module) -> bool:
    """Return whether a module without its children computes each sample by itself."""
    if not isinstance(module, Layer):
        is_model = bool(getattr(module, "carries_masks", False))
        return is_model or isinstance(module, (nn.ModuleList, nn.ModuleDict))
    axes = getattr(module, "axis", None)
    return module.is_sample_wise and 0 not in (axes if isinstance(axes, (list, tuple)) else [axes])


def _map(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Apply a function to the tensors of outputs, or to those of several calls."""
    if isinstance(first, Mapping):
        return {k: _map(function, v, *(one[k] for one in others)) for k, v in first.items()}
    if isinstance(first, (list, tuple)):
        return type(first)(_map(function, *parts) for parts in zip(first, *others, strict=True))
    return function(first, *others)


def _insert_time(shape: Any, steps: int | None) -> Any:
    """Insert the axis of time into a shape, or into each of a structure of them."""
    if isinstance(shape, Mapping):
        return {name: _insert_time(one, steps) for name, one in shape.items()}
    if any(isinstance(one, (tuple, list)) for one in shape):
        return type(shape)(_insert_time(one, steps) for one in shape)
    return (*shape[:1], steps, *shape[1:])
