"""The statements of `forward`: which operations share a line, and how values are called."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator
from typing import Any

from torch import fx, nn

from ..graph import iterate_values
from .names import format_literal
from .syntax import (
    ATOM,
    INDENT,
    OPERATORS,
    STARTING_FUNCTIONS,
    STARTS,
    WIDTH,
    add_comment,
    break_call,
)
from .vocabulary import Vocabulary

_FAR = 12  # lines after which a value that is read again is called a skip connection
_STARTING_METHODS = ("mean", "amax")  # what a line begins with
_MOST_INLINED = 4  # operations on one line


class Statements:
    """Prints the body of one class's `forward`."""

    def __init__(self, printer: Vocabulary, module: fx.GraphModule) -> None:
        self.printer, self.module = printer, module
        self.nodes = list(module.graph.nodes)
        self.names: dict[fx.Node, str] = {}
        # The parts of a tuple that is unpacked are where it is.
        counts = itertools.accumulate(not _is_part(node) for node in self.nodes)
        self.order = dict(zip(self.nodes, counts, strict=True))
        for node in filter(_is_part, self.nodes):
            self.order[node] = self.order[node.args[0]]
        self.lines: list[str] = []

    def print(self) -> list[str]:
        """Return the lines."""
        inputs = [node for node in self.nodes if node.op == "placeholder"]
        for node in inputs:
            self.names[node] = node.target
        arguments = ["self", *(node.target for node in inputs)]
        self.lines += break_call("def forward", arguments, 4)
        self.lines[-1] += ":"
        pending: fx.Node | None = None  # an expression that may become part of the next one
        text, binding, count = "", ATOM, 0
        for node in self.nodes:
            if node.op == "placeholder":
                continue
            if node.op == "get_attr":
                self.names[node] = f"self.{node.target}"
                continue
            if _is_part(node):
                continue
            joined = {}
            if pending is not None:
                if self.joins(pending, node, (text, binding), count):
                    joined = {pending: (text, binding)}
                else:
                    self.assign(pending, text)
                pending = None
            if node.op == "output":
                self.lines += self.print_return(node, joined)
                break
            count = count + 1 if joined else 1
            text, binding = self.print_expression(node, joined)
            if "unpacks" in node.meta:
                self.lines += self.break_line(f"{self.print_targets(node)} = {text}")
            else:
                pending = node
        return [self.lines[0], *(f"{INDENT}{line}" for line in self.lines[1:])]

    def joins(self, first: fx.Node, second: fx.Node, made: tuple[str, int], count: int) -> bool:
        """Return whether an expression of `count` operations is written inside the next one."""
        if not self.may_join(first, second):
            return False
        if second.op == "output":
            return len(f"return {made[0]}") + 8 <= WIDTH
        return count < _MOST_INLINED and self.is_short(
            self.print_expression(second, {first: made})[0]
        )

    def print_return(self, node: fx.Node, joined: Any) -> Iterator[str]:
        """Yield the lines that return the outputs."""
        value = node.args[0]
        if isinstance(value, (tuple, list)):
            parts = [self.print_argument(one, joined)[0] for one in value]
            line = f"return {', '.join(parts)}"
            if len(line) + 8 <= WIDTH:
                yield line
            else:
                yield from break_call("return ", parts, 8)
            return
        yield f"return {self.print_argument(value, joined)[0]}"

    def is_short(self, text: str) -> bool:
        """Return whether an expression fits on a line, with a name of usual length."""
        return len(text) + 8 + len("shortcut = ") <= WIDTH

    def may_join(self, first: fx.Node, second: fx.Node) -> bool:
        """Return whether an operation may be written inside the one that comes next."""
        if len(first.users) != 1 or second not in first.users:
            return False
        if list(_list_uses(second)).count(first) != 1 or {"comment", "name"} & first.meta.keys():
            return False
        if second.op == "output":
            return "comment" not in first.meta
        if second.op == "call_module":
            module = self.module.get_submodule(str(second.target))
            if isinstance(module, nn.Linear):
                return _is_view(first)
            if isinstance(module, nn.Embedding):
                return first.target == "long"
            return not isinstance(module, STARTS)
        if second.op == "call_function":
            return second.target not in STARTING_FUNCTIONS
        return second.target not in _STARTING_METHODS

    def assign(self, node: fx.Node, text: str) -> None:
        """Write an expression to a name."""
        name = self.choose_name(node)
        comment = node.meta.get("comment")
        line = f"{name} = {text}"
        self.names[node] = name
        self.lines += add_comment(self.break_line(line), self.printer.take_comment(comment), 8)

    def print_targets(self, node: fx.Node) -> str:
        """Return the names of the parts of a tuple, "_" for those that nothing reads."""
        parts: dict[Any, fx.Node] = {one.args[1]: one for one in node.users}
        found = []
        for number in range(node.meta["unpacks"]):
            part = parts.get(number)
            if part is None:
                found.append("_")
            elif "unpacks" in part.meta:
                comma = "," if part.meta["unpacks"] == 1 else ""
                found.append(f"({self.print_targets(part)}{comma})")
            else:
                self.names[part] = self.choose_name(part)
                found.append(self.names[part])
        return ", ".join(found)

    def break_line(self, line: str) -> Iterator[str]:
        """Yield a line, or those into which its outermost call is broken."""
        if len(line) + 8 <= WIDTH or not line.endswith(")"):
            yield line
            return
        head, arguments = _split_call(line)
        yield from break_call(head, arguments, 8)

    def choose_name(self, node: fx.Node) -> str:
        """Return a name that no value has which is still needed."""
        here = self.order[node]
        last = max((self.order[user] for user in node.users), default=here)
        readers = list(node.users)
        live = {
            name
            for one, name in self.names.items()
            if any(self.order[user] > here for user in one.users)
        }
        merges = {reader.target for reader in readers}
        if "name" in node.meta:
            wanted = [str(node.meta["name"])]
        elif last - here > 1 and merges <= {operator.add} and len(readers) == 1:
            wanted = ["shortcut"]
        elif last - here > 1 and len(readers) == 1:
            wanted = ["branch1"]
        elif last - here > _FAR and len(readers) > 1:
            wanted = ["skip1"]
        else:
            wanted = ["x", "y", "z", "x1"]
        for name in wanted:
            if name not in live:
                return name
        stem = wanted[-1].rstrip("0123456789")
        number = 2 if "name" in node.meta else 1
        while f"{stem}{number}" in live:
            number += 1
        return f"{stem}{number}"

    def print_expression(
        self, node: fx.Node, joined: dict[fx.Node, tuple[str, int]]
    ) -> tuple[str, int]:
        """Return the text of an operation, and how tightly it binds."""

        def show(value: Any, least: int = -9) -> str:
            text, binding = self.print_argument(value, joined)
            return f"({text})" if binding < least else text

        if node.op == "call_function" and node.target in OPERATORS and len(node.args) == 2:
            symbol, binding = OPERATORS[node.target]
            left, right = (show(one, binding + n) for n, one in enumerate(node.args))
            return f"{left} {symbol} {right}", binding
        if node.op == "call_function" and node.target is operator.getitem:
            return f"{show(node.args[0], ATOM)}[{_print_index(node.args[1], show)}]", ATOM
        if node.op == "call_function" and node.target is operator.neg:
            return f"-{show(node.args[0], 3)}", 3
        args = list(node.args)
        if node.op == "call_function":
            head = self.printer.name_function(node.target)  # type: ignore[arg-type]
        elif node.op == "call_method":
            head = f"{show(args.pop(0), ATOM)}.{node.target}"
        else:
            head = f"self.{node.target}"
        parts = [show(one) for one in args]
        parts += [f"{name}={show(value)}" for name, value in node.kwargs.items()]
        return f"{head}({', '.join(parts)})", ATOM

    def print_argument(self, value: Any, joined: dict[fx.Node, tuple[str, int]]) -> tuple[str, int]:
        """Return the text of an argument, and how tightly it binds."""
        if isinstance(value, fx.Node):
            return joined[value] if value in joined else (self.names[value], ATOM)
        if isinstance(value, (list, tuple)):
            parts = ", ".join(self.print_argument(one, joined)[0] for one in value)
            if isinstance(value, list):
                return f"[{parts}]", ATOM
            return (f"({parts},)" if len(value) == 1 else f"({parts})"), ATOM
        if isinstance(value, dict):
            pairs = (
                f"{format_literal(key)}: {self.print_argument(one, joined)[0]}"
                for key, one in value.items()
            )
            return f"{{{', '.join(pairs)}}}", ATOM
        if str(type(value)) == "<class 'torch.dtype'>":
            self.printer.uses.add("torch")
            return str(value), ATOM
        text = format_literal(value)
        if text.startswith(("math.", "-math.")):
            self.printer.uses.add("math")
        return text, 3 if text.startswith("-") else ATOM


