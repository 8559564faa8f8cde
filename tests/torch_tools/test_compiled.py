"""torch.compile: one graph, whatever the sizes, for inference and for training."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.testing import assert_close

import kerastorch
from kerastorch import attach_constraints, regularization_loss
from kerastorch._ops import tracing
from kerastorch.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    MaxPooling2D,
    ReLU,
)
from tests.layers.case import batch
from tests.layers.convolution.rows import ROWS, channels_of, is_channels_first, make
from tests.torch_tools.test_torch_tools import MODELS, Joined

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
WAYS = ("valid", "pointwise", "strided", "dilated", "same-odd", "same-even", "same-strided",
        "same-pointwise-strided", "same-dilated-odd", "same-grouped-strided",
        "same-depthwise-strided", "first-valid", "first-same-grouped-strided")  # fmt: skip
# Those that are equal at first get one symbol: no batch is as large as the channels are many.
SIZES = ((6, 9, 11, 14), (7, 12, 8, 15), (5, 10, 13, 9))


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch.compiler.reset()
    counters.clear()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def numbers_of(model: nn.Module, x: Tensor, training: bool) -> list[Tensor]:
    """Return a model's outputs and, in training, the gradients of all that wants one."""
    with torch.set_grad_enabled(training):
        outputs = model(x)
        if not training:
            return [outputs]
        loss = outputs.square().sum() + regularization_loss(model)
    wanted = [tensor for tensor in (x, *model.parameters()) if tensor.requires_grad]
    return [outputs, *torch.autograd.grad(loss, wanted)]


def layer_of(name: str, **arguments) -> tuple[Conv2D, list[Tensor]]:
    """Return the layer of a case, and batches of several sizes for it."""
    case = ROWS[name]
    layer, channels = make(case, **arguments), channels_of(case)
    first = is_channels_first(case)
    sizes = [(b, spatial[: layer.rank]) for b, *spatial in SIZES]
    shapes = [(b, channels, *n) if first else (b, *n, channels) for b, n in sizes]
    layer.build(shapes[0])
    return layer, [batch(shape) for shape in shapes]


def network() -> nn.Module:
    """Return a network for images of any size; strides, normalization and pooling included."""
    model = nn.Sequential(
        Conv2D(4, (2, 3), padding="same", use_bias=False),
        BatchNormalization(),
        ReLU(),
        Conv2D(6, (3, 2), strides=2, activation="relu", activity_regularizer="l2"),
        Conv2D(5, 3, strides=(2, 1), padding="same", activation="silu", kernel_regularizer="l2"),
        MaxPooling2D(2, padding="same"),
        GlobalAveragePooling2D(),
        Dense(3),
    )
    model(batch((2, 16, 18, 3)))
    return model


def loaded(name: str) -> nn.Module:
    """Return a model made of a file; what Dropout would draw anew at each call is not dropped."""
    model = Joined(kerastorch.load_model(MODELS[name][0]))
    for module in model.modules():
        if isinstance(module, Dropout):
            module.rate = 0.0
    return model


def assert_compiles(model: nn.Module, inputs: list[Tensor], training: bool, **options) -> None:
    """Check that a model compiles without a break in its graph, and computes what it should."""
    model.train(training)
    plain = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=True, **options)
    for x in inputs:
        if "backend" in options:
            x.requires_grad_(training)
        found = numbers_of(compiled, x, training)
        assert_close(found, numbers_of(plain, x, training), rtol=1e-4, atol=1e-4)


# Graphs, whatever compiles them


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", ["valid", "same-even", "same-grouped-strided"])
def test_one_graph_for_all_sizes(name, training, device):
    layer, inputs = layer_of(name, activation="relu", device=device)
    assert_compiles(layer, [x.to(device) for x in inputs], training, backend="eager", dynamic=True)
    assert graphs() == 1


@pytest.mark.sweep
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", ROWS)
def test_one_graph_for_all_sizes_of_every_case(name, training):
    layer, inputs = layer_of(name, activation="silu")
    assert_compiles(layer, inputs, training, backend="aot_eager", dynamic=True)
    assert graphs() == 1


def test_the_second_size_makes_one_graph_for_all():
    inputs = [batch((b, 2 * h, 2 * w, 3)) for b, h, w, _ in (*SIZES, (7, 11, 9, 5))]
    assert_compiles(network(), inputs, False, backend="aot_eager")
    assert graphs() == 2


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_is_one_graph_for_all_batches(name):
    inputs = [batch((size, *MODELS[name][1][1:])) for size in (2, 3, 5, 7)]
    assert_compiles(loaded(name), inputs, True, backend="aot_eager")
    assert graphs() == 2


def test_the_checks_of_graphs_can_fail():
    class Asking(Conv2D):
        def forward(self, inputs):
            return super().forward(inputs) * (2 if inputs.shape[1] > 10 else 3)

    class Breaking(Conv2D):
        def forward(self, inputs):
            torch._dynamo.graph_break()
            return super().forward(inputs)

    inputs = [batch((2, 9, 11, 3)), batch((3, 12, 8, 3))]
    assert_compiles(
        Asking(4, 3, input_shape=(9, 11, 3)), inputs, True, backend="eager", dynamic=True
    )
    assert graphs() == 2
    with pytest.raises(torch._dynamo.exc.Unsupported):
        assert_compiles(Breaking(4, 3, input_shape=(9, 11, 3)), inputs, True, backend="eager")


