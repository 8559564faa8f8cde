"""What must come first when a model is sharded, what is refused, and a whole script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from kerastorch import apply_constraints, attach_constraints, regularization_loss
from kerastorch.layers import Conv2D
from tests.architecture.documents import labelled_block
from tests.training.sharded import (
    BATCH,
    OPTIMIZERS,
    ROOT,
    SHAPE,
    assert_same,
    at_root,
    batches,
    built,
    calls_sharded,
    mesh,
    network,
    sharded,
    whole,
)
from tests.training.two_processes import RANKS, TIMEOUT

# The order of things


def an_optimizer_made_before_is_refused() -> None:
    model = built()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    wrapped = sharded(model)
    message = r"^attach_constraints: `optimizer` must be .*after `fully_shard`\.$"
    with pytest.raises(ValueError, match=message):
        attach_constraints(optimizer, wrapped)
    wrapped(batches(1)[0][0])
    gathered = OPTIMIZERS["sgd"](wrapped[-1].parameters())  # steps what is thrown away
    with pytest.raises(ValueError, match=message):
        attach_constraints(gathered, wrapped)
    model = built()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    attach_constraints(optimizer, model)
    with pytest.raises(ValueError, match=message):
        train_step(sharded(model), optimizer)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    inputs, targets = batches(1)[0]
    ((model(inputs) - targets).square().mean() + regularization_loss(model)).backward()
    optimizer.step()


@calls_sharded
def test_an_optimizer_made_before_is_refused(pair):
    pair.run(an_optimizer_made_before_is_refused)


def a_layer_that_is_not_built_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"uninitialized parameters .* Run a dummy forward"):
        DistributedDataParallel(network())
    with pytest.raises(RuntimeError, match=r"uninitialized parameter .* Call `forward`"):
        at_root(network())


def test_a_layer_that_is_not_built_is_refused(pair):
    pair.run(a_layer_that_is_not_built_is_refused)


def weights_without_values_get_them_after_sharding() -> None:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    twin = built()
    with torch.device("meta"):
        model = network()
        model(torch.zeros(1, *SHAPE))
        model.to(memory_format=torch.contiguous_format)
    wrapped = sharded(model)
    wrapped.to_empty(device="cpu")
    state = twin.state_dict() if distributed.get_rank() == 0 else {}
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(wrapped, state, options=options)
    inputs, _ = batches(1)[0]
    assert_same(wrapped(inputs), twin(inputs))
    assert_same(regularization_loss(wrapped), regularization_loss(twin))


@calls_sharded
def test_weights_without_values_get_them_after_sharding(pair):
    pair.run(weights_without_values_get_them_after_sharding)


# What is refused

CALLS = {
    "regularization_loss": lambda model, _: regularization_loss(model),
    "apply_constraints": lambda model, _: apply_constraints(model),
    "attach_constraints": lambda model, optimizer: attach_constraints(optimizer, model),
}


def flat_parameters_are_refused(call: str, original: bool) -> None:
    from torch.distributed.fsdp import FullyShardedDataParallel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch tells what to use instead
        wrapped = FullyShardedDataParallel(
            built(), use_orig_params=original, device_id=torch.device("cpu")
        )
        wrapped(torch.zeros(2, *SHAPE))
    message = rf"^{call}: `model` must be one without FullyShardedDataParallel, .*`torch\.distrib"
    optimizer = OPTIMIZERS["sgd"](wrapped.parameters())
    for found in (wrapped, nn.Sequential(wrapped)):
        with pytest.raises(ValueError, match=message):
            CALLS[call](found, optimizer)
    message = rf"^{call}: `model` must be (the whole model|one without Fully)"
    for found in (wrapped.module, wrapped.module[0]):
        with pytest.raises(ValueError, match=message):
            CALLS[call](found, optimizer)


@pytest.mark.parametrize("original", [True, False], ids=["use_orig_params", "flat"])
@pytest.mark.parametrize("call", CALLS)
def test_flat_parameters_are_refused(pair, call, original):
    pair.run(flat_parameters_are_refused, call, original)


def a_part_of_what_is_gathered_is_refused(call: str) -> None:
    wrapped = at_root(built())
    optimizer = OPTIMIZERS["sgd"](wrapped.parameters())
    CALLS[call](wrapped[-1], optimizer)
    wrapped(torch.zeros(2, *SHAPE))
    with pytest.raises(ValueError, match=rf"^{call}: `model` must be the whole model"):
        CALLS[call](wrapped[-1], optimizer)
    CALLS[call](wrapped, optimizer)
    CALLS[call](wrapped[-1], optimizer)


@calls_sharded
@pytest.mark.parametrize("call", CALLS)
def test_a_part_of_what_is_gathered_is_refused(pair, call):
    pair.run(a_part_of_what_is_gathered_is_refused, call)


# Types of numbers


def mixed_precision_is_that_of_torch(cast: bool) -> None:
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, cast_forward_inputs=cast)
    ours = Conv2D(4, 3, data_format="channels_first", kernel_regularizer="l2")
    ours.build((None, 3, 8, 8))
    ours.to(memory_format=torch.contiguous_format)
    theirs = nn.Conv2d(3, 4, 3)
    theirs.load_state_dict(ours.state_dict())
    penalty = regularization_loss(ours).detach()
    x = torch.randn(BATCH, 3, 8, 8)
    found = []
    for layer in (ours, theirs):
        wrapped = fully_shard(layer, mesh=mesh(), mp_policy=policy)
        y = wrapped(x if cast or layer is ours else x.bfloat16())
        y.float().square().mean().backward()
        found.append((y, *(whole(p.grad) for p in wrapped.parameters())))
    for a, b in zip(*found, strict=True):
        assert a.dtype is b.dtype
        assert torch.equal(a, b)
    assert found[0][0].dtype is torch.bfloat16
    assert_same(regularization_loss(ours).detach(), penalty)  # of the float32 weights
    assert regularization_loss(ours).dtype is torch.float32


@calls_sharded
@pytest.mark.parametrize("cast", [True, False], ids=["inputs cast", "inputs as they are"])
def test_mixed_precision_is_that_of_torch(pair, cast):
    pair.run(mixed_precision_is_that_of_torch, cast)


# A whole script

GUIDE = ROOT / "kerastorch" / "docs" / "distributed.md"


@calls_sharded
def test_a_script_trains_under_torchrun(tmp_path):
    file = tmp_path / "train.py"
    file.write_text(labelled_block(GUIDE, file.name), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    running = subprocess.Popen(
        [*command, f"--nproc-per-node={RANKS}", str(file)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = running.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)  # its processes too
        raise
    assert running.returncode == 0, output
