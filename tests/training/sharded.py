"""Models on two processes, sharded or not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from kerastorch.constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from kerastorch.layers import BatchNormalization, Conv2D, Dense, Flatten
from kerastorch.regularizers import L1, L1L2, L2, OrthogonalRegularizer
from tests.training.two_processes import RANKS

SHAPE = (8, 8, 3)
BATCH = 4
FILTER = [0, 1, 2]
ROOT = Path(__file__).parents[2]
calls_sharded = pytest.mark.skipif(
    not hasattr(torch.cpu.Stream, "record_event"),
    reason="this torch calls no model on a CPU that `fully_shard` has sharded",
)


# What is trained


def largest(w: Tensor) -> Tensor:
    """Return a penalty that no part of a weight has by itself."""
    return 0.1 * w.abs().max()


def centered(w: Tensor) -> Tensor:
    """Return a projection that no part of a weight has by itself."""
    return w - 0.5 * w.mean()


def centered_in_place(w: Tensor) -> Tensor:
    return w.sub_(0.5 * w.mean())


def network(**shape: Any) -> nn.Sequential:
    """Return layers with 4, 3 and 1 filters: even parts, uneven ones and an empty one."""
    model = nn.Sequential(
        Conv2D(
            4,
            3,
            strides=2,
            padding="same",
            activation="relu",
            kernel_regularizer="l2",
            bias_regularizer=L2(0.1),
            activity_regularizer=L2(1e-3),
            kernel_constraint=MaxNorm(0.8, axis=FILTER),
            bias_initializer="ones",
            **shape,
        ),
        BatchNormalization(gamma_regularizer="l1", gamma_constraint="non_neg"),
        Conv2D(
            3,
            3,
            strides=2,
            padding="same",
            activation="tanh",
            kernel_regularizer=L1L2(1e-3, 1e-2),
            kernel_constraint=MinMaxNorm(0.5, 0.9, rate=0.7, axis=FILTER),
            bias_constraint=MaxNorm(0.05),
        ),
        Conv2D(1, 1, kernel_regularizer=L1(1e-2), kernel_constraint=UnitNorm(axis=None)),
        Flatten(),
        Dense(
            5,
            activation="tanh",
            kernel_regularizer=OrthogonalRegularizer(0.1),
            activity_regularizer=L1(1e-2),
            kernel_constraint=UnitNorm(axis=1),
            bias_constraint=centered,
        ),
        Dense(3, kernel_regularizer=largest, kernel_constraint=NonNeg(), bias_regularizer="l2"),
    )
    model[1].eval()  # its batch statistics would be those of a share
    return model


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(BATCH, *SHAPE, generator=generator),
            torch.randn(BATCH, 3, generator=generator),
        )
        for _ in range(count)
    ]


def built(contiguous: bool = True) -> nn.Sequential:
    """Return the network, built by a first call; the same one on every rank."""
    torch.manual_seed(2)
    model = network()
    model(torch.zeros(1, *SHAPE))
    model = copy.deepcopy(model)  # without the activity terms of that call
    return model.to(memory_format=torch.contiguous_format) if contiguous else model


def share(batch: Tensor) -> Tensor:
    return batch.chunk(RANKS)[distributed.get_rank()]


def whole(tensor: Any) -> Tensor:
    tensor = tensor.detach()
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def assert_same(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, eps=1e-3),
    "adam-fused": lambda p: torch.optim.Adam(p, lr=0.01, eps=1e-3, fused=True),
}


def mesh(*sizes: int) -> Any:
    sizes = sizes or (RANKS,)
    names = ("all",) if len(sizes) == 1 else ("replicate", "shard")
    return init_device_mesh("cpu", sizes, mesh_dim_names=names)


def sharded(model: nn.Sequential, **options: Any) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    options = {"mesh": mesh(), **options}
    for layer in model[:-2]:  # the root has the last ones
        if list(layer.parameters()):
            fully_shard(layer, **options)
    return fully_shard(model, **options)


def at_root(model: nn.Sequential) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    return fully_shard(model, mesh=mesh())


def along_inputs(model: nn.Sequential) -> nn.Module:
    from torch.distributed.tensor import Shard

    def placement(parameter: Tensor) -> Any:
        even = parameter.ndim > 1 and parameter.shape[1] % RANKS == 0
        return Shard(1) if even else None

    return sharded(model, shard_placement_fn=placement)


WRAPPERS: dict[str, Callable[[nn.Sequential], nn.Module]] = {
    "ddp": DistributedDataParallel,
    "ddp, channels_last": DistributedDataParallel,
    "fully_shard": sharded,
    "fully_shard at the root": at_root,
    "fully_shard, not resharded": lambda m: sharded(m, reshard_after_forward=False),
    "fully_shard, always resharded": lambda m: sharded(m, reshard_after_forward=True),
    "fully_shard along inputs": along_inputs,
    "fully_shard of replicas": lambda m: sharded(m, mesh=mesh(2, 1)),
    "fully_shard of one replica": lambda m: sharded(m, mesh=mesh(1, 2)),
}
