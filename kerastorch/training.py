"""Keras's losses and constraints in a plain PyTorch training loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from . import config
from ._core import distributed
from ._core.errors import problem
from ._ops.fused_optimizers import match_strides
from ._ops.inplace_constraints import in_place
from ._ops.l2_penalty import sum_of_squares
from .dtype_policies import torch_dtype
from .layers.base.layer import Layer
from .layers.base.weights import Callback, Variable
from .regularizers import L1, L1L2, L2

_SUMS = (L1, L2, L1L2)  # the penalty on a weight is the sum of those on its parts


def regularization_loss(model: nn.Module) -> Tensor:
    """Return the sum of all Keras loss terms in a model, to add to its loss.

    The terms are those of the kernel, bias and activity regularizers of every layer in the tree.
    A layer keeps the activity term of its last call only; where one layer is called several
    times in a step, add up its `losses` after each call.

    On several processes each adds all terms of the weights and the activity terms of its own share
    of the batch: what DistributedDataParallel and `fully_shard` then take the mean of is, for equal
    shares, what one process has. Under `fully_shard` every process calls it after the forward pass,
    and one backward pass takes the sum of both.

    Args:
        model: Any module that has layers of this package somewhere in it.

    Returns:
        A scalar with gradients; a plain zero where there are no terms.

    Raises:
        ValueError: the model is sharded by FullyShardedDataParallel, or a part of one that
            `fully_shard` has gathered.

    Example:
        >>> from kerastorch.layers import Conv2D
        >>> model = torch.nn.Sequential(Conv2D(4, 3, kernel_regularizer="l2"), torch.nn.Flatten())
        >>> loss = model(torch.zeros(2, 8, 8, 1)).mean() + regularization_loss(model)
        >>> loss.backward()
    """
    distributed.settle(model, regularization_loss.__name__)
    terms = [term for layer in _layers(model) for term in layer._activity_losses]
    terms += _penalties(model)
    if not terms:
        like = next((p for p in model.parameters() if p.is_floating_point()), None)
        dtype = torch_dtype(config.floatx()) if like is None else like.dtype
        return torch.zeros((), dtype=dtype, device=None if like is None else like.device)
    return _total(terms)


def _penalties(model: nn.Module) -> list[Tensor]:
    """Return terms whose sum is that of all penalties on weights."""
    terms: defaultdict[distributed.Split | None, list[Tensor]] = defaultdict(list)
    squares: defaultdict[Any, list[tuple[float, Tensor]]] = defaultdict(list)
    for layer in _layers(model):
        for regularizer, variable in layer._penalized():
            tensor, value, split = variable.parameter, variable.value, None
            if distributed.is_split(tensor):
                if type(regularizer) in _SUMS:
                    split = distributed.split_of(tensor)
                    tensor = value = distributed.own_part(tensor)
                else:
                    tensor = value = distributed.whole(value)
            factor = _factor_of_squares(regularizer, tensor)
            if factor is None:
                terms[split].append(regularizer(value))
            else:
                squares[tensor.device, tensor.dtype, split].append((factor, tensor))
    for (*_, split), pairs in squares.items():
        terms[split].append(sum_of_squares(*zip(*pairs, strict=True)))
    split_terms = {split: _total(found) for split, found in terms.items() if split is not None}
    sums = [distributed.sum_of_parts(total, split) for split, total in split_terms.items()]
    return terms[None] + sums


def _total(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0].sum()
    for term in terms[1:]:
        total = total + term.sum().to(total.device)
    return total


def _factor_of_squares(regularizer: Callback, parameter: Tensor) -> float | None:
    """Return the factor of a penalty that `sum_of_squares` has, or None where it has it not."""
    if type(parameter) not in (nn.Parameter, Tensor) or torch.compiler.is_compiling():
        return None
    if parameter.dtype not in (torch.float32, torch.float64):
        return None
    if type(regularizer) is L2 or (type(regularizer) is L1L2 and not regularizer.l1):
        return regularizer.l2
    return None


def attach_constraints(optimizer: torch.optim.Optimizer, model: nn.Module) -> RemovableHandle:
    """Let every step of an optimizer project the constrained weights that it has changed.

    The projection runs after the step, in place, on the weights in Keras's order of axes. A step
    that a `GradScaler` skips changes nothing, in fused optimizers too. Before each step of a fused
    optimizer, gradients and state are copied to the memory order of their weights where they have
    another, with which torch's fused steps on a CPU are wrong.

    The optimizer's `load_state_dict` keeps the projections. A copy of the optimizer by `deepcopy`
    or `pickle` has none, since torch leaves hooks out: attach them to the copy again.

    Args:
        optimizer: The optimizer. Parameters added to it later are taken in.
        model: Any module that has layers of this package somewhere in it, built or not.

    Returns:
        A handle; its `remove()` ends the projections. A second call for the same optimizer and
        model changes nothing and returns the first one's.

    Raises:
        ValueError: the model has constrained weights to train, but the optimizer none of them,
            as where it was made before `fully_shard`; or one of them is computed from others; or
            FullyShardedDataParallel hides them.

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
    distributed.settle(model, attach_constraints.__name__)
    own = _parameters(optimizer)
    for layer, variable in _constrained(model):
        if _is_among(layer, variable, own):
            layer._writable(variable)
    _require_constrained(optimizer, model)

    if match_strides not in optimizer._optimizer_step_pre_hooks.values():
        optimizer.register_step_pre_hook(match_strides)
    for hook in optimizer._optimizer_step_post_hooks.values():
        if isinstance(hook, _Projection) and hook.model is model:
            return hook.handle
    return _Projection(optimizer, model).handle


