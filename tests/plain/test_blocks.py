"""Blocks of the written code: what becomes a class, how it reads, and that it computes the same."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
import torch

from kerastorch._core.registry import to_snake_case
from kerastorch.models.base import Model
from kerastorch.plain.api import to_source
from tests.models.configs import functional, input_layer, layer, node, tensor
from tests.plain.models import assert_plain, build


class Network:
    """A Functional model that is made call by call; layers are named as Keras names them."""

    def __init__(self, channels: int = 8, inputs: int = 1) -> None:
        self.inputs = ["x"] if inputs == 1 else [f"x_{n}" for n in range(inputs)]
        self.layers = [input_layer(name, (None, 8, 8, channels)) for name in self.inputs]
        self.counts: Counter[str] = Counter()
        self.channels = dict.fromkeys(self.inputs, channels)

    def add(self, kind: str, *before: str, name: str = "", **config: Any) -> str:
        """Add a layer that is called on the outputs of others; return its name."""
        if not name:
            name = stem = to_snake_case(kind)
            name = f"{stem}_{self.counts[stem]}" if self.counts[stem] else stem
            self.counts[stem] += 1
        values: Any = [tensor(one) for one in before] if len(before) > 1 else tensor(before[0])
        entry = layer(kind, name, [node(values)], **config)
        place = "applications.convnext" if kind == "LayerScale" else "layers"
        self.layers.append({**entry, "module": f"keras.src.{place}", "registered_name": kind})
        return name

    def conv(self, x: str, filters: int, kernel: int = 3, name: str = "", **config: Any) -> str:
        options: Any = {"kernel_size": [kernel, kernel], "padding": "same", **config}
        return self.add("Conv2D", x, name=name, filters=filters, **options)

    def unit(self, x: str, filters: int, kernel: int = 3, prefix: str = "", **config: Any) -> str:
        """Add a convolution, a normalization and a ReLU, named with a prefix if there is one."""
        names = [f"{prefix}_{one}" if prefix else "" for one in ("conv", "bn", "relu")]
        y = self.conv(x, filters, kernel, name=names[0], **config)
        y = self.add("BatchNormalization", y, name=names[1])
        return self.add("ReLU", y, name=names[2])

    def build(self, *outputs: str) -> Model:
        ends = [[name, 0, 0] for name in self.inputs]
        return build(functional(*self.layers, inputs=ends, outputs=[[y, 0, 0] for y in outputs]))


def residual(net: Network, x: str, filters: int, prefix: str = "") -> str:
    """Add two convolutions with a shortcut past them."""
    name = (lambda one: f"{prefix}_{one}") if prefix else (lambda one: "")
    y = net.unit(x, filters, prefix=name("1"))
    y = net.conv(y, filters, name=name("2_conv"))
    y = net.add("BatchNormalization", y, name=name("2_bn"))
    y = net.add("Add", x, y, name=name("add"))
    return net.add("ReLU", y, name=name("out"))


def write(model: Model, channels: int = 8, **options: Any) -> str:
    """Write a model, compare it in double precision, and check the style of the text."""
    inputs = [torch.randn(2, 8, 8, channels) for _ in model._inputs]
    text = assert_plain(model, inputs, **options)
    ruff = [sys.executable, "-m", "ruff"]
    style = ["--isolated", "--config", "line-length=100", "--stdin-filename", "model.py", "-"]
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run([*ruff, *command, *style], input=text.encode(), capture_output=True)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode() + text
    return text


def list_class_names(text: str) -> list[str]:
    return [one.name for one in ast.parse(text).body if isinstance(one, ast.ClassDef)]


def get_class(text: str, name: str) -> str:
    """Return the text of one class."""
    kinds = [one for one in ast.parse(text).body if isinstance(one, ast.ClassDef)]
    (found,) = (one for one in kinds if one.name == name)
    return ast.get_source_segment(text, found) or ""


def test_residual_blocks_are_a_class_with_a_shortcut() -> None:
    net = Network()
    x = "x"
    for number in range(4):
        x = residual(net, x, 8, f"conv2_block{number + 1}")
    text = write(net.build(x))
    assert get_class(text, "ResidualBlock").splitlines() == [
        "class ResidualBlock(nn.Module):",
        '    """conv2_block1, conv2_block2, conv2_block3 and conv2_block4 in Keras."""',
        "",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.conv1 = nn.Conv2d(8, 8, 3, padding=1)",
        "        self.bn1 = nn.BatchNorm2d(8, eps=0.001, momentum=0.01)",
        "        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)",
        "        self.bn2 = nn.BatchNorm2d(8, eps=0.001, momentum=0.01)",
        "",
        "    def forward(self, x):",
        "        y = F.relu(self.bn1(self.conv1(x)), inplace=True)",
        "        return F.relu(x + self.bn2(self.conv2(y)), inplace=True)",
    ]
    assert "self.conv2 = nn.Sequential(*(ResidualBlock() for _ in range(4)))" in text
    assert "return self.conv2(x).permute(0, 2, 3, 1)" in text


def test_without_blocks_the_same_model_is_one_class() -> None:
    net = Network()
    x = "x"
    for number in range(4):
        x = residual(net, x, 8, f"conv2_block{number + 1}")
    text = write(net.build(x), blocks=False)
    assert list_class_names(text) == ["Model"]
    assert "F.relu(x + self.conv2_block1_2_bn(self.conv2_block1_2_conv(y)), inplace=True)" in text


def test_blocks_of_the_inference_form_have_no_normalization() -> None:
    net = Network()
    x = net.conv("x", 8)
    for _ in range(7):
        x = residual(net, x, 8)
    model = net.build(x)
    source = to_source(model, inference=True)
    assert "BatchNorm" not in source.text
    assert "self.stage1 = nn.Sequential(*(ResidualBlock() for _ in range(7)))" in source.text
    assert "return F.relu(x + self.conv2(y), inplace=True)" in source.text


def test_blocks_of_images_with_channels_first() -> None:
    net = Network()
    x = net.conv("x", 8)
    for _ in range(4):
        x = residual(net, x, 8)
    source = to_source(net.build(x), layout="channels_first")
    assert "permute" not in source.text
    assert "return self.stage1(x)" in source.text


def test_blocks_without_names_are_numbered_stages() -> None:
    net = Network()
    x = net.unit("x", 8, 1)
    for _ in range(4):
        x = residual(net, x, 8)
    text = write(net.build(x))
    assert list_class_names(text) == ["ResidualBlock", "Model"]
    assert "self.stage1 = nn.Sequential(*(ResidualBlock() for _ in range(4)))" in text
    assert '"""conv2d_1 to re_lu_2, conv2d_3 to re_lu_4, conv2d_5 to re_lu_6, ...' in text


