"""Random models: configs of graphs of layers as Keras writes them, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from kerastorch import layers
from tests.layers.case import every_case
from tests.models.configs import (
    Config,
    functional,
    input_layer,
    inside,
    layer,
    node,
    sequential,
    tensor,
)

Shape = tuple[Any, ...]
Arguments = dict[str, Any]

IMAGE = (None, 7, 6, 4)
MOST = 600  # numbers of one sample
ELEMENTWISE = ["relu", "relu6", "tanh", "silu", "elu", "gelu", "linear", "leaky_relu", "sigmoid"]
ACTIVATIONS = [*ELEMENTWISE, "relu", "linear", "linear", "softmax"]
MERGES = ["Add", "Add", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"]
RELUS = [{"max_value": 6}, {"max_value": 0}, {"threshold": 0.3}, *[{"negative_slope": 0.3}] * 3]
POLICIES = ["float16", "float64", *["mixed_bfloat16"] * 3, "bfloat16"]

# What real networks put one after the other, and what may go wrong there.
CHAINS = [
    *[["ZeroPadding2D", "Conv2D"]] * 2,
    ["ZeroPadding2D", "DepthwiseConv2D"],
    ["DepthwiseConv2D", "BatchNormalization", "ReLU"],
    ["ZeroPadding2D", "SeparableConv2D", "BatchNormalization", "ReLU"],
    *[["ReLU", "ZeroPadding2D", "MaxPooling2D"]] * 2,
    *[["Conv2D", "ReLU", "ZeroPadding2D", "MaxPooling2D"]] * 2,
    *[["Conv2D", "ZeroPadding2D", "MaxPooling2D"]] * 3,
    ["ZeroPadding2D", "ZeroPadding2D", "Conv2D"],
    ["ZeroPadding2D", "MaxPooling2D"],
    ["Conv2D", "BatchNormalization", "ReLU"],
    ["Conv2D", "BatchNormalization", "Activation", "Conv2D"],
    ["BatchNormalization", "Dropout", "ReLU"],
    ["Conv2D", "Activation", "ReLU"],
    ["Activation", "ReLU"],
    *[["Flatten", "Dense", "ELU"]] * 2,
    ["LeakyReLU", "AveragePooling2D"],
    ["Conv2D", "GlobalAveragePooling2D"],
]
SINGLE = [
    *["Conv2D", "BatchNormalization", "ReLU", "Activation", "LeakyReLU", "ELU", "Softmax", "PReLU"],
    *["MaxPooling2D", "AveragePooling2D", "ZeroPadding2D", "Cropping2D", "UpSampling2D"],
    *["Dropout", "SpatialDropout2D", "Dense", "Flatten", "Reshape", "Permute", "Rescaling"],
    *["GlobalAveragePooling2D", "GlobalMaxPooling2D", "DepthwiseConv2D", "SeparableConv2D"],
    *["LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"],
]


def _windows(draw: random.Random) -> Arguments:
    sizes = draw.choice([[3, 3], [3, 3], [2, 3], [3, 2], [1, 2]])
    strides, padding = draw.choice([None, 1, [1, 2], 2]), draw.choice(["valid", "valid", "same"])
    return {"pool_size": sizes, "strides": strides, "padding": padding}


def _convolution(draw: random.Random, channels: int) -> Arguments:
    groups = draw.choice([1, 1, 1, *(n for n in (2, channels) if channels % n == 0)])
    strides, dilation = draw.choice([(1, 1), (1, 1), (2, 1), ([1, 2], 1), (1, [1, 2])])
    return {
        "filters": groups * draw.choice([1, 2]) if groups > 1 else draw.choice([2, 4, 4]),
        "kernel_size": draw.choice([1, 3, 3, [2, 3], [3, 1], 2]),
        "strides": strides,
        "dilation_rate": dilation,
        "groups": groups,
        "padding": draw.choice(["valid", "same"]),
        "activation": draw.choice([*ACTIVATIONS, *["linear"] * 8]),
        "use_bias": draw.random() < 0.7,
    }


def _depthwise(draw: random.Random) -> Arguments:
    drawn = _convolution(draw, 1)
    del drawn["filters"], drawn["groups"]
    return {**drawn, "depth_multiplier": draw.choice([1, 1, 2])}


def _sides(draw: random.Random) -> Any:
    return draw.choice([0, *[1] * 5, [1, 0], [[1, 0], [0, 2]], [[0, 1], [1, 1]], [1, 2]])


def _factors(draw: random.Random, shape: Shape) -> list[int]:
    sizes = [*shape[1:]]
    draw.shuffle(sizes)
    return sizes if draw.random() < 0.5 else [-1, sizes[-1]]


# The arguments of a layer, by what is drawn, the shape of its input and the format of images
ARGUMENTS: dict[str, Callable[[random.Random, Shape, str], Arguments]] = {
    "Conv2D": lambda d, s, f: _convolution(d, s[-1] if f == "channels_last" else s[1]),
    "DepthwiseConv2D": lambda d, s, f: _depthwise(d),
    "SeparableConv2D": lambda d, s, f: {**_depthwise(d), "filters": d.choice([2, 4])},
    "BatchNormalization": lambda d, s, f: {
        "axis": d.choice([-1, -1, len(s) - 1, 1, 1 - len(s)]),
        "momentum": 0.5,
        "center": d.random() < 0.8,
        "scale": d.random() < 0.8,
    },
    "LayerNormalization": lambda d, s, f: {"axis": d.choice([-1, -1, len(s) - 1])},
    "RMSNormalization": lambda d, s, f: {"axis": d.choice([-1, -1, len(s) - 1])},
    "UnitNormalization": lambda d, s, f: {"axis": d.choice([-1, 1])},
    "GroupNormalization": lambda d, s, f: {
        "groups": d.choice([1, -1]),
        "axis": d.choice([-1, -1, len(s) - 1, 1]),
    },
    "ReLU": lambda d, s, f: {**d.choice([*[{}] * 5, *RELUS])},
    "Activation": lambda d, s, f: {"activation": d.choice(ACTIVATIONS)},
    "LeakyReLU": lambda d, s, f: {"negative_slope": 0.3},
    "ELU": lambda d, s, f: {"alpha": d.choice([1.0, 0.5])},
    "Softmax": lambda d, s, f: {"axis": d.choice([-1, 1])},
    "PReLU": lambda d, s, f: {"shared_axes": [1] if len(s) == 4 else None},
    "MaxPooling2D": lambda d, s, f: _windows(d),
    "AveragePooling2D": lambda d, s, f: _windows(d),
    "ZeroPadding2D": lambda d, s, f: {"padding": _sides(d)},
    "Cropping2D": lambda d, s, f: {"cropping": [[1, 0], [0, 1]]},
    "UpSampling2D": lambda d, s, f: {"size": [2, 1]},
    "Dropout": lambda d, s, f: {"rate": 0.4, "seed": d.randint(1, 99)},
    "SpatialDropout2D": lambda d, s, f: {"rate": 0.4, "seed": d.randint(1, 99)},
    "Dense": lambda d, s, f: {
        "units": d.randint(2, 4),
        "activation": d.choice([None, d.choice(ACTIVATIONS)]),
    },
    "Flatten": lambda d, s, f: {},
    "Reshape": lambda d, s, f: {"target_shape": _factors(d, s)},
    "Permute": lambda d, s, f: {"dims": d.sample(range(1, len(s)), len(s) - 1)},
    "Rescaling": lambda d, s, f: {"scale": 0.5, "offset": 0.1},
    "GlobalAveragePooling2D": lambda d, s, f: {"keepdims": d.random() < 0.5},
    "GlobalMaxPooling2D": lambda d, s, f: {"keepdims": d.random() < 0.5},
    **dict.fromkeys(MERGES, lambda d, s, f: {}),
    "Concatenate": lambda d, s, f: {"axis": d.choice([-1, 1, len(s) - 1])},
}
REST: list[str] = []  # layers that have no arguments above
OF_IMAGES = [name for name in ARGUMENTS if "2D" in name]


def _add_the_rest() -> None:
    """Draw the layers that have no arguments above from the rows of their tables."""
    rows: dict[str, list[Arguments]] = {}
    for case in every_case():
        one_image = isinstance(case.shape, tuple) and len(case.shape) == 4
        if (
            case.in_keras
            and case.agrees
            and one_image
            and case.name not in (*ARGUMENTS, *NOT_DRAWN)
        ):
            rows.setdefault(case.name, []).append(case.arguments)
    for name, found in sorted(rows.items()):
        ARGUMENTS[name] = lambda d, s, f, found=found: {**d.choice(found)}
        REST.append(name)


NOT_DRAWN = (
    *("InputLayer", "Normalization"),  # whose arguments are of one number of channels
    *("SpectralNormalization", "TimeDistributed"),  # whose argument is a layer
    *{case.name for case in every_case() if not case.trains},
)
_add_the_rest()


def _draw_single(draw: random.Random) -> str:
    """Draw a layer; few from the rest, however many there are, since real networks have few."""
    return draw.choice(REST if draw.random() < 0.15 else SINGLE)


class Graph:
    """A graph that grows by one layer at a time.

    Args:
        draw: What decides.
        name: The model's.
        shape: That of the input, batch included.
        policies: Whether some layers compute in another type.
    """

    def __init__(self, draw: random.Random, name: str, shape: Shape, policies: bool = False):
        self.draw, self.name, self.policies = draw, name, policies
        self.format = draw.choice([*["channels_last"] * 3, "channels_first"])
        self.entries = [input_layer(f"{name}_in", shape)]
        self.shapes: dict[tuple[str, int, int], Shape] = {(f"{name}_in", 0, 0): shape}
        self.read: set[tuple[str, int, int]] = set()
        self.taken: dict[str, Any] = {}  # what each layer that may be called again was called on

    def grow(self) -> None:
        kind, before = self.draw.random(), self.some()
        if kind < 0.4:
            for class_name in self.draw.choice(CHAINS):
                before = self.add(class_name, before) or before
        elif kind < 0.5:
            self.fork(before)
        elif kind < 0.6:
            self.add(_draw_single(self.draw), before)
        elif kind < 0.85:
            self.merge(before)
        elif kind < 0.93:
            self.again()
        elif "inner" not in self.name:
            self.nest(before)

    def fork(self, before: Any) -> None:
        """Let one layer keep what another may overwrite."""
        base = self.add(self.draw.choice(["Conv2D", "BatchNormalization", "Rescaling"]), before)
        keeping = self.draw.choice(["Conv2D", "Dropout", "ZeroPadding2D", "AveragePooling2D"])
        both = [keeping, self.draw.choice(["ReLU", "Activation"])]
        for class_name in self.draw.sample(both, 2):
            self.add(class_name, base or before)

    def some(self) -> tuple[str, int, int]:
        """Return a tensor: mostly one of the last."""
        known = list(self.shapes)
        return self.draw.choice(known[-3:] if self.draw.random() < 0.7 else known)

    def merge(self, before: Any) -> None:
        class_name = self.draw.choice([*MERGES, *["Concatenate"] * 3])
        fitting = [t for t, shape in self.shapes.items() if shape == self.shapes[before]]
        others = [self.draw.choice(fitting[-4:]) for _ in range(self.draw.choice([1, 1, 1, 2]))]
        if class_name == "Subtract":
            others = others[:1]
        self.add(class_name, [before, *others] if self.draw.random() < 0.5 else [*others, before])

    def add(self, class_name: str, before: Any) -> Any:
        """Add a layer, and return its output; None where it cannot take such an input."""
        several = isinstance(before, list)
        shape = self.shapes[before[0] if several else before]
        if class_name in OF_IMAGES and len(shape) != 4:
            return None
        name = f"{self.name}_{class_name.lower()}{len(self.entries)}"
        form = self.format
        config = ARGUMENTS[class_name](self.draw, shape, form)
        if class_name in OF_IMAGES:
            config["data_format"] = form
        if "zeropadding" in before[0] and config.get("padding") == "same":
            config["padding"] = self.draw.choice(["valid", "same"])
        if self.policies and self.draw.random() < 0.4:
            config["dtype"] = self.draw.choice(POLICIES)
        if class_name in ("Conv2D", "Dense", "BatchNormalization") and self.draw.random() < 0.1:
            config["trainable"] = False
        shapes = [self.shapes[one] for one in before] if several else shape
        found = _output_shape(class_name, config, shapes)
        if found is None:
            return None
        self.entries.append({**layer(class_name, name, [], **config), "module": "keras.layers"})
        self.taken[name] = before
        return self.called(self.entries[-1], before, [found])

    def called(self, entry: Config, before: Any, found: list[Shape]) -> tuple[str, int, int]:
        several = isinstance(before, list)
        sources = before if several else [before]
        nodes, name = entry["inbound_nodes"], entry["name"]
        tensors = [tensor(*one) for one in sources]
        nodes.append(node(tensors if several else tensors[0]))
        self.read.update(sources)
        for index, shape in enumerate(found):
            self.shapes[(name, len(nodes) - 1, index)] = shape
        return (name, len(nodes) - 1, 0)

    def again(self) -> None:
        """Call a layer once more, on another tensor of the shape that it was called on."""
        names = [n for n, before in self.taken.items() if not isinstance(before, list)]
        if not names:
            return
        name = self.draw.choice(names)
        shape = self.shapes[self.taken[name]]
        entry = next(e for e in self.entries if e.get("name") == name)
        fitting = [t for t, found in self.shapes.items() if found == shape]
        found = [s for t, s in self.shapes.items() if t[:2] == (name, 0)]
        self.called(entry, self.draw.choice(fitting), found)

    def nest(self, before: Any) -> None:
        inner = Graph(self.draw, f"{self.name}_inner{len(self.entries)}", self.shapes[before])
        for _ in range(3):
            inner.grow()
        config, found = inner.config()
        self.entries.append(inside(config, []))
        self.taken[inner.name] = before
        self.called(self.entries[-1], before, found)

    def config(self) -> tuple[Config, list[Shape]]:
        """Return the model's config, and the shapes of its outputs."""
        ends = [t for t in self.shapes if t not in self.read] or [list(self.shapes)[-1]]
        more = [t for t in self.shapes if t in self.read and self.draw.random() < 0.1]
        outputs = list(dict.fromkeys([*ends, *more]))
        self.draw.shuffle(outputs)
        entry = [f"{self.name}_in", 0, 0]
        nested = {e["name"] for e in self.entries if e["class_name"] == "Functional"}
        ways = [[name, call + (name in nested), index] for name, call, index in outputs]
        built = functional(*self.entries, inputs=entry, outputs=ways, name=self.name)
        return built, [self.shapes[one] for one in outputs]


def _output_shape(class_name: str, config: Arguments, shapes: Any) -> Shape | None:
    try:
        found = getattr(layers, class_name)(**config).compute_output_shape(shapes)
    except (ValueError, IndexError):
        return None
    total = 1
    for size in found[1:]:
        if size is None:
            return None
        total *= size
    return tuple(found) if 0 < total <= MOST else None


def random_functional(seed: int, policies: bool = False) -> Config:
    """Return the config of a graph of some ten layers on images."""
    draw = random.Random(seed)
    graph = Graph(draw, "model", IMAGE, policies)
    for _ in range(draw.randint(5, 9)):
        graph.grow()
    return graph.config()[0]


def random_sequential(seed: int) -> Config:
    """Return the config of a chain of layers on images."""
    draw = random.Random(seed)
    graph = Graph(draw, "model", IMAGE)
    before: Any = ("model_in", 0, 0)
    for _ in range(draw.randint(2, 4)):
        for class_name in draw.choice([*CHAINS, [_draw_single(draw)]]):
            before = graph.add(class_name, before) or before
    plain = [{k: v for k, v in e.items() if k != "inbound_nodes"} for e in graph.entries]
    return sequential(*plain)
