"""`to_source` and `to_torch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..models.base import Model
from . import lowerings as lowerings
from .lowering import Lowered, lower_model
from .names import clean_text, make_class_name
from .proof import prove
from .source import Printer, load_class

_INDENT = "    "


@dataclass(frozen=True)
class Source:
    """A model as PyTorch code.

    Attributes:
        text: The text of a Python file, which imports torch and the standard library only.
        class_name: The name of the model's class in it; its constructor has no arguments.
        state: The state dict of the model, which `load_state_dict` accepts strictly.
    """

    text: str
    class_name: str
    state: Mapping[str, Tensor]

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def to_source(
    model: Model,
    *,
    layout: str = "channels_last",
    blocks: bool = True,
    class_name: str | None = None,
    weights_file: str | None = None,
) -> Source:
    """Return PyTorch code that computes what a loaded model computes, and proves it.

    Args:
        model: A model of `load_model`, or one built otherwise.
        layout: "channels_last" for images as Keras has them, "channels_first" as torch has them.
        blocks: Whether repeated layers become classes of their own.
        class_name: The name of the class; by default the model's, in CapWords.
        weights_file: The file of the state dict, which the docstring then shows how to load.

    Raises:
        ValueError: Layers have no plain form in PyTorch; the message lists all.
        RuntimeError: The code computes something else.
    """
    lowered = lower_model(model, channels_first=layout == "channels_first", blocks=blocks)
    lowered.class_names[lowered.module] = class_name or make_class_name(model.name, ())
    printer = Printer(lowered.module, lowered.class_names)
    classes = [printer.print_class(one) for one in printer.classes]
    own = printer.class_names[lowered.module]
    doc = _describe(model, lowered, own, weights_file)
    text = _join(printer, doc, classes)
    state = {name: tensor.detach() for name, tensor in lowered.module.state_dict().items()}
    source = Source(text, own, state)
    prove(model, lowered, text, own)
    return source


def to_torch(model: Model, **options: Any) -> nn.Module:
    """Return a module of plain PyTorch that computes what a loaded model computes.

    It is an instance of the class that `to_source` writes, with the weights.

    Args:
        model: As for `to_source`.
        **options: As for `to_source`.
    """
    source = to_source(model, **options)
    kind = load_class(source.text, source.class_name)
    module: nn.Module = kind()
    module.load_state_dict(source.state)
    first = next(iter(source.state.values()), torch.empty(0))
    return module.to(first.device).train(model.training)


def _describe(model: Model, lowered: Lowered, own: str, weights_file: str | None) -> list[str]:
    """Return the lines of the file's docstring."""
    origin = clean_text(model.spec.source)
    lines = [f"{clean_text(model.name)}, written by kerastorch from {origin}.", ""]
    for name, shape, dtype in lowered.inputs:
        sizes = ", ".join("batch" if n == 0 else "any" if size is None else str(size) for n, size in enumerate(shape))
        lines.append(f"Input {name}: ({sizes}) {str(dtype).removeprefix('torch.')}")
    for shape in lowered.outputs:
        sizes = ", ".join("batch" if n == 0 else "any" if size is None else str(size) for n, size in enumerate(shape))
        lines.append(f"Output: ({sizes})")
    lines += [f"Left out: {one}." for one in lowered.left_out]
    if weights_file:
        loader = "load_file" if weights_file.endswith(".safetensors") else "torch.load"
        lines += ["", f"{_INDENT}model = {own}()"]
        lines += [f'{_INDENT}model.load_state_dict({loader}("{clean_text(weights_file)}"))']
        lines += [f"{_INDENT}model.eval()"]
    return lines


def _join(printer: Printer, doc: list[str], classes: list[str]) -> str:
    helpers = printer.print_helpers()
    body = "\n\n\n".join([*helpers, *classes])
    imports = []
    if "math" in printer.uses or "math." in "".join(helpers):
        imports.append("import math\n")
    if "torch" in printer.uses or "torch." in "".join(helpers):
        imports.append("import torch")
    imports.append("from torch import nn")
    if "F" in printer.uses or "F." in "".join(helpers):
        imports.append("from torch.nn import functional as F")
    docstring = "\n".join(['"""' + doc[0], *doc[1:], '"""'])
    return "\n\n".join([docstring, "\n".join(imports) + "\n", body]) + "\n"