def test_sizes_that_differ_are_parameters_named_by_their_role() -> None:
    net = Network(channels=4)
    x = "x"
    for number, width in enumerate((4, 8, 16, 32)):
        prefix = f"stage{number}_block1"
        shortcut = net.conv(x, 4 * width, 1, name=f"{prefix}_0_conv", strides=[1, 1])
        y = net.unit(x, width, 1, prefix=f"{prefix}_1")
        y = net.unit(y, width, 3, prefix=f"{prefix}_2")
        y = net.conv(y, 4 * width, 1, name=f"{prefix}_3_conv")
        x = net.add("Add", shortcut, y, name=f"{prefix}_out")
    text = write(net.build(x), channels=4)
    block = get_class(text, "ProjectionBlock")
    assert "def __init__(self, channels, width):" in block
    assert "self.conv0 = nn.Conv2d(channels, 4 * width, 1)" in block
    assert "self.conv1 = nn.Conv2d(channels, width, 1)" in block
    assert "shortcut = self.conv0(x)" in block
    assert "return shortcut + self.conv3(x)" in block
    assert "self.stage0_block1 = ProjectionBlock(4, 4)" in text
    assert "self.stage3_block1 = ProjectionBlock(64, 32)" in text


def test_dense_layers_grow_evenly() -> None:
    net = Network()
    x = "x"
    for number in range(6):
        y = net.unit(x, 16, 1, prefix=f"conv2_block{number + 1}_1")
        y = net.conv(y, 4, name=f"conv2_block{number + 1}_2_conv")
        x = net.add("Concatenate", x, y, name=f"conv2_block{number + 1}_concat", axis=-1)
    text = write(net.build(x))
    assert "self.conv2 = nn.Sequential(*(DenseLayer(8 + 4 * i) for i in range(6)))" in text
    assert "return torch.cat([x, y], dim=1)" in get_class(text, "DenseLayer")


def test_strides_are_an_option_and_kernels_a_parameter() -> None:
    net = Network()
    x = "x"
    for number, (kernel, stride) in enumerate(((3, 1), (5, 1), (3, 1), (5, 1))):
        prefix = f"block{number}"
        y = net.unit(x, 16, 1, prefix=f"{prefix}_expand", strides=[stride, stride])
        y = net.unit(y, 16, kernel, prefix=f"{prefix}_mix")
        y = net.conv(y, 8, 1, name=f"{prefix}_project_conv")
        x = net.add("Add", x, y, name=f"{prefix}_add")
    text = write(net.build(x))
    assert "nn.Conv2d(16, 16, kernel_size, padding=kernel_size // 2)" in text
    assert "ResidualBlock(kernel_size=5)" in text


