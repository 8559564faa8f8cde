"""The house: who may import whom, and what belongs to one place only."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "kerastorch"

# Module -> (row, place in the row). A module imports only from smaller pairs.
HOUSE = {
    "_check": (0, 0),
    "_constructor": (0, 0),
    "_streams": (0, 0),
    "_version": (0, 0),
    "_geometry": (0, 1),
    "_dialect": (0, 1),
    "config": (0, 1),
    "_array": (1, 0),
    "_dtype": (1, 0),
    "_integers": (1, 0),
    "_layout": (1, 0),
    "_functional": (1, 0),
    "_fused_optimizers": (1, 0),
    "_random": (1, 0),
    "_resampling": (1, 0),
    "_scripting": (1, 0),
    "_sharding": (1, 0),
    "_any_size": (1, 1),
    "_batch_statistics": (1, 1),
    "_cpu_convolutions": (1, 1),
    "_squares": (1, 1),
    "_registry": (1, 1),
    "activations": (2, 0),
    "_initializer": (2, 0),
    "_constant_initializers": (2, 1),
    "_random_initializers": (2, 1),
    "initializers": (2, 2),
    "regularizers": (2, 0),
    "constraints": (2, 0),
    "_pointwise": (2, 1),
    "_projection": (2, 1),
    "layers._building": (3, 0),
    "layers._config": (3, 0),
    "layers._layer": (3, 1),
    "layers._lora": (3, 2),
    "layers._kernel": (3, 3),
    "layers._weightless": (3, 2),
    "layers._conv_arguments": (4, 0),
    "layers._base_conv": (4, 1),
    "layers._exchange": (4, 2),
    "layers._conv": (4, 3),
    "layers._dense": (4, 0),
    "layers._reshaping": (4, 0),
    "layers._activation": (4, 0),
    "layers._prelu": (4, 0),
    "layers._dropout": (4, 0),
    "layers._scaling": (4, 0),
    "layers._input": (4, 0),
    "layers._spatial": (3, 3),
    "layers._pooling": (4, 2),
    "layers._padding": (4, 2),
    "layers._upsampling": (4, 2),
    "layers._merging": (4, 2),
    "layers._normalization": (4, 2),
    "training": (5, 0),
    "saving._window": (5, 0),
    "saving._object_header": (5, 1),
    "saving._contents": (5, 1),
    "saving._attributes": (5, 2),
    "saving._foreign": (5, 2),
    "saving._json": (5, 2),
    "saving._zip": (5, 2),
    "saving._npy": (5, 2),
    "saving._grouped": (5, 2),
    "saving._pickle": (5, 3),
    "saving._live": (5, 3),
    "saving._arrays": (5, 4),
    "saving._dataset": (5, 3),
    "saving._hdf5": (5, 4),
    "saving._tree": (5, 4),
    "saving._legacy": (5, 4),
    "saving._variables": (5, 5),
    "saving._shards": (5, 4),
    "saving._store": (5, 6),
    "saving._spec": (5, 1),
    "saving._sharing": (5, 1),
    "saving._keras1": (5, 1),
    "saving._arithmetic": (5, 0),
    "saving._axes": (5, 1),
    "saving._ops": (5, 2),
    "saving._nodes": (5, 2),
    "saving._order": (5, 2),
    "saving._shapes": (5, 2),
    "saving._inputs": (5, 2),
    "saving._held": (5, 0),
    "saving._layer_errors": (5, 0),
    "saving._originals": (5, 0),
    "saving._inside": (5, 1),
    "saving._plan": (5, 2),
    "saving._summary": (5, 2),
    "saving._tf_ops": (5, 3),
    "saving._numbers": (5, 3),
    "saving._entry": (5, 3),
    "saving._config": (5, 4),
    "saving._operation": (5, 4),
    "saving._base_model": (5, 3),
    "saving._model": (5, 4),
    "saving._modes": (5, 5),
    "saving._graph": (5, 6),
    "saving._unbuilt": (5, 6),
    "saving._report": (5, 2),
    "saving._targets": (5, 2),
    "saving._leaves": (5, 3),
    "saving._layer_differences": (5, 3),
    "saving._disagree": (5, 4),
    "saving._weight_names": (5, 2),
    "saving._flattened": (5, 2),
    "saving._alone": (5, 4),
    "saving._saved": (5, 5),
    "saving._conversions": (5, 6),
    "saving._other_orders": (5, 6),
    "saving._name_pairs": (5, 6),
    "saving._own_modules": (5, 6),
    "saving._pairs": (5, 7),
    "saving._mapping": (5, 8),
    "saving._match": (5, 9),
    "saving._staging": (5, 9),
    "saving._skeleton": (5, 10),
    "saving._load": (5, 10),
    "saving._misplaced": (5, 5),
    "saving._write": (5, 10),
    "saving._load_model": (5, 11),
    "_comparing._difference": (6, 0),
    "_comparing._operation": (6, 0),
    "_comparing._recording": (6, 0),
    "_comparing._attempts": (6, 1),
    "_comparing._running": (6, 1),
    "_comparing._causes": (6, 2),
    "_comparing._result": (6, 3),
    "_comparing._side_by_side": (6, 4),
    "_convert": (7, 0),
    "_inspect": (7, 0),
    "cli": (7, 1),
    "__main__": (7, 2),
}
PACKAGES = ("", "_comparing", "layers", "saving")
INITS = [f"{package}.__init__".lstrip(".") for package in PACKAGES]

FOREIGN = {"keras", "tf_keras", "tensorflow", "h5py"}
IMPORTED_IN = {"saving._hdf5": {"h5py"}}  # inside of functions
DYNAMIC = {"importlib", "__import__"}
SLOW = {*FOREIGN, "torch._dynamo", "torch._inductor", "safetensors", "scipy"}

MOVES = {
    "permute", "movedim", "moveaxis", "transpose", "swapaxes", "swapdims", "rollaxis", "t",
    "T", "mT", "H", "mH", "einsum", "einops",
}  # fmt: skip
MOVED_IN = {  # outside of _layout: matrices, and softmax over several axes
    "activations": {"movedim"},
    "_random_initializers": {"T"},
    "regularizers": {"T"},
}

TOP_LEVEL = {
    "pyproject.toml", "README.md", "LICENSE", "kerastorch", "tests", "compat", ".ci", ".gitignore",
    ".git",
}  # fmt: skip


# What a source says


def sources() -> dict[str, str]:
    """Module name within the package -> source."""
    folder = ROOT / PACKAGE
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.py"))
    }


def imports(tree: ast.AST) -> Iterator[tuple[str, str | None, int]]:
    """Yield (module, name, level) of every import, however deep, those for types included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name, node.level) for alias in node.names)