def _list_uses(node: fx.Node) -> Iterator[fx.Node]:
    for value in iterate_values([node.args, dict(node.kwargs)]):
        if isinstance(value, fx.Node):
            yield value


def _is_part(node: fx.Node) -> bool:
    """Return whether a node is a part of a tuple that is unpacked where it is computed."""
    source = node.args[0] if node.target is operator.getitem else None
    return isinstance(source, fx.Node) and "unpacks" in source.meta


def _is_view(node: fx.Node) -> bool:
    return node.op == "call_method" and node.target in ("flatten", *_STARTING_METHODS)


def _print_index(index: Any, show: Callable[[Any], str]) -> str:
    if isinstance(index, slice):
        parts = ["" if one is None else show(one) for one in (index.start, index.stop)]
        return ":".join(parts) + ("" if index.step is None else f":{show(index.step)}")
    if isinstance(index, tuple):
        return ", ".join(_print_index(one, show) for one in index)
    return "..." if index is Ellipsis else show(index)


def _split_call(line: str) -> tuple[str, list[str]]:
    """Return the start of a line up to its outermost call, and that call's arguments."""
    depth, start = 0, 0
    for position in range(len(line) - 1, -1, -1):
        depth += (line[position] in ")]}") - (line[position] in "([{")
        if depth == 0:
            start = position
            break
    arguments, depth, begin = [], 0, start + 1
    for position in range(start + 1, len(line) - 1):
        depth += (line[position] in "([{") - (line[position] in ")]}")
        if line[position] == "," and depth == 0:
            arguments.append(line[begin:position].strip())
            begin = position + 1
    arguments.append(line[begin:-1].strip())
    return line[:start], arguments
