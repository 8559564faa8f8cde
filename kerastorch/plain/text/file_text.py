"""The text of a whole file: docstring, imports, printed helpers and classes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import PurePath

import torch
from torch import nn

from ..._core.version import VERSION
from ...models.base import Model
from ..lowered import Lowered, find_dtype
from .left_out import describe_left_out
from .names import clean_text
from .source import Printer
from .syntax import WIDTH

_INDENT = "    "


def print_file(
    model: Model,
    lowered: Lowered,
    imports: Mapping[str, str],
    *,
    weights_file: str | None = None,
    inference: bool = False,
) -> tuple[str, str]:
    """Return the text of a file, and the name of the model's class in it.

    `imports` are the lines that import the classes of modules of your own, by the class's name.
    """
    printer = Printer(lowered.module, lowered.class_names, imports)
    classes = [printer.print_class(one) for one in printer.classes]
    name = printer.class_names[lowered.module]
    helpers = printer.print_helpers()
    body = "\n\n\n".join([*helpers, *classes])
    dtype = find_dtype(model)
    lines = [*_describe(model, lowered, inference), *_describe_loading(name, weights_file, dtype)]
    docstring = "\n".join(['"""' + lines[0], *lines[1:], '"""'])
    return f"{docstring}\n\n{_print_imports(printer, helpers)}\n\n\n{body}\n", name


def _print_imports(printer: Printer, helpers: list[str]) -> str:
    """Return the imports that the text needs, as ruff sorts them."""
    text = "\n".join(helpers)

    def is_used(name: str) -> bool:
        return name in printer.uses or f"{name}." in text

    lines = ["import math", ""] if is_used("math") else []
    lines += ["import torch"] if is_used("torch") else []
    lines += ["from torch import nn"]
    lines += ["from torch.nn import functional as F"] if is_used("F") else []
    own = sorted(printer.own_imports)
    return "\n".join([*lines, "", *own] if own else lines)


def _describe(model: Model, lowered: Lowered, inference: bool) -> list[str]:
    """Return the lines that say what the model is."""
    origin = clean_text(PurePath(model.spec.source).name)
    purpose = " for inference" if inference else ""
    first = f"{clean_text(model.name, 40)}{purpose}, written by kerastorch {VERSION} from {origin}."
    lines = [first[: WIDTH - 3], ""]
    for one in lowered.inputs:
        kind = str(one.dtype).removeprefix("torch.")
        lines.append(f"Input {one.name}: {_format_shape(one.written_shape)} {kind}")
    lines += [f"Output: {_format_shape(one.written_shape)}" for one in lowered.outputs]
    left_out = describe_left_out(model)
    if left_out and not inference:
        lines += ["", "Left out, since a training loop adds it:"]
        for sentence in left_out:
            lines += textwrap.wrap(
                f"- {sentence}", WIDTH - 4, subsequent_indent="  ", break_on_hyphens=False
            )
    norms = nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d
    if not inference and any(isinstance(one, norms) for one in lowered.module.modules()):
        lines += [
            "",
            "In training, the running variance is unbiased as in PyTorch: n / (n - 1) of Keras's.",
        ]
    return lines


def _describe_loading(class_name: str, weights_file: str | None, dtype: torch.dtype) -> list[str]:
    """Return the lines that show how to load the weights."""
    if weights_file is None:
        return []
    name = clean_text(weights_file)
    needed, load = "import torch", f'torch.load("{name}")'
    if name.endswith(".safetensors"):
        needed, load = "from safetensors.torch import load_file", f'load_file("{name}")'
        needed = needed if dtype is torch.float32 else f"import torch\n{_INDENT}{needed}"
    cast = "" if dtype is torch.float32 else f".to({dtype})"
    made = [f"model = {class_name}(){cast}", f"model.load_state_dict({load})", "model.eval()"]
    return ["", *(f"{_INDENT}{line}".rstrip() for line in [needed, "", *made])]


def _format_shape(shape: tuple[int | None, ...]) -> str:
    sizes = ["any" if n is None else str(n) for n in shape[1:]]
    return f"({', '.join(['batch', *sizes])})"