def inner_imports(module: str, source: str) -> Iterator[str]:
    """Yield the module of the package that every import from it names, for types or not."""
    for origin, name, level in imports(ast.parse(source)):
        parts = origin.split(".") if origin else []
        if level:
            parts = [*module.split(".")[: module.count(".") + 1 - level], *parts]
        elif parts[0] == PACKAGE:
            parts = parts[1:]
        else:
            continue
        target = ".".join(parts)
        submodule = ".".join([*parts, name or ""])
        yield submodule if submodule in HOUSE or submodule in PACKAGES else target


def outer_imports(source: str) -> set[str]:
    """Return the top names of all modules imported from elsewhere."""
    return {
        origin.split(".")[0]
        for origin, _, level in imports(ast.parse(source))
        if not level and not origin.startswith(PACKAGE)
    }


def at_the_top(source: str) -> str:
    """Return the source without what is inside of functions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def names(source: str) -> set[str]:
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


# The checks: each returns what is wrong


def missing_places(modules: set[str]) -> set[str]:
    return modules ^ {*HOUSE, *INITS}


def wrong_imports(module: str, source: str) -> list[str]:
    return [
        f"{module} <- {target or PACKAGE}"
        for target in inner_imports(module, source)
        if HOUSE.get(target, (9, 9)) >= HOUSE[module]
    ]


def wrong_in_init(source: str) -> list[str]:
    def allowed(node: ast.stmt) -> bool:
        if isinstance(node, ast.ImportFrom):
            exported = node.level > 0 and all(alias.asname for alias in node.names)
            return exported or ast.unparse(node) == "from typing import TYPE_CHECKING"
        if isinstance(node, ast.Assign):
            return ast.unparse(node.targets[0]) == "__all__"
        if isinstance(node, ast.If):
            return ast.unparse(node.test) == "TYPE_CHECKING" and all(map(allowed, node.body))
        if isinstance(node, ast.FunctionDef):
            return node.name in ("__getattr__", "__dir__")
        return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)

    return [ast.unparse(node) for node in ast.parse(source).body if not allowed(node)]


def moves(source: str) -> set[str]:
    return names(source) & MOVES


def asserts(source: str) -> list[int]:
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


def forbidden(source: str, modules: set[str]) -> set[str]:
    return (outer_imports(source) | names(source) & DYNAMIC) & modules


def slow(modules: set[str]) -> set[str]:
    return {m for m in modules if any(m == s or m.startswith(f"{s}.") for s in SLOW)}


def unexpected_entries(paths: list[str]) -> set[str]:
    return {Path(path).parts[0] for path in paths} - TOP_LEVEL


# The package passes them


SOURCES = sources()
MODULES = [module for module in SOURCES if module in HOUSE]


def test_every_file_has_a_place():
    assert not missing_places(set(SOURCES))


@pytest.mark.parametrize("module", MODULES)
def test_a_file_imports_only_from_rows_above_it(module):
    assert not wrong_imports(module, SOURCES[module])


@pytest.mark.parametrize("module", INITS)
def test_init_files_only_reexport(module):
    assert not wrong_in_init(SOURCES[module])


def test_axes_are_moved_in_one_file():
    moving = {module: moves(source) for module, source in SOURCES.items()}
    assert moving.pop("_layout")
    assert {module: found for module, found in moving.items() if found} == MOVED_IN


@pytest.mark.parametrize("module", SOURCES)
def test_nothing_is_asserted(module):
    assert not asserts(SOURCES[module])


@pytest.mark.parametrize("module", [m for m in MODULES if HOUSE[m][0] == 0])
def test_the_first_row_knows_no_torch(module):
    assert not forbidden(SOURCES[module], {"torch", "numpy"})


@pytest.mark.parametrize("module", SOURCES)
def test_keras_and_its_files_are_never_imported(module):
    found = forbidden(SOURCES[module], FOREIGN | DYNAMIC)
    assert found == IMPORTED_IN.get(module, set())
    assert not forbidden(at_the_top(SOURCES[module]), FOREIGN)


def modules_after(statement: str) -> set[str]:
    """Return what a fresh interpreter has in `sys.modules` after a statement."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_importing_it_imports_nothing_slow():
    of_torch, of_both = modules_after("import torch"), modules_after("import kerastorch")
    assert "kerastorch.layers._conv" in of_both
    assert not slow(of_both - of_torch)


