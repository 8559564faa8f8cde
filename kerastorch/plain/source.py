"""From a graph of plain PyTorch to the text of its classes."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from . import printed
from .blocks.families import DEFAULTS, BlockCall, Family, find_progression, is_option
from .constructors import list_constructor_arguments
from .names import format_literal, make_class_name

HELPERS: dict[str, Any] = {  # by name: the functions and classes of `plain.printed`
    name: one
    for module in filter(inspect.ismodule, vars(printed).values())
    for name, one in vars(module).items()
    if getattr(one, "__module__", "") == module.__name__
}
WIDTH = 100
_INDENT = "    "

# Operators by precedence: the symbol, and how tightly it binds.
_OPERATORS: dict[Any, tuple[str, int]] = {
    operator.add: ("+", 1),
    operator.sub: ("-", 1),
    operator.mul: ("*", 2),
    operator.truediv: ("/", 2),
    operator.floordiv: ("//", 2),
    operator.mod: ("%", 2),
    operator.matmul: ("@", 2),
    operator.pow: ("**", 4),
    operator.and_: ("&", 0),
    operator.or_: ("|", 0),
    operator.ne: ("!=", -1),
    operator.eq: ("==", -1),
    operator.lt: ("<", -1),
    operator.le: ("<=", -1),
    operator.gt: (">", -1),
    operator.ge: (">=", -1),
}
_ATOM = 9  # binds tighter than any operator

# What a line begins with: its input is a name, not the expression before it.
STARTS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.LSTM, nn.GRU, nn.RNN, nn.Embedding, nn.Sequential, fx.GraphModule),
)
STARTING_FUNCTIONS: frozenset[Any] = frozenset({
    F.pad, torch.cat, torch.stack, F.max_pool1d, F.max_pool2d, F.max_pool3d, F.avg_pool1d,
    F.avg_pool2d, F.avg_pool3d, F.interpolate, F.scaled_dot_product_attention,
})  # fmt: skip


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


class Printer:
    """Prints the classes of a model.

    Attributes:
        helpers: The functions and classes of `plain.printed` that the text uses.
        uses: The names that the text needs: "F", "torch", "math".
    """

    def __init__(self, module: fx.GraphModule, wanted: Mapping[fx.GraphModule, str]) -> None:
        self.helpers: dict[str, Any] = {}
        self.uses: set[str] = set()
        self.comments: set[str] = set()
        self.class_names: dict[Any, str] = {}  # of graph modules, and of families of blocks
        classes: dict[Any, fx.GraphModule] = {}
        for one in list_classes(module):
            classes.setdefault(_get_family(one) or one, one)
        self.classes = list(classes.values())
        for key, one in reversed(classes.items()):
            taken = {*self.class_names.values(), *HELPERS}
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
        lines += [f"{_INDENT}{line}".rstrip() for line in doc]
        if doc:
            lines.append("")
        body = list(self.print_constructor(module))
        if body:
            lines.append(f"{_INDENT}def __init__({', '.join(parameters)}):")
            lines.append(f"{2 * _INDENT}super().__init__()")
            lines += [f"{2 * _INDENT}{line}" for line in body]
            lines.append("")
        lines += [f"{_INDENT}{line}" for line in self.print_forward(module)]
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
        dtype = "" if tensor.dtype is torch.float32 else f", dtype={tensor.dtype}"
        sizes = [expressions.get(f"shape{axis}", str(n)) for axis, n in enumerate(tensor.shape)]
        made = f"torch.zeros({', '.join(sizes) or '()'}{dtype})"
        if isinstance(tensor, nn.Parameter):
            frozen = "" if tensor.requires_grad else ", requires_grad=False"
            yield f"self.{target} = nn.Parameter({made}{frozen})"
        else:
            yield f"self.register_buffer({format_literal(target)}, {made})"

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
                    *(f"{_INDENT}{one}," for one in texts),
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

    def name_class(self, kind: type) -> str:
        """Return how the text names a class of torch or `plain.printed`."""
        if getattr(nn, kind.__name__, None) is kind:
            return f"nn.{kind.__name__}"
        return self.name_helper(kind)

    def name_helper(self, helper: Any) -> str:
        """Return the name of a function or class that is printed into the text."""
        self.helpers[helper.__name__] = helper
        return str(helper.__name__)

    def name_function(self, function: Callable[..., Any]) -> str:
        """Return how the text names a function."""
        if (getattr(function, "__module__", None) or "").startswith(printed.__name__):
            return self.name_helper(function)
        for prefix, namespace in (("F", F), ("torch", torch), ("torch.linalg", torch.linalg)):
            # F.logsigmoid has another name of its own; that of F.threshold is private.
            own = sorted([function.__name__, *vars(namespace)], key=lambda one: one[0] == "_")
            name = next((one for one in own if getattr(namespace, one, None) is function), None)
            if name is not None:
                self.uses.add(prefix.split(".")[0])
                return f"{prefix}.{name}"
        raise TypeError(f"no name for {function!r}")

    def take_comment(self, comment: str | None) -> str | None:
        """Return a comment where it is printed for the first time."""
        if comment in self.comments:
            return None
        if comment is not None:
            self.comments.add(comment)
        return comment

    def print_forward(self, module: fx.GraphModule) -> list[str]:
        """Return the lines of `forward`."""
        from .statements import Statements

        return Statements(self, module).print()

    def print_helpers(self) -> list[str]:
        """Return the text of the functions and classes that the classes use."""
        found: dict[str, str] = {}  # name -> text, what a helper needs before it
        for name in self.helpers:
            _add_helper(name, found)
        return list(found.values())


def _add_helper(name: str, found: dict[str, str]) -> None:
    """Add the text of a helper, after those of the helpers that it names."""
    if name in found:
        return
    text = inspect.getsource(HELPERS[name]).rstrip()
    for other in HELPERS:
        if other != name and re.search(rf"(?<![.\w]){other}[(),]", text):
            _add_helper(other, found)
    found[name] = text


def _get_family(module: fx.GraphModule) -> Family | None:
    call: BlockCall | None = module.meta.get("block")
    return None if call is None else call.family


def _declare(name: str) -> str:
    return f"{name}={format_literal(DEFAULTS[name])}" if name in DEFAULTS else name


def add_comment(lines: Iterator[str], comment: str | None, indent: int) -> Iterator[str]:
    """Yield lines with a comment at the end of the only one, or above them."""
    found = list(lines)
    if comment is not None:
        end = f"  # {comment}"
        if len(found) == 1 and len(found[0]) + len(end) + indent <= WIDTH:
            found[0] += end
        else:
            yield f"# {comment}"
    yield from found


def break_call(head: str, arguments: Sequence[str], indent: int) -> Iterator[str]:
    """Yield the lines of `head(arguments)` as ruff breaks them, `indent` columns being taken."""
    line = f"{head}({', '.join(arguments)})"
    if len(line) + indent <= WIDTH:
        yield line
        return
    inner = ", ".join(arguments)
    if len(inner) + indent + 4 <= WIDTH:
        yield from (f"{head}(", f"{_INDENT}{inner}", ")")
        return
    yield f"{head}("
    yield from (f"{_INDENT}{one}," for one in arguments)
    yield ")"
