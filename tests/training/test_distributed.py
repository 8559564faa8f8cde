"""Two processes, plain torch: DistributedDataParallel and `fully_shard` train as one process."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from kerastorch import apply_constraints, attach_constraints, regularization_loss
from kerastorch.constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from kerastorch.layers import BatchNormalization, Conv2D, Dense, Flatten
from kerastorch.regularizers import L1, L1L2, L2, OrthogonalRegularizer
from tests.training.two_processes import RANKS, TIMEOUT, Pair

SHAPE = (8, 8, 3)
BATCH = 4
FILTER = [0, 1, 2]
ROOT = Path(__file__).parents[2]
calls_sharded = pytest.mark.skipif(
    not hasattr(torch.cpu.Stream, "record_event"),
    reason="this torch calls no model on a CPU that `fully_shard` has sharded",
)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with Pair() as found:
        yield found


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


def steps(model: nn.Module, make: Callable[..., Any], data: Any) -> Iterator[tuple[float, Any]]:
    """Train, and yield each step's loss and the weights after it."""
    optimizer = make(model.parameters())
    attach_constraints(optimizer, model)
    for inputs, targets in data:
        optimizer.zero_grad()
        loss = (model(inputs) - targets).square().mean() + regularization_loss(model)
        loss.backward()
        optimizer.step()
        yield loss.item(), [whole(parameter) for parameter in model.parameters()]


def trains_as_one_process(wrapper: str, optimizer: str) -> None:
    model = built(contiguous="channels_last" not in wrapper)
    twin = copy.deepcopy(model)
    wrapped = WRAPPERS[wrapper](model)
    data = batches(6)
    start = [p.detach().clone() for p in twin.parameters()]
    expected = steps(twin, OPTIMIZERS[optimizer], data)
    shares = [(share(inputs), share(targets)) for inputs, targets in data]
    count = 0
    for (loss, weights), (right_loss, right) in zip(
        steps(wrapped, OPTIMIZERS[optimizer], shares), expected, strict=True
    ):
        assert_same(weights, right)
        losses = torch.tensor(loss)
        distributed.all_reduce(losses)
        assert_same(losses.item() / RANKS, right_loss)
        count += 1
    assert count == 6
    assert not any(torch.equal(a, b) for a, b in zip(start, weights, strict=True))


@pytest.mark.parametrize(
    "wrapper, optimizer",
    [
        pytest.param(wrapper, optimizer, marks=() if "ddp" in wrapper else calls_sharded)
        for wrapper in WRAPPERS
        for optimizer in OPTIMIZERS
        if optimizer != "adam-fused" or wrapper in ("ddp", "fully_shard")
    ],
)
def test_each_step_leaves_the_weights_of_one_process(pair, wrapper, optimizer):
    pair.run(trains_as_one_process, wrapper, optimizer)


@pytest.mark.parametrize("wrong, message", [("raises", "(?s)Rank 1: .*ZeroD"), ("hangs", "hangs")])
def test_the_pair_tells(wrong, message):
    with Pair() as pair:
        pair.run(distributed.barrier)
        pair.timeout = 2
        with pytest.raises(AssertionError, match=message):
            pair.run(goes_wrong, wrong)


def goes_wrong(how: str) -> None:
    if distributed.get_rank() == 1:
        if how == "raises":
            raise ZeroDivisionError
        time.sleep(1000)
    distributed.barrier()


# The terms of the loss


CALLED = ("forward", "evaluation")


def a_sharded_loss_is_that_of_one_process(state: str) -> None:
    model = built()
    twin = copy.deepcopy(model)
    inputs, _ = batches(1)[0]
    wrapped = sharded(model)
    if state == "after forward":
        wrapped(inputs)
        twin(inputs)
        assert type(wrapped[-1].weight) is nn.Parameter  # gathered: FSDP leaves it to the backward
    elif state == "after evaluation":
        with torch.no_grad():
            wrapped(inputs)
            twin(inputs)
    for factor in (1, 3):
        found = regularization_loss(wrapped)
        expected = regularization_loss(twin)
        assert type(found) is Tensor
        assert_same(found, expected)
        if state == "before":
            (factor * found).backward()
            (factor * expected).backward()
    for name, parameter in twin.named_parameters():
        if parameter.grad is not None:
            assert_same(whole(wrapped.get_parameter(name).grad), parameter.grad)
    assert sum(p.grad is not None for p in wrapped.parameters()) == (8 if state == "before" else 0)


STATES = ["before", *(pytest.param(f"after {s}", marks=calls_sharded) for s in CALLED)]


@pytest.mark.parametrize("state", STATES)
def test_a_sharded_loss_is_that_of_one_process(pair, state):
    pair.run(a_sharded_loss_is_that_of_one_process, state)


def gathered_weights_have_no_part_in_the_loss_of_the_next_forward() -> None:
    model = built()
    twin = copy.deepcopy(model)
    wrapped = sharded(model, reshard_after_forward=False)
    inputs, _ = batches(1)[0]
    with torch.no_grad():
        wrapped(inputs)  # leaves every weight gathered
        twin(inputs)
    for each in (wrapped, twin):
        loss = regularization_loss(each)
        (loss + each(inputs).square().mean()).backward()
    for name, parameter in twin.named_parameters():
        assert_same(whole(wrapped.get_parameter(name).grad), parameter.grad)


@calls_sharded
def test_gathered_weights_have_no_part_in_the_loss_of_the_next_forward(pair):
    pair.run(gathered_weights_have_no_part_in_the_loss_of_the_next_forward)


# Constraints

