"""Keras's regularization losses and constraints in a plain PyTorch training loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from . import config
from ._core import distributed
from ._core.errors import argument_error
from ._ops.fused_optimizers import match_strides
from ._ops.inplace_constraints import get_inplace_constraint
from ._ops.l2_penalty import sum_of_squares
from .dtype_policies import to_torch_dtype
from .layers.base.layer import Layer
from .layers.base.weights import Callback, WeightView, write_weight
from .regularizers import L1, L1L2, L2

_ADDITIVE = (L1, L2, L1L2)  # the penalty on a weight is the sum of those on its parts


def regularization_loss(model: nn.Module) -> Tensor:
    """Return the sum of all Keras regularization losses in a model, to add to its loss.

    The terms are those of the kernel, bias and activity regularizers of all layers. A layer keeps
    the activity term of its last call only; if it is called several times in a step, add up its
    `losses` after each call.

    In distributed training each process adds all weight terms and the activity terms of its part of
    the batch; the mean over processes is then that of one process, for parts of equal size. Under
    `fully_shard`, call it in every process after the forward pass, and run one backward pass.

    Args:
        model: Any module that contains layers of this package.

    Returns:
        A scalar with gradients, or a zero without if there are no terms.

    Raises:
        ValueError: the model is sharded by FullyShardedDataParallel, or is part of a model whose
            weights `fully_shard` has gathered.

    Example:
        >>> from kerastorch.layers import Conv2D
        >>> model = torch.nn.Sequential(Conv2D(4, 3, kernel_regularizer="l2"), torch.nn.Flatten())
        >>> loss = model(torch.zeros(2, 8, 8, 1)).mean() + regularization_loss(model)
        >>> loss.backward()
    """
    distributed.require_unsharded_view(model, regularization_loss.__name__)
    terms = [term for layer in _layers(model) for term in layer._activity_losses]
    terms += _penalties(model)
    if not terms:
        for parameter in model.parameters():
            if parameter.is_floating_point():
                return torch.zeros((), dtype=parameter.dtype, device=parameter.device)
        return torch.zeros((), dtype=to_torch_dtype(config.floatx()))
    return _total(terms)


def _penalties(model: nn.Module) -> list[Tensor]:
    """Return terms that add up to the penalties on all weights."""
    terms: defaultdict[Any, list[Tensor]] = defaultdict(list)  # by how the weight is sharded
    squares: defaultdict[Any, list[tuple[float, Tensor]]] = defaultdict(list)
    for layer in _layers(model):
        for regularizer, variable in layer._iterate_penalties():
            if type(regularizer) not in _ADDITIVE:
                terms[None].append(regularizer(distributed.gather(variable.value)))
                continue
            for tensor in variable.parameters:
                split = None
                if distributed.is_sharded(tensor):
                    split = distributed.get_sharding(tensor)
                    tensor = distributed.get_local_shard(tensor)
                factor = _factor_of_squares(regularizer, tensor)
                if factor is None:
                    terms[split].append(regularizer(tensor))
                else:
                    squares[tensor.device, tensor.dtype, split].append((factor, tensor))
    for (*_, split), pairs in squares.items():
        terms[split].append(sum_of_squares(*zip(*pairs, strict=True)))
    found = terms.pop(None, [])
    sums = (distributed.sum_over_shards(_total(own), split) for split, own in terms.items())
    return [*found, *sums]


def _total(terms: Sequence[Tensor]) -> Tensor:
    first = terms[0].sum()
    return sum((term.sum().to(first.device) for term in terms[1:]), first)


def _factor_of_squares(regularizer: Callback, parameter: Tensor) -> float | None:
    """Return the factor of a penalty that `sum_of_squares` computes, or None."""
    if type(parameter) not in (nn.Parameter, Tensor) or torch.compiler.is_compiling():
        return None
    if parameter.dtype not in (torch.float32, torch.float64):
        return None
    if type(regularizer) is L2 or (type(regularizer) is L1L2 and not regularizer.l1):
        return regularizer.l2
    return None


def attach_constraints(optimizer: torch.optim.Optimizer, model: nn.Module) -> RemovableHandle:
    """Register a hook that projects the constrained weights after each optimizer step.

    It projects in place, with Keras's axis order, the weights that the step has changed; a step
    that a `GradScaler` skips changes nothing. Before a step of a fused optimizer, gradients and
    state are copied to the strides of their weights, since torch's fused steps on a CPU are wrong
    for other strides.

    The hook survives the optimizer's `load_state_dict`, but not `deepcopy` and `pickle`, which drop
    hooks: attach it to the copy.

    Args:
        optimizer: The optimizer. Parameters may be added to it later.
        model: Any module that contains layers of this package, built or not.

    Returns:
        A handle whose `remove()` removes the hook. A second call for the same optimizer and model
        returns the same handle.

    Raises:
        ValueError: the optimizer has none of the model's trainable constrained weights (as if it
            was created before `fully_shard`), a constrained weight is computed from others, or
            FullyShardedDataParallel hides it.

    Example:
        >>> from kerastorch.layers import Conv2D
        >>> layer = Conv2D(4, 3, kernel_constraint="non_neg", input_shape=(8, 8, 1))
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
        >>> handle = attach_constraints(optimizer, layer)
        >>> layer(torch.ones(2, 8, 8, 1)).sum().backward()
        >>> optimizer.step()
        >>> bool((layer.kernel >= 0).all())
        True
    """
    distributed.require_unsharded_view(model, attach_constraints.__name__)
    own = _parameters(optimizer)
    for layer, variable in _find_constrained(model):
        if _is_among(layer, variable, own):
            layer._require_writable(variable)
    _require_constrained(optimizer, model)

    if match_strides not in optimizer._optimizer_step_pre_hooks.values():
        optimizer.register_step_pre_hook(match_strides)
    for hook in optimizer._optimizer_step_post_hooks.values():
        if isinstance(hook, _Projection) and hook.model is model:
            return hook.handle
    return _Projection(optimizer, model).handle


class _Projection:
    """A step post-hook that projects the constrained weights that the step has changed."""

    def __init__(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        self.model = model
        self.handle = optimizer.register_step_post_hook(self)

    def __call__(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        distributed.require_unsharded_view(self.model, attach_constraints.__name__)
        stepped = {k: p for k, p in _parameters(optimizer).items() if p.grad is not None}
        constrained = _list_constrained_parameters(self.model)
        if not stepped and any(map(distributed.is_sharded, constrained)):
            _require_constrained(optimizer, self.model)
        skipped = getattr(optimizer, "found_inf", None)  # a fused optimizer under a GradScaler
        found = _find_constrained(self.model)
        _project([pair for pair in found if _is_among(*pair, stepped)], skipped)


def apply_constraints(model: nn.Module) -> None:
    """Project all constrained weights of a model in place.

    Args:
        model: Any module that contains layers of this package.

    Raises:
        ValueError: a constrained weight is computed from others, or FullyShardedDataParallel
            hides it.
    """
    distributed.require_unsharded_view(model, apply_constraints.__name__)
    _project(_find_constrained(model))


def _layers(model: nn.Module) -> Iterator[Layer]:
    return (module for module in model.modules() if isinstance(module, Layer))


def _parameters(optimizer: torch.optim.Optimizer) -> dict[int, Tensor]:
    groups = optimizer.param_groups
    return {id(parameter): parameter for group in groups for parameter in group["params"]}


def _require_constrained(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Raise if the optimizer has none of a model's trainable constrained weights."""
    constrained = {id(parameter) for parameter in _list_constrained_parameters(model)}
    if constrained and constrained.isdisjoint(_parameters(optimizer)):
        owner = attach_constraints.__name__
        rule = "one that steps some of the model's constrained weights"
        remedy = "Make it from the parameters of this very model, after `fully_shard`."
        raise ValueError(argument_error(owner, "optimizer", rule, type(optimizer).__name__, remedy))


