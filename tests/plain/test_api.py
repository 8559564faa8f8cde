"""`to_source` and `to_torch`: arguments, modules, and that the proof can fail."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys

import pytest
import torch
from torch import fx, nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

import kerastorch
from kerastorch.plain import lowering as lowering_module
from kerastorch.plain import to_source, to_torch
from kerastorch.plain.proof.comparison import ProofError, measure
from tests.models.configs import functional, input_layer, layer, sequential
from tests.plain.models import assert_plain, build, images, nested, one

X = torch.randn((2, 8, 9, 3), generator=torch.Generator().manual_seed(3))


def test_the_text_imports_torch_alone() -> None:
    text = to_source(build(images())).text
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert imports == ["from torch import nn", "from torch.nn import functional as F"]


def test_the_module_is_torchs_alone_and_trains_as_the_model() -> None:
    model = build(images()).train()
    plain = to_torch(model)
    assert plain.training
    assert not any(type(one).__module__.startswith("kerastorch.") for one in plain.modules())
    twin, plain = copy.deepcopy(model).double(), plain.double()
    for module in (*twin.modules(), *plain.modules()):
        if isinstance(module, nn.Dropout) or getattr(module, "rate", None):
            module.eval()
    a, b = twin(X.double()), plain(X.double())
    assert measure(a.detach(), b.detach()) < 1e-12
    (a**2).sum().backward()
    (b**2).sum().backward()
    assert measure(twin.conv_a.weight.grad, plain.conv_a.weight.grad) < 1e-11
    momentum = measure(twin.bn_a.running_mean, plain.bn_a.running_mean)
    assert momentum < 1e-12


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_written_module_is_copied_pickled_scripted_and_traced() -> None:
    plain = to_torch(build(images()))
    with torch.no_grad():
        wanted = plain(X)
        for made in (
            copy.deepcopy(plain),
            pickle.loads(pickle.dumps(plain)),
            torch.jit.script(plain),
            fx.symbolic_trace(plain),
        ):
            assert torch.equal(made(X), wanted)
    assert inspect.getsource(type(plain)).startswith("class ImagesNet(nn.Module):")


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning", "ignore::UserWarning")
def test_a_written_module_is_quantized() -> None:
    plain = to_torch(build(images()))
    prepared = prepare_fx(plain, get_default_qconfig_mapping(), (X,))
    with torch.no_grad():
        prepared(X)
        quantized = convert_fx(prepared)
        assert any("quantized" in type(one).__module__ for one in quantized.modules())
        assert measure(plain(X), quantized(X)) < 0.2


def test_a_pickle_is_read_in_another_process(tmp_path) -> None:
    plain = to_torch(build(images()))
    torch.save((plain, X), tmp_path / "pickle.pt")
    code = (
        "import sys, torch; m, x = torch.load(sys.argv[1], weights_only=False); print(m(x).sum())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pickle.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(plain(X).sum())


@pytest.mark.parametrize("inference", [False, True])
def test_images_are_passed_as_torch_has_them_with_channels_first(inference: bool) -> None:
    model = build(images())
    plain = to_torch(model, layout="channels_first", inference=inference)
    with torch.no_grad():
        torch.testing.assert_close(plain(X.permute(0, 3, 1, 2)), model(X), rtol=1e-5, atol=1e-6)


def test_image_outputs_are_returned_in_the_layout() -> None:
    conv = one("Conv2D", "conv", "x_in", filters=2, kernel_size=3, padding="same")
    config = functional(
        input_layer("x_in", (None, 5, 4, 3)), conv, inputs=["x_in", 0, 0], outputs=["conv", 0, 0]
    )
    model = build(config)
    x = torch.randn(2, 5, 4, 3)
    assert to_torch(model)(x).shape == (2, 5, 4, 2)
    first = to_torch(model, layout="channels_first")(x.permute(0, 3, 1, 2))
    torch.testing.assert_close(first.permute(0, 2, 3, 1), model(x))


def test_a_nested_model_is_a_class_that_is_made_once() -> None:
    text = assert_plain(build(nested()), [torch.randn(2, 6, 5, 2), torch.randn(3, 6, 5, 2)[:2]])
    assert text.count("class ") == 2
    assert text.count("Branch()") == 1
    assert text.count("self.branch(") == 2


def test_outputs_keep_their_structure() -> None:
    config = functional(
        input_layer("a"),
        one("Dense", "first", "a", units=2),
        one("Dense", "second", "a", units=3),
        inputs=["a", 0, 0],
        outputs={"two": ["first", 0, 0], "one": ["second", 0, 0]},
    )
    found = to_torch(build(config))(torch.randn(2, 4))
    assert {name: tuple(one.shape) for name, one in found.items()} == {
        "two": (2, 2),
        "one": (2, 3),
    }


def test_a_frozen_layer_stays_frozen() -> None:
    config = functional(
        input_layer("a"),
        one("Dense", "still", "a", units=2, trainable=False),
        one("BatchNormalization", "norm", "still", trainable=False),
        inputs=["a", 0, 0],
        outputs=["norm", 0, 0],
    )
    model = build(config).train()
    plain = to_torch(model)
    assert not any(parameter.requires_grad for parameter in plain.parameters())
    x = torch.randn(3, 4)
    torch.testing.assert_close(plain(x), model(x))
    assert torch.equal(plain.norm.running_mean, model.norm.running_mean)


def test_what_a_training_loop_adds_is_named() -> None:
    penalty = {"class_name": "L2", "config": {"l2": 0.125}, "module": "keras.regularizers"}
    limit = {"class_name": "NonNeg", "config": {}, "module": "keras.constraints"}
    rules = {"kernel_regularizer": penalty, "bias_constraint": limit}
    dense = layer("Dense", "dense", units=2, **rules)
    text = to_source(build(sequential(input_layer("a"), dense))).text
    assert "- kernel_regularizer L2(l2=0.125) of dense" in text
    assert "- bias_constraint NonNeg() of dense" in text


def test_all_refused_layers_are_named_at_once() -> None:
    class Mine(nn.Module):
        def forward(self, x):
            return x

    mine = [layer("Mine", name) for name in ("one", "two")]
    config = sequential(input_layer("a"), layer("Dense", "d", units=2), *mine)
    from kerastorch.models.build import build_model
    from kerastorch.saving.configs.parse import parse_model_config
    from tests.models.configs import build_all

    parsed = parse_model_config(config, "config.json")
    model = build_model(parsed, custom_layers={"Mine": lambda config: Mine()})
    build_all(model)
    with pytest.raises(ValueError, match=r"(?s)'one' \(Mine\).*'two' \(Mine\)"):
        to_source(model)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layout": "nchw"}, "`layout` must be one of"),
        ({"class_name": "class"}, "`class_name` must be"),
        ({"class_name": "a b"}, "`class_name` must be"),
        ({"class_name": ""}, "`class_name` must be"),
    ],
)
def test_wrong_arguments_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        to_source(build(images()), **options)


def test_other_modules_are_refused() -> None:
    with pytest.raises(TypeError, match="`model` must be a model of `load_model`"):
        to_source(nn.Linear(2, 2))


def test_several_dtypes_are_refused() -> None:
    first = layer("Dense", "first", units=3, dtype="mixed_float16")
    config = sequential(input_layer("a"), first, layer("Dense", "second", units=2))
    with pytest.raises(ValueError, match="of one floating-point dtype"):
        to_source(build(config))


@pytest.mark.parametrize("activation, merged", [("relu", True), ("linear", False), ("tanh", False)])
def test_padding_belongs_to_what_reads_it_where_that_changes_no_number(activation, merged) -> None:
    config = functional(
        input_layer("given", (None, 9, 8, 3)),
        one("ZeroPadding2D", "pad1", "given", padding=[2, 1]),
        one("Conv2D", "conv", "pad1", filters=2, kernel_size=3, strides=2, activation=activation),
        one("ZeroPadding2D", "pad2", "conv", padding=1),
        one("MaxPooling2D", "pool", "pad2", pool_size=3, strides=2),
        one("ZeroPadding2D", "pad3", "pool", padding=[[1, 0], [0, 0]]),
        one("Conv2D", "last", "pad3", filters=2, kernel_size=2),
        inputs=["given", 0, 0],
        outputs=["last", 0, 0],
    )
    text = assert_plain(build(config), [torch.randn(2, 9, 8, 3)])
    assert "nn.Conv2d(3, 2, 3, stride=2, padding=(2, 1))" in text
    assert ("F.max_pool2d(" in text and "stride=2, padding=1)" in text) is merged
    assert text.count("F.pad(") == 2 - merged


@pytest.mark.parametrize("kind", ["LeakyReLU", "ReLU", "ELU", "Softmax"])
def test_an_activation_may_be_a_layer(kind: str) -> None:
    activation = {"module": "keras.layers", "class_name": kind, "config": {"name": "inner"}}
    conv = one("Conv2D", "conv", "given", filters=2, kernel_size=3, activation=activation)
    config = functional(
        input_layer("given", (None, 5, 6, 3)), conv, inputs=["given", 0, 0], outputs=["conv", 0, 0]
    )
    assert_plain(build(config), [torch.randn(2, 5, 6, 3)])


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_the_weights_keep_their_dtype(dtype: str) -> None:
    dense = layer("Dense", "first", units=3, dtype=dtype)
    model = build(sequential(input_layer("a"), dense))
    source = to_source(model, weights_file="a.pt")
    assert f"Input x: (batch, 4) {dtype}" in source.text
    assert f"().to(torch.{dtype})" in source.text
    assert {str(one.dtype) for one in source.state.values()} == {f"torch.{dtype}"}
    x = torch.randn(2, 4).to(getattr(torch, dtype))
    assert torch.equal(to_torch(model)(x), model(x))


# The proof can fail


FAULTS = {
    "epsilon": lambda module: setattr(module.get_submodule("bn_a"), "eps", 1.001e-3),
    "weight": lambda module: module.get_submodule("conv_b").weight.data.mul_(1 + 1e-9),
    "padding": lambda module: setattr(module.get_submodule("conv_b"), "padding", (1, 1)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_numbers_of_the_graph_are_found(fault: str, monkeypatch) -> None:
    lower = lowering_module.lower_model

    def wrong(*args, **kwargs):
        lowered = lower(*args, **kwargs)
        lowered.module.double()
        FAULTS[fault](lowered.module)
        return lowered

    monkeypatch.setattr("kerastorch.plain.api.lower_model", wrong)
    with pytest.raises((ProofError, RuntimeError)):
        to_source(build(images()))


@pytest.mark.parametrize(
    "written, wrong",
    [
        ("momentum=0.25", "momentum=0.2"),  # which no output shows
        ("nn.Dropout(0.25)", "nn.Dropout(0.5)"),
        ("F.relu6(", "F.relu("),
        ("eps=0.001", "eps=0.0010000001"),
        ("bias=False", "bias=True"),
        ("shortcut + self.bn_c(x)", "self.bn_c(x) + shortcut"),
    ],
)
def test_wrong_text_is_found(written: str, wrong: str, monkeypatch) -> None:
    from kerastorch.plain import api

    print_file = api.print_file

    def write(*args, **kwargs):
        text, name = print_file(*args, **kwargs)
        assert written in text
        return text.replace(written, wrong, 1), name

    monkeypatch.setattr(api, "print_file", write)
    with pytest.raises(RuntimeError):
        to_source(build(images()))


def test_the_names_are_public() -> None:
    assert kerastorch.to_source is to_source and kerastorch.to_torch is to_torch
