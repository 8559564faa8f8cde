"""What the sources of the package say: their modules, imports and names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "kerastorch"


def read_sources() -> dict[str, str]:
    """Module name within the package -> source; a folder's `__init__` has the folder's name."""
    folder = ROOT / PACKAGE
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path.read_text("utf-8")
    return found


SOURCES = read_sources()
FOLDERS = sorted({module.rpartition(".")[0] for module in SOURCES} | {""})


def list_imports(tree: ast.AST) -> Iterator[tuple[str, str | None, int]]:
    """Yield (module, name, level) of every import, however deep, those for types included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name, node.level) for alias in node.names)


def list_inner_imports(module: str, source: str) -> Iterator[str]:
    """Yield the module of the package that every import from it names, for types or not."""
    here = module.split(".") if module else []
    if module not in FOLDERS:
        here = here[:-1]
    for origin, name, level in list_imports(ast.parse(source)):
        parts = origin.split(".") if origin else []
        if level:
            parts = [*here[: len(here) + 1 - level], *parts]
        elif parts[0] == PACKAGE:
            parts = parts[1:]
        else:
            continue
        submodule = ".".join([*parts, name or ""])
        yield submodule if submodule in SOURCES else ".".join(parts)


def list_outer_imports(source: str) -> set[str]:
    """Return the top names of all modules imported from elsewhere."""
    return {
        origin.split(".")[0]
        for origin, _, level in list_imports(ast.parse(source))
        if not level and not origin.startswith(PACKAGE)
    }


def drop_functions(source: str) -> str:
    """Return the source without what is inside of functions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def list_names(source: str) -> set[str]:
    """Return every attribute, variable and imported name in a source."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.name.split(".")[0] for alias in node.names}
            found.add((getattr(node, "module", "") or "").split(".")[0])
    return found