def entries(root: Path) -> list[str]:
    """Return the paths of a checkout, or the names in any other folder, without ignored ones."""
    if (root / ".git").exists():
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        with suppress(OSError, subprocess.CalledProcessError):
            done = subprocess.run(listing, cwd=root, capture_output=True, text=True, check=True)
            return done.stdout.splitlines()
    ignored = [line.strip("/") for line in (root / ".gitignore").read_text().splitlines()]
    found = (path.name for path in root.iterdir())
    return [name for name in found if not any(fnmatch(name, line) for line in ignored)]


def test_the_top_level_holds_what_it_may():
    found = entries(ROOT)
    assert any(path.startswith(PACKAGE) for path in found)
    assert not unexpected_entries(found)


# The checks can fail


@pytest.mark.parametrize(
    "module, source, wrong",
    [
        ("_layout", "from .activations import relu", ["_layout <- activations"]),
        ("_layout", "from . import activations", ["_layout <- activations"]),
        ("_layout", "import kerastorch.training", ["_layout <- training"]),
        ("_layout", "from kerastorch import training", ["_layout <- training"]),
        ("_layout", "from kerastorch.layers._conv import Conv2D", ["_layout <- layers._conv"]),
        ("_layout", "from ._functional import f", ["_layout <- _functional"]),
        ("_layout", "def f():\n  if 1:\n    from .training import x", ["_layout <- training"]),
        ("_layout", "try:\n  from .training import x\nexcept E: pass", ["_layout <- training"]),
        ("layers._layer", "from ._lora import LoRA", ["layers._layer <- layers._lora"]),
        ("layers._config", "from ._building import R", ["layers._config <- layers._building"]),
        ("layers._layer", "from ..training import x", ["layers._layer <- training"]),
        ("layers._layer", "from .. import training", ["layers._layer <- training"]),
        ("training", "from . import x", ["training <- kerastorch"]),
        ("training", "from .layers import Conv2D", ["training <- layers"]),
        ("training", "from ._unknown import x", ["training <- _unknown"]),
        ("layers._exchange", "from ._conv import x", ["layers._exchange <- layers._conv"]),
        (
            "layers._lora",
            "if TYPE_CHECKING:\n  from ._conv import x",
            ["layers._lora <- layers._conv"],
        ),
        ("layers._lora", "from ._layer import x\nfrom .._check import y\nimport torch", []),
        ("_dtype", "from . import config\nfrom ._check import problem", []),
    ],
)
def test_the_row_check_tells(module, source, wrong):
    assert wrong_imports(module, source) == wrong


