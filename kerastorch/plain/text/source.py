"""From a graph of plain PyTorch to the text of its classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from ..blocks.families import DEFAULTS, BlockCall, Family, find_progression, is_option
from .constructors import list_constructor_arguments
from .names import format_literal, make_class_name
from .statements import Statements
from .syntax import INDENT, add_comment, break_call
from .vocabulary import HELPERS, Vocabulary


def list_classes(module: fx.GraphModule) -> list[fx.GraphModule]:
    """Return the graph modules in a module, each once, those inside first, itself last."""
    found: dict[fx.GraphModule, None] = {}
    for node in module.graph.nodes:
        if node.op == "call_module":
            called = module.get_submodule(node.target)
            for inner in called if isinstance(called, nn.Sequential) else [called]:
                if isinstance(inner, fx.GraphModule):
                    found.update(dict.fromkeys(list_classes(inner)))
    return [*found, module]


class Printer(Vocabulary):
    """Prints the classes of a model."""

    def __init__(
        self,
        module: fx.GraphModule,
        wanted: Mapping[fx.GraphModule, str],
        imports: Mapping[str, str],
    ) -> None:
        super().__init__(imports)
        self.class_names: dict[Any, str] = {}  # of graph modules, and of families of blocks
        classes: dict[Any, fx.GraphModule] = {}
        for one in list_classes(module):
            classes.setdefault(_get_family(one) or one, one)
        self.classes = list(classes.values())
        for key, one in reversed(classes.items()):
            taken = {*self.class_names.values(), *HELPERS, *imports}
            name = key.name if isinstance(key, Family) else wanted.get(one, "Model")
            self.class_names[key] = make_class_name(name, taken)

    def print_class(self, module: fx.GraphModule, doc: Sequence[str] = ()) -> str:
        """Return the text of one class."""
        family = _get_family(module)
        lines = [f"class {self.class_names[family or module]}(nn.Module):"]
        parameters = ["self"]
        if family is not None:
            doc = family.doc
            parameters += [_declare(name) for name in family.parameters]
        lines += [f"{INDENT}{line}".rstrip() for line in doc]
        if doc:
            lines.append("")
        body = list(self.print_constructor(module))
        if body:
            lines.append(f"{INDENT}def __init__({', '.join(parameters)}):")
            lines.append(f"{2 * INDENT}super().__init__()")
            lines += [f"{2 * INDENT}{line}" for line in body]
            lines.append("")
        lines += [f"{INDENT}{line}" for line in self.print_forward(module)]
        return "\n".join(lines)

    def print_constructor(self, module: fx.GraphModule) -> Iterator[str]:
        """Yield the lines that make the modules and buffers of a class, in order of their use."""
        seen: set[str] = set()
        for node in module.graph.nodes:
            if node.op not in ("call_module", "get_attr") or node.target in seen:
                continue
            seen.add(node.target)
            if node.op == "get_attr" and "." in node.target:  # a parameter of a module
                owner = node.target.split(".")[0]
                if owner not in seen:
                    seen.add(owner)
                    yield from self.print_module(owner, module.get_submodule(owner), {})
                continue
            family = _get_family(module)
            expressions = {} if family is None else family.get_expressions(node.target)
            if node.op == "get_attr":
                tensor = getattr(module, node.target)
                yield from self.print_tensor(node.target, tensor, expressions)
                continue
            called = module.get_submodule(node.target)
            lines = self.print_module(node.target, called, expressions)
            comment = self.take_comment(node.meta.get("module_comment"))
            yield from add_comment(lines, comment, 8)

    def print_tensor(
        self, target: str, tensor: torch.Tensor, expressions: Mapping[str, str]
    ) -> Iterator[str]:
        """Yield the lines that make a parameter or a buffer."""
        self.uses.add("torch")
        # Floating-point tensors get the dtype that the whole module is converted to.
        dtype = "" if tensor.is_floating_point() else f", dtype={tensor.dtype}"
        sizes = [expressions.get(f"shape{axis}", str(n)) for axis, n in enumerate(tensor.shape)]
        made = f"torch.zeros({', '.join(sizes) or '()'}{dtype})"
        if isinstance(tensor, nn.Parameter):
            frozen = [] if tensor.requires_grad else ["requires_grad=False"]
            yield from break_call(f"self.{target} = nn.Parameter", [made, *frozen], 8)
        else:
            yield from break_call("self.register_buffer", [format_literal(target), made], 8)

    def print_module(
        self, target: str, module: nn.Module, expressions: Mapping[str, str]
    ) -> Iterator[str]:
        """Yield the lines that make one module; `expressions` are for some of its arguments."""
        if isinstance(module, fx.GraphModule):
            yield f"self.{target} = {self.print_block(module)}"
            return
        if isinstance(module, nn.Sequential):
            blocks: Any = list(module)
            texts = self.print_blocks(blocks)
            if len(texts) == 1:
                yield from break_call(f"self.{target} = nn.Sequential", texts, 8)
            else:
                yield from (
                    f"self.{target} = nn.Sequential(",
                    *(f"{INDENT}{one}," for one in texts),
                    ")",
                )
            return
        required, options = list_constructor_arguments(module, expressions)
        first = next(iter(inspect.signature(type(module)).parameters), "")
        if first in options:  # as in nn.Dropout(0.5)
            required = {first: options.pop(first)}
        shown = {
            name: expressions.get(name, self.format_argument(value))
            for name, value in (required | options).items()
        }
        arguments = [text if name in required else f"{name}={text}" for name, text in shown.items()]
        yield from break_call(f"self.{target} = {self.name_class(type(module))}", arguments, 8)
        frozen = [name for name, one in module.named_parameters() if not one.requires_grad]
        total = len(list(module.parameters()))
        if frozen and len(frozen) == total:
            yield f"self.{target}.requires_grad_(False)"
        for name in frozen if len(frozen) < total else ():
            line = f"self.{target}.{name}.requires_grad_(False)"
            why = "Keras has one bias" if name.startswith("bias_hh") else None
            yield from add_comment(iter([line]), self.take_comment(why), 8)

    def format_argument(self, value: Any) -> str:
        """Return the text of a constructor's argument: a literal, a function or a module."""
        if isinstance(value, nn.Module):
            required, options = list_constructor_arguments(value)
            parts = [self.format_argument(one) for one in required.values()]
            parts += [f"{name}={self.format_argument(one)}" for name, one in options.items()]
            return f"{self.name_class(type(value))}({', '.join(parts)})"
        return self.name_function(value) if callable(value) else format_literal(value)

    def print_block(self, module: fx.GraphModule, arguments: Sequence[str] | None = None) -> str:
        """Return the text that makes a block, or a nested model, which has no arguments."""
        call: BlockCall | None = module.meta.get("block")
        if call is None:
            return f"{self.class_names[module]}()"
        shown = (
            [format_literal(value) for value in call.arguments] if arguments is None else arguments
        )
        parts = [
            text if not is_option(name) else f"{name}={text}"
            for name, text in zip(call.family.parameters, shown, strict=True)
            if text != format_literal(DEFAULTS.get(name))
        ]
        return f"{self.class_names[call.family]}({', '.join(parts)})"

    def print_blocks(self, blocks: Sequence[fx.GraphModule]) -> list[str]:
        """Return the texts that make the blocks of a stage; three or more in a row as a loop."""
        texts: list[str] = []
        position = 0
        while position < len(blocks):
            calls = [one.meta["block"] for one in blocks[position:]]
            count, arguments = find_progression(calls)
            if count < 3:
                texts.append(self.print_block(blocks[position]))
                position += 1
                continue
            name = "_" if all("i" not in text for text in arguments) else "i"
            made = self.print_block(blocks[position], arguments)
            texts.append(f"*({made} for {name} in range({count}))")
            position += count
        return texts

    def print_forward(self, module: fx.GraphModule) -> list[str]:
        """Return the lines of `forward`."""
        return Statements(self, module).print()


def _get_family(module: fx.GraphModule) -> Family | None:
    call: BlockCall | None = module.meta.get("block")
    return None if call is None else call.family


def _declare(name: str) -> str:
    return f"{name}={format_literal(DEFAULTS[name])}" if name in DEFAULTS else name
