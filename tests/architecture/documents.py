"""README and the guides: their code blocks, commands, links and names."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = "kerastorch"
TOP = (PACKAGE, "tests", "compat")
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "kerastorch" / "docs").glob("*.md"))
FOLDER_READMES = sorted(p for top in TOP for p in (ROOT / top).rglob("README.md"))


class Block(NamedTuple):
    """A fenced code block: the words after the fence, the code, and the line it starts on."""

    language: str
    label: str
    code: str
    line: int


def read_blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w+) *(.*)\n((?:.*\n)*?)```$", text, flags=re.MULTILINE)
    return [Block(m[1], m[2], m[3], text.count("\n", 0, m.start(3))) for m in found]


def labelled_block(path: Path, label: str) -> str:
    """Return the code of the one block whose fence has a label: a file name, or "keras"."""
    (code,) = (block.code for block in read_blocks(path) if block.label == label)
    return code


def run_python(path: Path) -> dict[str, Any]:
    """Run the blocks of a document in one namespace, but for labelled ones, and return it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in read_blocks(path):
        if block.language == "python" and not block.label:
            source = "\n" * block.line + block.code  # tracebacks tell the document's lines
            exec(compile(source, str(path), "exec"), names)
    return names


def read_commands(path: Path) -> list[list[str]]:
    """Return the arguments of all commands `kerastorch ...` in blocks of shell code."""
    shell = "\n".join(block.code for block in read_blocks(path) if block.language == "sh")
    parts = re.split(r"\n|&&", shell.replace("\\\n", " "))
    words = [shlex.split(part, comments=True) for part in parts]
    return [command[1:] for command in words if command[:1] == [PACKAGE]]


def run_command(arguments: list[str]) -> int:
    """Run `kerastorch` in this process and return its exit code."""
    given, sys.argv = sys.argv, [PACKAGE, *arguments]
    try:
        runpy.run_module(PACKAGE, run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = given
    return 0


def without_blocks(path: Path) -> str:
    return re.sub(
        r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )


def heading_anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", without_blocks(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> list[str]:
    """Return the relative links of a document to no file, or to no heading of one."""

    def resolves(link: str) -> bool:
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        return target.exists() and (not anchor or anchor in heading_anchors(target))

    links = re.findall(r"\]\(([^)\s]+)\)", without_blocks(path))
    return [link for link in links if not link.startswith("https://") and not resolves(link)]


def unknown_names(path: Path) -> list[str]:
    """Return the names `kerastorch.x.y` in backticks that do not exist."""
    names = re.findall(rf"`({PACKAGE}(?:\.\w+)+)", without_blocks(path))
    return [name for name in names if not exists(name)]


def exists(name: str) -> bool:
    found: Any = import_module(PACKAGE)
    for part in name.split(".")[1:]:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def missing_files(path: Path) -> list[str]:
    """Return the files and folders that a document names in backticks and that do not exist.

    A path may begin in any folder of the checkout.
    """
    words = re.findall(r"`([\w./-]+)`", without_blocks(path))
    return [word for word in words if is_path(word) and not is_found(path, word)]


def is_path(word: str) -> bool:
    folder = "/" in word and word.split("/")[0] in TOP
    return folder or word.endswith(".py")


def is_found(path: Path, word: str) -> bool:
    places = (ROOT, path.parent, *(ROOT / top for top in TOP))
    direct = any((place / word).exists() for place in places)
    return direct or any(any((ROOT / top).rglob(word)) for top in TOP if ".." not in word)
