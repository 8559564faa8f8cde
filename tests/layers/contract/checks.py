"""What the contract compares with, and what tests elsewhere use of it."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.testing import assert_close

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def mapped(function: Callable[[Tensor], Any], inputs: Any) -> Any:
    """Apply a function to an input, or to each of a list of them."""
    return [function(x) for x in inputs] if isinstance(inputs, list) else function(inputs)


def tensors_of(inputs: Any) -> list[Tensor]:
    return inputs if isinstance(inputs, list) else [inputs]


def state_of(layer: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in layer.state_dict().items()}


def assert_same_state(left: Any, right: Any) -> None:
    """Compare two state dicts to the bit: names, order, dtypes and values."""
    assert list(left) == list(right)
    for name, value in left.items():
        assert_close(value, right[name], rtol=0, atol=0, msg=lambda text, name=name: name + text)


def assert_lazy(layer: Any) -> None:
    assert not layer.built
    assert layer.weights == []
    parameters = list(layer.parameters())
    assert parameters and all(isinstance(p, UninitializedParameter) for p in parameters)


def assert_no_trace(layer: Any) -> None:
    """Check that nothing is left of having been lazy."""
    assert layer.built
    assert not any(isinstance(p, UninitializedParameter) for p in layer.parameters())
    hooks = [name for name in vars(layer) if name.endswith("_hooks") and getattr(layer, name)]
    assert hooks == []
    assert not {"_initialize_hook", "_load_hook"} & set(vars(layer))


def saved_and_loaded(value: Any, *, weights_only: bool) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "torch.save": lambda layer: saved_and_loaded(layer, weights_only=False),
}


def step(layer: nn.Module, x: Any, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    layer(x).square().sum().backward()
    optimizer.step()


def outputs_and_gradients(layer: nn.Module, inputs: Any) -> tuple[Tensor, ...]:
    """Return a layer's output, and the gradients of its inputs and of what it trains."""
    inputs = mapped(lambda x: x.detach().requires_grad_(), inputs)
    outputs = layer(inputs)
    wanted = (*tensors_of(inputs), *(p for p in layer.parameters() if p.requires_grad))
    return (outputs, *torch.autograd.grad(outputs.square().sum(), wanted))


def broken_assertions() -> dict[str, Callable[[], None]]:
    """Return what the comparisons of this file must not let pass."""
    value = {"weight": torch.zeros(2)}
    layer: Any = nn.LazyLinear(3)
    layer.built, layer.weights = True, []
    return {
        "value": lambda: assert_same_state(value, {"weight": torch.full((2,), 1e-30)}),
        "type": lambda: assert_same_state(value, {"weight": torch.zeros(2).double()}),
        "name": lambda: assert_same_state(value, {"bias": torch.zeros(2)}),
        "fewer": lambda: assert_same_state(value, {}),
        "traces": lambda: assert_no_trace(layer),
        "built": lambda: assert_lazy(layer),
    }