def _list_constrained_parameters(model: nn.Module) -> Iterator[Tensor]:
    for layer in _layers(model):
        for spec in layer.weight_specs:
            if spec.constraint is None or getattr(layer, spec.constraint) is None:
                continue
            for name in (spec.parameter, *spec.also):
                parameter = getattr(layer, name)
                if parameter is not None and parameter.requires_grad:
                    yield parameter


def _find_constrained(model: nn.Module) -> list[tuple[Layer, WeightView]]:
    return [
        (layer, variable)
        for layer in _layers(model)
        for variable in layer.variables
        if variable.constraint is not None
    ]


def _is_among(layer: Layer, variable: WeightView, parameters: Mapping[int, Tensor]) -> bool:
    """Return whether a weight, or a parameter it is computed from, is among `parameters`."""
    if isinstance(variable.parameter, nn.Parameter):
        return any(id(parameter) in parameters for parameter in variable.parameters)
    return any(id(parameter) in parameters for parameter in layer.parameters())


def _project(found: Sequence[tuple[Layer, WeightView]], skipped: Tensor | None = None) -> None:
    """Project weights in place, or none if one is invalid, unless `skipped` is not 0."""
    for layer, variable in found:
        layer._require_writable(variable)
    # Where an optimizer's step is compiled, torch refuses to write to views made without gradients.
    values = [variable.value for _, variable in found]
    with torch.no_grad():
        _project_all(found, values, skipped)


def _project_all(
    found: Sequence[tuple[Layer, WeightView]], values: Sequence[Tensor], skipped: Tensor | None
) -> None:
    """Project values of weights: views of parameters, or what is computed from several."""
    for (layer, variable), value in zip(found, values, strict=True):
        if variable.write is not None:
            full = value.detach()  # of no parameter's memory
            _project_one(layer, variable, full, skipped)
            write_weight(variable, full)
        elif not distributed.is_sharded(value):
            _project_one(layer, variable, value, skipped)
        elif _is_shardable(variable.constraint, distributed.list_sharded_axes(value), value.ndim):
            _project_one(layer, variable, distributed.get_local_shard(value), skipped)
        else:
            full = distributed.gather(value).clone()  # it may share memory with the shard
            _project_one(layer, variable, full, skipped)
            distributed.write_full(value, full)


def _is_shardable(constraint: Any, split: set[int], ndim: int) -> bool:
    """Return whether a constraint projects each shard of a weight separately."""
    if get_inplace_constraint(constraint) is None:
        return False
    axis = getattr(constraint, "axis", ())
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return split.isdisjoint(a % ndim for a in axes)


def _project_one(layer: Layer, variable: WeightView, value: Tensor, skipped: Tensor | None) -> None:
    """Project in place a weight's full value or its shard."""
    constraint: Any = variable.constraint
    project = get_inplace_constraint(constraint)
    if project is not None and skipped is None:
        project(value)
        return
    projected = constraint(value if skipped is None else value.clone())
    if projected.shape != value.shape:
        owner, name = type(layer).__name__, f"{variable.name}_constraint"
        rule = f"a callable that returns the shape {tuple(value.shape)} it was given"
        shape = tuple(projected.shape)
        raise ValueError(argument_error(owner, name, rule, constraint, returned=shape))
    if skipped is not None:
        projected = torch.where(skipped.to(value.device) != 0, value, projected)
    value.copy_(projected)
