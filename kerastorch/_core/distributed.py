"""Weights sharded over processes by `torch.distributed.fsdp.fully_shard`.

Such a parameter is a DTensor: each process holds its local shard. `torch.distributed.tensor` is
slow to import, so it is imported only where such a parameter exists.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .errors import argument_error

Sharding = tuple[Any, tuple[Any, ...]]  # the device mesh and the placements of a DTensor


def is_sharded(tensor: Tensor) -> bool:
    """Return whether a tensor is a DTensor."""
    return hasattr(tensor, "full_tensor")


def get_sharding(tensor: Any) -> Sharding:
    """Return the sharding of a DTensor."""
    return tensor.device_mesh, tuple(tensor.placements)


def get_local_shard(tensor: Any) -> Tensor:
    """Return the local shard of a DTensor, differentiably."""
    part: Tensor = tensor.to_local()
    return part


def gather(tensor: Any) -> Tensor:
    """Return the full tensor of a possible DTensor, differentiably."""
    full: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor
    return full


def list_sharded_axes(tensor: Any) -> set[int]:
    """Return the axes along which a DTensor is sharded; all axes if it is not simply sharded."""
    splits = [p for p in tensor.placements if not p.is_replicate()]
    known = all(p.is_shard() for p in splits)
    return {p.dim for p in splits} if known else set(range(tensor.ndim))


def sum_over_shards(part: Tensor, split: Sharding) -> Tensor:
    """Return the sum of a scalar over all shards; the gradient flows to the local scalar only."""
    from torch.distributed.tensor import DTensor, Partial

    mesh, placements = split
    kinds = [p if p.is_replicate() else Partial() for p in placements]
    found = DTensor.from_local(part.detach(), mesh, kinds, run_check=False)
    return gather(found) + (part - part.detach())


@torch.no_grad()
def write_full(tensor: Any, values: Tensor) -> None:
    """Write full values, which every process has, to a possible DTensor."""
    if is_sharded(tensor):
        from torch.distributed.tensor import DTensor, Replicate

        mesh, placements = get_sharding(tensor)
        everywhere = [Replicate()] * mesh.ndim
        values = DTensor.from_local(values.to(tensor.device), mesh, everywhere, run_check=False)
        values = get_local_shard(values.redistribute(placements=placements))
        tensor = get_local_shard(tensor)
    tensor.copy_(values)


def require_unsharded_view(model: nn.Module, owner: str) -> None:
    """Reshard a model, so that its parameters are those that optimizers step.

    Between a forward and a backward pass `fully_shard` may leave gathered copies in the modules.
    """
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")
    if fsdp is None or torch.compiler.is_compiling():
        return
    modules = list(model.modules())
    _refuse_flat(owner, (m for m in modules if isinstance(m, fsdp.FullyShardedDataParallel)))
    resharded: set[nn.Module] = set()
    for module in modules:
        if isinstance(module, fsdp.FSDPModule):
            module.reshard()
            resharded.update(module.modules())
    for module in modules:
        if module in resharded or not getattr(module, "_is_fsdp_managed_module", False):
            continue
        if not module._fsdp_use_orig_params:
            _refuse_flat(owner, [module])
        if not all(map(is_sharded, module.parameters(recurse=False))):
            rule = "the whole model where its weights are gathered for a forward pass"
            remedy = "Give what `fully_shard` was last called on, or call its `reshard()` first."
            raise ValueError(argument_error(owner, "model", rule, type(model).__name__, remedy))


def _refuse_flat(owner: str, found: Iterable[nn.Module]) -> None:
    for module in found:
        rule = "one without FullyShardedDataParallel, which hides the shapes of weights"
        remedy = "Shard it with `torch.distributed.fsdp.fully_shard` instead."
        raise ValueError(argument_error(owner, "model", rule, type(module).__name__, remedy))