def test_the_place_check_tells():
    known = {*HOUSE, *INITS}
    assert not missing_places(known)
    assert missing_places({*known, "layers._new"}) == {"layers._new"}
    assert missing_places(known - {"training"}) == {"training"}


@pytest.mark.parametrize(
    "source, count",
    [
        ('"""Doc."""\nfrom .a import b as b\n__all__ = ["b"]', 0),
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
    assert len(wrong_in_init(source)) == count


@pytest.mark.parametrize(
    "source, found",
    [
        ("x.permute(1, 0)", "permute"),
        ("torch.movedim(x, 0, 1)", "movedim"),
        ("np.transpose(x)", "transpose"),
        ("x.swapaxes(0, 1)", "swapaxes"),
        ("y = x.T @ x", "T"),
        ("y = x.mT", "mT"),
        ("x.t()", "t"),
        ("from numpy import moveaxis", "moveaxis"),
        ("import einops", "einops"),
        ("from einops import rearrange", "einops"),
        ("x.reshape(1, 2)", None),
    ],
)
def test_the_axis_check_tells(source, found):
    assert moves(source) == ({found} if found else set())


def test_the_assert_check_tells():
    assert asserts("def f(x):\n    assert x\n    return x") == [2]
    assert not asserts("'assert'")


@pytest.mark.parametrize(
    "source, found",
    [
        ("import torch.nn as nn", {"torch"}),
        ("def f():\n  from torch import nn", {"torch"}),
        ("import h5py", {"h5py"}),
        ("from keras.layers import Conv2D", {"keras"}),
        ("import importlib", {"importlib"}),
        ("__import__('keras')", {"__import__"}),
        ("import torchvision\nfrom . import keras", set()),
    ],
)
def test_the_import_check_tells(source, found):
    assert forbidden(source, {"torch", *FOREIGN, *DYNAMIC}) == found


def test_imports_at_the_top_are_told_from_those_in_functions():
    source = "if 1:\n  import h5py\nclass A:\n  def f(self):\n    import keras"
    assert forbidden(source, FOREIGN) == {"h5py", "keras"}
    assert forbidden(at_the_top(source), FOREIGN) == {"h5py"}


def test_the_slowness_check_tells():
    assert slow({"torch._dynamo.config", "torch.nn", "h5py", "keras_like"}) == {
        "torch._dynamo.config",
        "h5py",
    }
    assert "xml.dom.minidom" in modules_after("import xml.dom.minidom")


def test_the_top_level_check_tells(tmp_path):
    assert unexpected_entries(["kerastorch/a.py", "notes.txt", "docs/x"]) == {"notes.txt", "docs"}
    (tmp_path / ".gitignore").write_text("build/\n*.egg-info/\n")
    for name in ("build", "x.egg-info", "docs"):
        (tmp_path / name).mkdir()
    assert unexpected_entries(entries(tmp_path)) == {"docs"}
