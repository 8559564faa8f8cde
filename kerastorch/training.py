"""Keras's losses and constraints in a plain PyTorch training loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ._check import problem
from ._projection import in_place
from ._squares import sum_of_squares
from .layers._building import Callback
from .layers._layer import Layer, Variable
from .regularizers import L2, L1L2


def regularization_loss(model: nn.Module) -> Tensor:
    """Return the sum of all Keras loss terms in a model, to add to its loss.

    The terms are those of the kernel, bias and activity regularizers of every layer in the tree.
    A layer keeps the activity term of its last call only; where one layer is called several
    times in a step, add up its `losses` after each call.

    Args:
        model: Any module that has layers of this package somewhere in it.

    Returns:
        A scalar with gradients; a plain zero where there are no terms.

    Example:
        >>> from kerastorch.layers import Conv2D
        >>> model = torch.nn.Sequential(Conv2D(4, 3, kernel_regularizer="l2"), torch.nn.Flatten())
        >>> loss = model(torch.zeros(2, 8, 8, 1)).mean() + regularization_loss(model)
        >>> loss.backward()
    """
    terms = [term for layer in _layers(model) for term in layer._activity_losses]
    squares: defaultdict[Any, list[tuple[float, Tensor]]] = defaultdict(list)
    for layer in _layers(model):
        for regularizer, variable in layer._penalized():
            factor = _factor_of_squares(regularizer, variable.parameter)
            if factor is None:
                terms.append(regularizer(variable.value))
            else:
                kind = variable.parameter.device, variable.parameter.dtype
                squares[kind].append((factor, variable.parameter))
    terms += [sum_of_squares(*zip(*pairs, strict=True)) for pairs in squares.values()]
    if not terms:
        device = next((parameter.device for parameter in model.parameters()), None)
        return torch.zeros((), device=device)
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
    that a `GradScaler` skips changes nothing, in fused optimizers too.

    Args:
        optimizer: The optimizer. Parameters added to it later are taken in.
        model: Any module that has layers of this package somewhere in it, built or not.

    Returns:
        A handle; its `remove()` ends the projections.

    Raises:
        ValueError: the model has constrained weights to train, but the optimizer none of them;
            or one of them is computed from others.

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
    own = _parameters(optimizer)
    for layer, variable in _constrained(model):
        if _is_among(layer, variable, own):
            layer._writable(variable)
    constrained = {id(parameter) for parameter in _constrained_parameters(model)}
    if constrained and constrained.isdisjoint(own):
        rule = "one that steps some of the model's constrained weights"
        remedy = "Make it from the parameters of this very model."
        owner = attach_constraints.__name__
        raise ValueError(problem(owner, "optimizer", rule, type(optimizer).__name__, remedy))

    def project(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        stepped = {k: p for k, p in _parameters(optimizer).items() if p.grad is not None}
        skipped = getattr(optimizer, "found_inf", None)  # a fused optimizer under a GradScaler
        for layer, variable in _constrained(model):
            if _is_among(layer, variable, stepped):
                _project(layer, variable, skipped)

    return optimizer.register_step_post_hook(project)


def apply_constraints(model: nn.Module) -> None:
    """Project all constrained weights of a model at once, in place.

    Args:
        model: Any module that has layers of this package somewhere in it.
    """
    for layer, variable in _constrained(model):
        _project(layer, variable)


def _layers(model: nn.Module) -> Iterator[Layer]:
    return (module for module in model.modules() if isinstance(module, Layer))


def _parameters(optimizer: torch.optim.Optimizer) -> dict[int, Tensor]:
    groups = optimizer.param_groups
    return {id(parameter): parameter for group in groups for parameter in group["params"]}


def _constrained_parameters(model: nn.Module) -> Iterator[Tensor]:
    for layer in _layers(model):
        for role in layer.roles:
            parameter = getattr(layer, role.parameter)
            constraint = role.constraint and getattr(layer, role.constraint)
            if parameter is not None and parameter.requires_grad and constraint is not None:
                yield parameter


def _constrained(model: nn.Module) -> Iterator[tuple[Layer, Variable]]:
    for layer in _layers(model):
        for variable in layer.variables:
            if variable.constraint is not None:
                yield layer, variable


def _is_among(layer: Layer, variable: Variable, parameters: Mapping[int, Tensor]) -> bool:
    """Return whether a weight, or what it is computed from, is among parameters listed by id."""
    if isinstance(variable.parameter, nn.Parameter):
        return id(variable.parameter) in parameters
    return any(id(parameter) in parameters for parameter in layer.parameters())


@torch.no_grad()
def _project(layer: Layer, variable: Variable, skipped: Tensor | None = None) -> None:
    """Project one weight in place; leave it where the tensor `skipped` is not 0."""
    if variable.constraint is None:
        return
    value = layer._writable(variable)
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
