"""README and the guides are true: code and commands run, links, names and files exist."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from .documents import (
    FOLDER_READMES,
    GUIDES,
    README,
    ROOT,
    broken_links,
    labelled_block,
    missing_files,
    read_blocks,
    read_commands,
    run_command,
    run_python,
    unknown_names,
)
from .layer_table import BEGIN, END, layer_table, with_table

README_LINES = 180
FOLDER_LINES = 40
LONGER = {"compat": 60}  # folder -> lines of its README
DIGITS = ROOT / "compat" / "digits"
TEXT = ROOT / "compat" / "golden" / "text.keras"
LABELS = {"keras", "train.py", "model.py"}  # blocks that other tests run
within_torch = pytest.mark.filterwarnings(
    "ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"
)


def by_name(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with the files that the documents read, as the current one."""
    shutil.copy(DIGITS / "digits.keras", tmp_path / "model.keras")
    shutil.copy(DIGITS / "digits.reference.npz", tmp_path / "model.reference.npz")
    shutil.copy(TEXT, tmp_path)
    write_custom(tmp_path / "custom.keras")
    (tmp_path / "compat").symlink_to(ROOT / "compat")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_custom(path: Path) -> None:
    """Write the digits model with a class that is not Keras's in the place of Dense."""
    with zipfile.ZipFile(DIGITS / "digits.keras") as source, zipfile.ZipFile(path, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            if member == "config.json":
                content = content.replace(b'"class_name": "Dense"', b'"class_name": "Readout"')
            target.writestr(member, content)


@pytest.fixture
def inductor():
    """Undo what a document sets in inductor's config."""
    from torch._inductor import config

    with config.patch(freezing=config.freezing, cpp_wrapper=config.cpp_wrapper):
        yield


@within_torch
@pytest.mark.parametrize("path", [README, *GUIDES], ids=by_name)
def test_the_python_code_runs(path, folder, request):
    if any("_inductor" in block.code for block in read_blocks(path)):
        request.getfixturevalue("inductor")
    run_python(path)


@pytest.mark.parametrize("path", [p for p in (README, *GUIDES) if read_commands(p)], ids=by_name)
def test_the_commands_run(path, folder, capsys):
    for arguments in read_commands(path):
        assert run_command(arguments) == 0, (arguments, capsys.readouterr())


def test_all_blocks_have_a_known_kind():
    for path in (README, *GUIDES):
        fences = path.read_text(encoding="utf-8").count("```")
        blocks = read_blocks(path)
        assert fences == 2 * len(blocks), path
        assert {block.language for block in blocks} <= {"python", "sh"}
        assert {block.label for block in blocks} <= {"", *LABELS}


def test_the_port_takes_twelve_lines():
    port = next(b for b in read_blocks(README) if b.language == "python" and not b.label)
    assert len([line for line in port.code.splitlines() if line]) == 12


@pytest.mark.parametrize("path", [README, *GUIDES, *FOLDER_READMES], ids=by_name)
def test_links_names_and_files_exist(path):
    assert not broken_links(path)
    assert not unknown_names(path)
    assert not missing_files(path)


def test_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= README_LINES


def test_every_guide_is_linked_from_readme():
    text = README.read_text(encoding="utf-8")
    assert [path.name for path in GUIDES if f"(kerastorch/docs/{path.name})" not in text] == []


def test_the_table_of_layers_is_that_of_the_registry():
    text = README.read_text(encoding="utf-8")
    assert with_table(text) == text, "Run: python -m tests.architecture.layer_table"
    assert layer_table() in text


def folders_without_readme(package: Path) -> list[str]:
    """Return the folders of a package, but for families of layers, that have no README."""
    folders = sorted(path.parent for path in package.rglob("__init__.py"))
    inner = [folder for folder in folders if folder != package]
    wanted = [folder for folder in inner if folder.parent != package / "layers"]
    return [folder.name for folder in wanted if not (folder / "README.md").exists()]


def test_every_folder_has_a_short_readme():
    assert set(folders_without_readme(ROOT / "kerastorch")) <= {"layers"}
    for path in FOLDER_READMES:
        most = LONGER.get(by_name(path.parent), FOLDER_LINES)
        assert len(path.read_text(encoding="utf-8").splitlines()) <= most, path


# The checks can fail


def document(folder: Path, text: str) -> Path:
    path = folder / "document.md"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "code, error",
    [
        ("x = 1\n```\n\ntext\n\n```python\nassert x == 2", AssertionError),
        ("import warnings\nwarnings.warn('old', DeprecationWarning)", DeprecationWarning),
        ("import kerastorch\nkerastorch.load_modle", AttributeError),
    ],
)
def test_the_code_check_can_fail(tmp_path, code, error):
    path = document(tmp_path, f"```python\n{code}\n```\n")
    with pytest.raises(error) as caught:
        run_python(path)
    lines = [frame.lineno + 1 for frame in caught.traceback if str(frame.path) == str(path)]
    assert lines == [path.read_text().count("\n") - 1]  # the line before the last fence


def test_labelled_blocks_are_left_to_their_tests(tmp_path):
    path = document(tmp_path, "```python train.py\n1 / 0\n```\n")
    run_python(path)
    assert labelled_block(path, "train.py") == "1 / 0\n"


def test_the_command_check_can_fail(tmp_path, folder, capsys):
    shell = "pip list && kerastorch inspect \\\n  'no file' # why\nkerastorch convert\n"
    path = document(tmp_path, f"```sh\n{shell}```\n")
    assert read_commands(path) == [["inspect", "no file"], ["convert"]]
    assert [run_command(arguments) for arguments in read_commands(path)] == [1, 2]
    assert run_command(["inspect", "model.keras"]) == 0


def test_the_checks_of_links_names_and_files_can_fail(tmp_path):
    (tmp_path / "other.md").write_text("# One heading: `x`\n")
    found = "[a](other.md) [b](other.md#one-heading-x) [c](#top) [d](https://x.y/z)\n# Top\n"
    wrong = "[e](none.md) [f](other.md#two) [g](#bottom)"
    path = document(tmp_path, f"{found}{wrong}\n```sh\n[h](not_a_link)\n```\n")
    assert broken_links(path) == ["none.md", "other.md#two", "#bottom"]
    names = "`kerastorch.layers.Conv2D` `kerastorch.load_model(x)` `kerastorch.layers.Conv9D`"
    assert unknown_names(document(tmp_path, names)) == ["kerastorch.layers.Conv9D"]
    files = "`tests/conftest.py` `test_docs.py` `compat/none.py` `none.py` `a/b` `x.y`"
    assert missing_files(document(tmp_path, files)) == ["compat/none.py", "none.py"]


def test_the_checks_of_folders_and_tables_can_fail(tmp_path):
    for name in (".", "graph", "layers", "layers/pooling"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "graph" / "README.md").touch()
    assert folders_without_readme(tmp_path) == ["layers"]
    old = f"text\n{BEGIN}\n| Conv2D |\n{END}\ntext"
    assert with_table(old) == f"text\n{BEGIN}\n{layer_table()}\n{END}\ntext"