def test_plain_chains_of_convolutions_stay_flat() -> None:
    net = Network()
    x = "x"
    for number, (filters, count) in enumerate(((8, 2), (16, 2), (32, 3))):
        for one in range(count):
            x = net.conv(x, filters, name=f"block{number}_conv{one}", activation="relu")
        x = net.add("MaxPooling2D", x, name=f"block{number}_pool")
    text = write(net.build(x))
    assert list_class_names(text) == ["Model"]


def test_layers_that_are_called_twice_are_in_no_block() -> None:
    net = Network()
    shared = net.conv("x", 8, name="block0_shared_conv")
    x = shared
    for number in range(4):
        x = residual(net, x, 8, f"block{number}")
    again = next(one for one in net.layers if one["name"] == "block0_1_conv")
    again["inbound_nodes"].append(node(tensor(x)))
    config = functional(*net.layers, inputs=[["x", 0, 0]], outputs=[["block0_1_conv", 1, 0]])
    text = write(build(config))
    assert "self.block0_1_conv = nn.Conv2d(8, 8, 3, padding=1)" in text
    assert text.count("self.block0_1_conv(") == 2


def test_regions_of_two_inputs_stay_flat_and_chains_after_them_do_not() -> None:
    net = Network(inputs=2)
    x = net.add("Add", *net.inputs)
    for _ in range(4):
        x = residual(net, x, 8)
    y = net.add("Multiply", x, net.inputs[0])
    text = write(net.build(y))
    assert list_class_names(text) == ["ResidualBlock", "Model"]
    assert "def forward(self, x_0, x_1):" in text


def test_blocks_beside_a_long_skip_connection_are_found() -> None:
    net = Network()
    first = residual(net, "x", 8)
    x = first
    for _ in range(4):
        x = residual(net, x, 8)
    x = net.add("Concatenate", first, x, axis=-1)
    text = write(net.build(x))
    assert "ResidualBlock" in list_class_names(text)


def test_branches_stand_one_after_the_other_the_shorter_first() -> None:
    net = Network()
    # In this order Keras would compute them in turn.
    a = net.conv("x", 8, name="long_1")
    b = net.conv("x", 8, name="short_1")
    a = net.conv(a, 8, name="long_2")
    y = net.add("Concatenate", a, b, name="end", axis=-1)
    text = write(net.build(y))
    lines = [line.strip() for line in text.splitlines()]
    calls = [line.partition("self.")[2].partition("(")[0] for line in lines if " = self." in line]
    assert calls == ["short_1", "long_1", "long_2"]


def test_parameters_of_the_class_itself_move_into_the_blocks() -> None:
    net = Network()
    x = "x"
    for number in range(5):
        y = net.conv(x, 8, name=f"stage_0_block_{number}_conv")
        y = net.conv(y, 8, 1, name=f"stage_0_block_{number}_pointwise")
        y = net.add(
            "LayerScale",
            y,
            name=f"stage_0_block_{number}_scale",
            init_values=1e-6,
            projection_dim=8,
        )
        x = net.add("Add", x, y, name=f"stage_0_block_{number}_add")
    source = to_source(net.build(x))
    assert "self.stage0 = nn.Sequential(*(ResidualBlock() for _ in range(5)))" in source.text
    assert "stage0.4.scale" in source.state
    assert not any(name.startswith("stage_0") for name in source.state)


def test_names_of_the_state_say_where_each_layer_of_keras_is() -> None:
    net = Network()
    x = "x"
    for number in range(4):
        x = residual(net, x, 8, f"conv2_block{number + 1}")
    source = to_source(net.build(x))
    assert source.names["conv2.3.bn1"] == "conv2_block4_1_bn"


HOSTILE = 'block%d"""\nimport os\nos.system("x")\n"""class'


def test_no_text_of_a_file_reaches_the_code_through_the_names_of_blocks() -> None:
    net = Network()
    x = "x"
    for number in range(4):
        x = residual(net, x, 8, HOSTILE % number)
    text = write(net.build(x))
    assert "ResidualBlock" in list_class_names(text)
    names = {one.id for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Name)}
    assert "os" not in names


@pytest.mark.parametrize(
    "name", ["block%d_lambda", "block%d_forward", "block%d_training", "block%d_"]
)
def test_names_of_members_that_python_or_torch_has_taken(name: str) -> None:
    net = Network()
    x = "x"
    for number in range(6):
        y = net.conv(x, 8, name=name % number)
        y = net.conv(y, 8, name=f"block{number}_other")
        y = net.conv(y, 8, name=f"block{number}_{'third'}")
        x = net.add("Add", x, y, name=f"block{number}_add")
    text = write(net.build(x))
    assert "ResidualBlock" in list_class_names(text)
