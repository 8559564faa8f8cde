"""Which folder may import which: from rows above its own, and nowhere in a circle."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import pytest

from tests.architecture.sources import FOLDERS, PACKAGE, SOURCES, list_inner_imports

# Folders and files at the top; each imports from earlier rows only. What is not listed belongs to
# the folder above it; a family of layers (`layers.pooling`) is a folder by itself.
ROWS = (
    ("_core", "graph"),
    ("config",),
    ("dtype_policies",),
    ("activations", "constraints", "initializers", "regularizers"),
    ("_ops", "saving.formats"),
    ("layers.base", "operations"),
    ("layers.*",),
    ("layers",),
    ("saving.configs", "training"),
    ("models", "saving.torch_layers"),
    ("plain",),
    ("saving.report", "saving.weights"),
    ("saving.matching",),
    ("saving",),
    ("_comparison",),
    ("_cli",),
    ("__main__",),
    ("",),
)
ROW = {unit: number for number, row in enumerate(ROWS) for unit in row}


def find_unit(module: str) -> str:
    """Return the longest entry of ROWS that a module belongs to."""
    if module in ROW:
        return module
    parts = module.split(".")
    for size in range(len(parts), 0, -1):
        unit = ".".join(parts[:size])
        if unit in ROW and unit != "layers":
            return unit
    return ".".join(parts[:2]) if parts[0] == "layers" else ""


def find_row(unit: str) -> int:
    return ROW.get(unit, ROW["layers.*"] if unit.startswith("layers.") else len(ROWS))


def find_wrong_imports(module: str, source: str) -> list[str]:
    unit = find_unit(module)
    return [
        f"{module} <- {target or PACKAGE}"
        for target in list_inner_imports(module, source)
        if find_unit(target) != unit and find_row(find_unit(target)) >= find_row(unit)
    ]


def find_circle(imports: Mapping[str, set[str]]) -> list[str]:
    """Return modules each of which imports the next, the last of them the first; else nothing."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        for target in sorted(imports.get(module, ())):
            if found := visit(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(imports) if (found := visit(module, []))), [])


def find_code_in_init(source: str) -> list[str]:
    """Return what an `__init__` does besides exporting what it imports."""

    def allowed(node: ast.stmt) -> bool:
        if isinstance(node, ast.ImportFrom):
            exported = node.level > 0 and all(
                alias.asname or alias.name == "*" for alias in node.names
            )
            return exported or ast.unparse(node) == "from typing import TYPE_CHECKING"
        if isinstance(node, ast.Assign):
            return ast.unparse(node.targets[0]) == "__all__"
        if isinstance(node, ast.If):
            return ast.unparse(node.test) == "TYPE_CHECKING" and all(map(allowed, node.body))
        if isinstance(node, ast.FunctionDef):
            return node.name in ("__getattr__", "__dir__")
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

    return [ast.unparse(node) for node in ast.parse(source).body if not allowed(node)]


def test_every_row_exists():
    for unit in ROW.keys() - {"layers.*"}:
        assert unit in SOURCES or unit in FOLDERS, unit


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_only_from_rows_above_its_folder(module):
    assert find_unit(module) or not module
    assert not find_wrong_imports(module, SOURCES[module])


def test_no_import_is_part_of_a_circle():
    imports = {module: set(list_inner_imports(module, SOURCES[module])) for module in SOURCES}
    assert sum(map(len, imports.values())) > len(SOURCES)
    assert not find_circle(imports)


@pytest.mark.parametrize("folder", FOLDERS)
def test_init_files_only_export(folder):
    assert not find_code_in_init(SOURCES[folder])


@pytest.mark.parametrize(
    "module, source, wrong",
    [
        ("_core.layout", "from ..activations import relu", ["_core.layout <- activations"]),
        ("_core.layout", "from .. import activations", ["_core.layout <- activations"]),
        ("_core.layout", "from ..config import floatx", ["_core.layout <- config"]),
        ("_core.layout", "import kerastorch.training", ["_core.layout <- training"]),
        ("_core.layout", "from kerastorch import training", ["_core.layout <- training"]),
        (
            "_core.layout",
            "def f():\n  if 1:\n    from ..config import x",
            ["_core.layout <- config"],
        ),
        (
            "_core.layout",
            "try:\n  from ..config import x\nexcept E: pass",
            ["_core.layout <- config"],
        ),
        ("_core.layout", "from .errors import problem\nimport torch", []),
        ("graph.spec", "from .._core.errors import x", ["graph.spec <- _core.errors"]),
        (
            "layers.base.layer",
            "if TYPE_CHECKING:\n  from ..convolution.conv import x",
            ["layers.base.layer <- layers.convolution.conv"],
        ),
        (
            "layers.pooling.pooling",
            "from ..convolution.conv import x",
            ["layers.pooling.pooling <- layers.convolution.conv"],
        ),
        ("layers.pooling.pooling", "from ..base.spatial import x\nfrom . import y", []),
        ("layers.base.layer", "from ...training import x", ["layers.base.layer <- training"]),
        ("layers", "from .pooling.pooling import x", []),
        ("models.base", "from ..saving.weights import x", ["models.base <- saving.weights"]),
        ("saving.matching.copy", "from ..report import LoadEntry", []),
        ("training", "from . import x", ["training <- kerastorch"]),
        ("training", "from ._unknown import x", ["training <- _unknown"]),
        ("training", "from .layers import Conv2D\nfrom . import config", []),
    ],
)
def test_the_row_check_tells(module, source, wrong):
    assert find_wrong_imports(module, source) == wrong


def test_the_circle_check_tells():
    assert find_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert find_circle({"a": {"a"}}) == ["a"]
    assert not find_circle({"a": {"b", "c"}, "b": {"c"}, "c": set()})


@pytest.mark.parametrize(
    "source, count",
    [
        ('"""Doc."""\nfrom .a import b as b\n__all__ = ["b"]', 0),
        ("from .a import *", 0),
        ("from .a import b", 1),
        ("from a import b as b", 1),
        ("import torch", 1),
        ("x = 1", 1),
        ("def f(): pass", 1),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .a import b as b", 0),
        ("if TYPE_CHECKING:\n    import torch", 1),
        ("def __getattr__(name): pass", 0),
        ("print()", 1),
    ],
)
def test_the_init_check_tells(source, count):
    assert len(find_code_in_init(source)) == count