CONSTRAINTS = {
    "max_norm": MaxNorm(0.5, axis=FILTER),
    "max_norm of all": MaxNorm(0.5, axis=None),
    "max_norm over filters": MaxNorm(0.5, axis=-1),
    "max_norm of numbers": MaxNorm(0.5, axis=[]),
    "min_max_norm": MinMaxNorm(0.5, 0.75, rate=0.25, axis=FILTER),
    "min_max_norm over all axes": MinMaxNorm(0.5, 0.75, axis=[*FILTER, 3]),
    "unit_norm": UnitNorm(axis=FILTER),
    "unit_norm over filters": UnitNorm(axis=(2, 3)),
    "non_neg": NonNeg(),
    "own": centered,
    "own, in place": centered_in_place,
}


def a_projection_is_that_of_one_process(constraint: Any, filters: int, state: str) -> None:
    layer = Conv2D(filters, 3, kernel_constraint=constraint, bias_constraint=centered)
    layer.build((None, *SHAPE))
    model = nn.Sequential(layer.to(memory_format=torch.contiguous_format))
    twin = copy.deepcopy(model)
    wrapped = at_root(model)
    if state == "gathered":
        with torch.no_grad():
            wrapped(torch.zeros(1, *SHAPE))
        assert type(wrapped[0].weight) is nn.Parameter
    apply_constraints(wrapped)
    weight = wrapped[0].weight
    before = twin[0].weight.detach().clone()
    apply_constraints(twin)
    assert_same(whole(weight), twin[0].weight.detach())
    assert not torch.equal(before, twin[0].weight)
    assert_same(whole(wrapped[0].bias), twin[0].bias.detach())
    if state == "gathered":
        assert_same(wrapped(torch.ones(1, *SHAPE)), twin(torch.ones(1, *SHAPE)))


@pytest.mark.parametrize(
    "filters, state",
    [
        (4, "sharded"),
        pytest.param(3, "gathered", marks=calls_sharded),
        (3, "sharded"),
        (1, "sharded"),
    ],
)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_projection_is_that_of_one_process(pair, constraint, filters, state):
    pair.run(a_projection_is_that_of_one_process, CONSTRAINTS[constraint], filters, state)


def a_result_of_another_shape_is_refused() -> None:
    model = at_root(nn.Sequential(Dense(3, kernel_constraint=first_rows, input_shape=(4,))))
    before = whole(model[0].weight)
    with pytest.raises(ValueError, match=r"^Dense: `kernel_constraint` must be a callable that"):
        apply_constraints(model)
    assert torch.equal(before, whole(model[0].weight))


def first_rows(w: Tensor) -> Tensor:
    return w[:1]


def test_a_result_of_another_shape_is_refused(pair):
    pair.run(a_result_of_another_shape_is_refused)


def a_scaler_skips_a_sharded_step() -> None:
    for infinite in (True, False):
        model = built()
        twin = copy.deepcopy(model)
        wrapped = sharded(model)
        inputs, targets = batches(1)[0]
        found = []
        for each, (x, y) in ((wrapped, (share(inputs), share(targets))), (twin, (inputs, targets))):
            optimizer = OPTIMIZERS["adam-fused"](each.parameters())
            attach_constraints(optimizer, each)
            scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
            scaler.scale((each(x) - y).square().mean() + regularization_loss(each)).backward()
            if infinite:
                bias: Any = each[0].bias.grad
                (bias.to_local() if hasattr(bias, "to_local") else bias)[0] = torch.inf
            scaler.step(optimizer)
            found.append([whole(parameter) for parameter in each.parameters()])
        assert_same(*found)
        start = [parameter.detach() for parameter in built().parameters()]
        assert all(map(torch.equal, found[0], start)) is infinite


@calls_sharded
def test_a_scaler_skips_a_sharded_step(pair):
    pair.run(a_scaler_skips_a_sharded_step)


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

SCRIPT = """\
import os, torch, kerastorch
from kerastorch.layers import Conv2D, Dense, Flatten
from torch.distributed.fsdp import fully_shard

if torch.cuda.is_available():
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.set_default_device("cuda")
torch.distributed.init_process_group()  # nccl between GPUs, gloo without
torch.manual_seed(0)  # the same first weights everywhere
rules = {"kernel_regularizer": "l2", "kernel_constraint": "max_norm", "activation": "relu"}
model = torch.nn.Sequential(Conv2D(32, 3, strides=2, padding="same", **rules), Flatten(), Dense(10))
model(torch.zeros(1, 28, 28, 1))  # builds the layers: before sharding
model.to(memory_format=torch.contiguous_format)  # the order that fully_shard takes
fully_shard(model[-1])  # large layers or blocks by themselves,
fully_shard(model)  # then the rest; or: model = DistributedDataParallel(model)
optimizer = torch.optim.Adam(model.parameters())  # after sharding
kerastorch.attach_constraints(optimizer, model)
torch.manual_seed(torch.distributed.get_rank())  # each process has its own share of the data
for _ in range(10):
    inputs, labels = torch.rand(8, 28, 28, 1), torch.randint(10, (8,))
    loss = torch.nn.functional.cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    (loss + kerastorch.regularization_loss(model)).backward()
    optimizer.step()
torch.distributed.destroy_process_group()
"""


def test_the_script_is_that_of_the_readme():
    assert SCRIPT in (ROOT / "README.md").read_text(encoding="utf-8")


@calls_sharded
def test_a_script_trains_under_torchrun(tmp_path):
    file = tmp_path / "train.py"
    file.write_text(SCRIPT, encoding="utf-8")
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