class _Projection:
    """A step post-hook: projects the constrained weights of a model that the step has changed."""

    def __init__(self, optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
        self.model = model
        self.handle = optimizer.register_step_post_hook(self)

    def __call__(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Project after a step."""
        model = self.model
        distributed.settle(model, attach_constraints.__name__)
        stepped = {k: p for k, p in _parameters(optimizer).items() if p.grad is not None}
        if not stepped and any(map(distributed.is_split, _constrained_parameters(model))):
            _require_constrained(optimizer, model)
        skipped = getattr(optimizer, "found_inf", None)  # a fused optimizer under a GradScaler
        constrained = _constrained(model)
        _project([found for found in constrained if _is_among(*found, stepped)], skipped)


def apply_constraints(model: nn.Module) -> None:
    """Project all constrained weights of a model at once, in place.

    Args:
        model: Any module that has layers of this package somewhere in it.

    Raises:
        ValueError: a constrained weight is computed from others, or FullyShardedDataParallel
            hides it.
    """
    distributed.settle(model, apply_constraints.__name__)
    _project(_constrained(model))


def _layers(model: nn.Module) -> Iterator[Layer]:
    return (module for module in model.modules() if isinstance(module, Layer))


def _parameters(optimizer: torch.optim.Optimizer) -> dict[int, Tensor]:
    groups = optimizer.param_groups
    return {id(parameter): parameter for group in groups for parameter in group["params"]}


def _require_constrained(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    """Raise where a model has constrained weights to train, but the optimizer none of them."""
    constrained = {id(parameter) for parameter in _constrained_parameters(model)}
    if constrained and constrained.isdisjoint(_parameters(optimizer)):
        owner = attach_constraints.__name__
        rule = "one that steps some of the model's constrained weights"
        remedy = "Make it from the parameters of this very model, after `fully_shard`."
        raise ValueError(problem(owner, "optimizer", rule, type(optimizer).__name__, remedy))


def _constrained_parameters(model: nn.Module) -> Iterator[Tensor]:
    for layer in _layers(model):
        for role in layer.roles:
            parameter = getattr(layer, role.parameter)
            constraint = role.constraint and getattr(layer, role.constraint)
            if parameter is not None and parameter.requires_grad and constraint is not None:
                yield parameter


def _constrained(model: nn.Module) -> list[tuple[Layer, Variable]]:
    return [
        (layer, variable)
        for layer in _layers(model)
        for variable in layer.variables
        if variable.constraint is not None
    ]


def _is_among(layer: Layer, variable: Variable, parameters: Mapping[int, Tensor]) -> bool:
    """Return whether a weight, or what it is computed from, is among parameters listed by id."""
    if isinstance(variable.parameter, nn.Parameter):
        return id(variable.parameter) in parameters
    return any(id(parameter) in parameters for parameter in layer.parameters())


@torch.no_grad()
def _project(found: Sequence[tuple[Layer, Variable]], skipped: Tensor | None = None) -> None:
    """Project weights in place, or none if one is refused; leave them where `skipped` is not 0."""
    values = [layer._writable(variable) for layer, variable in found]
    for (layer, variable), value in zip(found, values, strict=True):
        if not distributed.is_split(value):
            _project_whole(layer, variable, value, skipped)
        elif _is_by_parts(variable.constraint, distributed.split_axes(value), value.ndim):
            _project_whole(layer, variable, distributed.own_part(value), skipped)
        else:
            whole = distributed.whole(value).clone()  # it may be the part itself
            _project_whole(layer, variable, whole, skipped)
            distributed.write(value, whole)


def _is_by_parts(constraint: Callback | None, split: set[int], ndim: int) -> bool:
    """Return whether each part of a weight split along some axes is projected by itself."""
    if constraint is None or in_place(constraint) is None:
        return False
    axis = getattr(constraint, "axis", ())
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return split.isdisjoint(a % ndim for a in axes)


def _project_whole(layer: Layer, variable: Variable, value: Tensor, skipped: Tensor | None) -> None:
    """Project a tensor in the place of a weight's value, in place."""
    if variable.constraint is None:
        return
    project = in_place(variable.constraint)
    if project is not None and skipped is None:
        project(value)
        return
    projected = variable.constraint(value if skipped is None else value.clone())
    if projected.shape != value.shape:
        owner, name = type(layer).__name__, f"{variable.name}_constraint"
        rule = f"a callable that returns the shape {tuple(value.shape)} it was given"
        shape = tuple(projected.shape)
        raise ValueError(problem(owner, name, rule, variable.constraint, returned=shape))
    if skipped is not None:
        projected = torch.where(skipped.to(value.device) != 0, value, projected)
    value.copy_(projected)
