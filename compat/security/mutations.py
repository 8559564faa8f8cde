"""Mutations of bytes, of JSON and of messages, and what reads the mutated files."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat.security.hostile.worker import Worker
from tests.formats.tensorflow_files.protobuf import Wire, decode, encode

LEAST, MOST = 8, 3000  # examples of each kind
Draw = Callable[[Any], Any]
Mutate = Callable[[Path, Path, Draw], object]  # source, where to write, what draws

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 3, 2**31, 2**40, -(2**63), 10**30, 0.5, 1e308]),
    st.sampled_from([float("nan"), float("inf"), "", "x", "a/b", "relu", "float16", "é\0", "0"]),
    st.sampled_from(["Conv2D", "Dense", "InputLayer", "Sequential", "Lambda", "__class__"]),
    st.builds(list),
    st.builds(dict),
    st.just([[]]),
    st.just([None, None, None]),
    st.just({"class_name": "Zeros", "config": {}}),
    st.lists(st.integers(-1, 4), max_size=5),
    st.text(max_size=5),
)
NUMBERS = [0, 1, 2, 7, 255, 2**31 - 1, 2**31, 2**40, 2**62, 2**63, 2**64 - 1, -1]


# Bytes


def mutated(data: bytes, draw: Draw) -> bytes:
    """Return the bytes after one to four mutations."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        if not found:
            break
        at = draw(st.integers(0, len(found) - 1))
        end = min(at + draw(st.sampled_from([1, 2, 4, 8, 64, 512])), len(found))
        kind = draw(st.sampled_from(["set", "flip", "zero", "fill", "copy", "cut", "drop", "add"]))
        if kind == "set":
            found[at] = draw(st.integers(0, 255))
        elif kind == "flip":
            found[at] ^= 1 << draw(st.integers(0, 7))
        elif kind in ("zero", "fill"):
            found[at:end] = (b"\0" if kind == "zero" else b"\xff") * (end - at)
        elif kind == "copy":
            to = draw(st.integers(0, len(found) - (end - at)))
            found[to : to + end - at] = found[at:end]
        elif kind == "cut":
            del found[at:]
        elif kind == "drop":
            del found[at:end]
        else:
            found[at:at] = draw(st.binary(min_size=1, max_size=9))
    return bytes(found)


# JSON


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container in JSON with each of its keys or indices."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from nodes(inner)


def json_mutated(config: Any, draw: Draw) -> Any:
    """Return parsed JSON after one to three mutations."""
    found = copy.deepcopy(config)
    for _ in range(draw(st.integers(1, 3))):
        places = list(nodes(found))
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        kind = draw(st.sampled_from(["set", "set", "delete", "rename", "swap", "repeat", "nudge"]))
        if kind == "set":
            holder[key] = copy.deepcopy(draw(VALUES))
        elif kind == "delete":
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["x", "name", "config", "layers"]))] = holder.pop(key)
        elif kind == "swap":
            other, place = places[draw(st.integers(0, len(places) - 1))]
            holder[key] = copy.deepcopy(other[place])
        elif kind == "repeat" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif isinstance(holder[key], (int, float)):
            holder[key] = holder[key] + draw(st.sampled_from([-1, 1, 0.5]))
    return found


# Messages


def message_mutated(data: bytes, draw: Draw) -> bytes:
    """Return a message after one or two mutations, each in it or in a message inside of it."""
    for _ in range(draw(st.integers(1, 2))):
        data = _message_mutated(data, draw, 6)
    return data


def _message_mutated(data: bytes, draw: Draw, depth: int) -> bytes:
    fields = decode(data)
    if not fields:
        return mutated(data, draw) if data else draw(st.sampled_from([b"", b"\x08\x01", b"x"]))
    at = draw(st.integers(0, len(fields) - 1))
    number, value = fields[at]
    if isinstance(value, bytes) and depth and draw(st.integers(0, 3)):
        fields[at] = (number, _message_mutated(value, draw, depth - 1))
        return encode(fields)
    kind = draw(st.sampled_from(["number", "set", "drop", "repeat", "swap", "bytes", "wire"]))
    if kind == "number":
        fields[at] = (draw(st.integers(1, 12)), value)
    elif kind == "set":
        fields[at] = (number, draw(st.sampled_from([*NUMBERS, b"", b"x"])))
    elif kind == "drop":
        del fields[at]
    elif kind == "repeat":
        fields.insert(at, fields[at])
    elif kind == "swap":
        other = draw(st.integers(0, len(fields) - 1))
        fields[at], fields[other] = fields[other], fields[at]
    elif kind == "bytes" and isinstance(value, bytes):
        fields[at] = (number, mutated(value, draw))
    elif kind == "wire":
        wire = Wire(draw(st.integers(0, 7)), draw(st.binary(max_size=9)))
        fields[at] = (number, wire)
    return encode(fields)


# Reading


def fuzz(
    mutate: Mutate, sources: list[Path], examples: int, worker: Worker, folder: Path
) -> dict[str, int]:
    """Read that many mutated files, and count how reading them ended."""
    counts: dict[str, int] = {}

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def one(data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(sources))
        path = folder / f"mutated{source.suffix}"
        for before in folder.glob("mutated*"):
            shutil.rmtree(before) if before.is_dir() else before.unlink()
        mutate(source, path, data.draw)
        said = worker.read(path)
        counts[said] = counts.get(said, 0) + 1
        assert said in ("read", "refused")

    one()
    return counts