def test_a_train_step_is_one_graph_with_its_loss_terms(device):
    model = network().to(device)
    plain, inputs = copy.deepcopy(model), [batch((b, h + 8, w + 8, 3)) for b, h, w, _ in SIZES]

    def loss_of(model, x):
        return model(x).square().mean() + regularization_loss(model)

    compiled = torch.compile(loss_of, fullgraph=True, backend="aot_eager")
    for x in inputs:
        x = x.to(device)
        losses = compiled(model, x), loss_of(plain, x)
        assert_close(*losses)
        found, expected = (
            torch.autograd.grad(loss, list(each.parameters()))
            for loss, each in zip(losses, (model, plain), strict=True)
        )
        assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert graphs() == 2


@pytest.mark.filterwarnings("ignore:Profiler record function", "ignore:The .grad attribute of a")
@pytest.mark.parametrize("which", ["model", "model and optimizer"])
def test_constraints_beside_what_is_compiled(which):
    made = []
    for compiled in (True, False):
        torch.manual_seed(0)
        layer = Conv2D(4, (2, 3), kernel_constraint="max_norm", input_shape=(5, 6, 3))
        with torch.no_grad():
            layer.weight.mul_(9)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        attach_constraints(optimizer, layer)
        model, step = layer, optimizer.step
        if compiled:
            model = torch.compile(layer, backend="aot_eager", fullgraph=True)
            if which != "model":  # torch itself breaks the graph of a step
                step = torch.compile(step, backend="aot_eager")
        for seed in range(3):
            optimizer.zero_grad()
            model(batch((2, 5, 6, 3), seed=seed)).square().mean().backward()
            step()
        made.append(layer)
    assert_close(made[0].weight, made[1].weight)
    assert torch.linalg.vector_norm(made[0].kernel.detach(), dim=0).max() < 2.001


def test_an_input_too_small_is_an_error_at_any_size():
    layer, inputs = layer_of("valid")
    compiled = torch.compile(layer, backend="eager", dynamic=True, fullgraph=True)
    for x in inputs:
        compiled(x)
    for shape in ((2, 1, 8, 3), (2, 8, 2, 3)):
        with pytest.raises(Exception, match="Kernel size can't be greater than"):
            compiled(batch(shape))


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_exported_is_not_padded(strict):
    layer, inputs = layer_of("valid", activation="relu")
    sizes = ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO},)
    program = torch.export.export(layer, (inputs[0],), dynamic_shapes=sizes, strict=strict)
    assert_close(program.module()(inputs[1]), layer(inputs[1]))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert any("conv2d" in name for name in called)
    assert not any("pad" in name for name in called)


# Inductor


@pytest.mark.sweep  # a compiler runs for each size
def test_inductor_trains_at_any_size(device):
    layer, inputs = layer_of("valid", activation="relu", device=device)
    assert_compiles(layer, [x.to(device) for x in inputs], True, dynamic=True)
    assert graphs() == 1


@pytest.mark.sweep
@pytest.mark.parametrize("dynamic", [True, None], ids=["dynamic", "automatic"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("name", WAYS)
def test_inductor_in_every_way(name, activation, training, dynamic, device):
    layer, inputs = layer_of(name, activation=activation, device=device)
    assert_compiles(layer, [x.to(device) for x in inputs], training, dynamic=dynamic)


@pytest.mark.sweep
@pytest.mark.parametrize("dynamic", [False, True, None], ids=["static", "dynamic", "automatic"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_inductor_and_a_network(training, dynamic, device):
    inputs = [batch((b, 2 * h, 2 * w, 3)).to(device) for b, h, w, _ in SIZES]
    assert_compiles(network().to(device), inputs, training, dynamic=dynamic)


@pytest.mark.sweep
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", MODELS)
def test_inductor_and_a_loaded_model(name, training, device):
    inputs = [batch((size, *MODELS[name][1][1:])).to(device) for size in (2, 3, 5)]
    assert_compiles(loaded(name).to(device), inputs, training)


def test_inductor_still_needs_the_padded_form(monkeypatch):
    """Where this fails, torch has mended it, and `convolve_dynamic` may go."""
    monkeypatch.setattr(tracing, "_HAS_STATIC_VALUE", False)
    layer, inputs = layer_of("valid")
    with pytest.raises(Exception, match="cannot determine truth value of Relational"):
        assert_compiles(layer, inputs, True, dynamic=True)


@pytest.mark.sweep
@pytest.mark.parametrize("native", [True, False], ids=["torch", "kerastorch"])
def test_inductor_still_compiles_the_gradient_of_an_input_for_each_width(native):
    """So it does for torch's own layer; where this fails, torch has mended it."""
    layer, inputs = layer_of("first-valid" if native else "valid")
    if native:
        layer = nn.Conv2d(3, 5, (2, 3))
    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    for x in inputs:
        compiled(x.requires_grad_()).square().sum().backward()
    assert graphs() == len(inputs)


@pytest.mark.parametrize(
    ("training", "dynamic", "axis"), [(False, False, 1), (False, True, -1), (True, False, -1)]
)
@pytest.mark.parametrize("apart", [ReLU(), Activation("relu"), Add()], ids=repr)
def test_elements_are_worked_on_with_the_axes_of_convolutions(apart, training, dynamic, axis):
    """Inductor joins them with a convolution, but at one size and without gradients only."""
    layer, x, found = Conv2D(5, 3, input_shape=(9, 12, 4)), batch((2, 9, 12, 4)), []

    def run(x):
        y = layer(x)
        return apart([y, y]) if isinstance(apart, Add) else apart(y)

    def backend(graph, _):
        done = [n for n in graph.graph.nodes if any(w in str(n.target) for w in ("relu", "add"))]
        found.extend(n.meta["example_value"].shape for n in done if "_add" not in str(n.target))
        return graph

    torch.compiler.reset()
    with torch.set_grad_enabled(training):
        assert_close(torch.compile(run, backend=backend, dynamic=dynamic)(x), run(x))
    assert found and all(shape[axis] == 5 for shape in found)
