"""Defaults: from `keras.json` on first use, from the setters after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kerastorch import config

ROOT = Path(__file__).parents[2]
DEFAULTS = ("float32", 1e-7, "channels_last")
OTHERS = {"floatx": "float16", "epsilon": 0.25, "image_data_format": "channels_first"}


def current() -> tuple[str, float, str]:
    return config.floatx(), config.epsilon(), config.image_data_format()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Give each test unread settings and a home of its own, which nothing may be written to."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setattr(config, "_settings", {})
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    return folder


def write(folder: Path, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "keras.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_defaults_where_there_is_no_file(home):
    assert current() == DEFAULTS
    assert not list(home.iterdir())


@pytest.mark.parametrize("place", ["~/.keras", "KERAS_HOME", "KERAS_HOME=~", "KERAS_HOME empty"])
def test_the_file_is_found(place, home, tmp_path, monkeypatch):
    folder = home / ".keras"
    if place == "KERAS_HOME":
        write(folder, {"floatx": "float64"})
        folder = tmp_path / "elsewhere"
        monkeypatch.setenv("KERAS_HOME", str(folder))
    elif place == "KERAS_HOME=~":
        folder = home / "mine"
        monkeypatch.setenv("KERAS_HOME", "~/mine")
    elif place == "KERAS_HOME empty":
        monkeypatch.setenv("KERAS_HOME", "")
    write(folder, OTHERS)
    assert current() == tuple(OTHERS.values())


@pytest.mark.parametrize("key", OTHERS)
def test_what_the_file_lacks_is_default(key, home):
    write(home / ".keras", {key: OTHERS[key], "backend": "jax", "nnx_enabled": False})
    expected = dict(zip(OTHERS, DEFAULTS, strict=True)) | {key: OTHERS[key]}
    assert current() == tuple(expected.values())


@pytest.mark.parametrize(
    "content",
    ["", "{", "floatx: float16", "[]", '"float16"', "null", "3", "\x00", '{"floatx": "float16"'],
    ids=repr,
)
def test_a_file_that_is_no_json_object_counts_as_absent(content, home):
    write(home / ".keras", content)
    assert current() == DEFAULTS


def test_a_file_that_is_not_utf8_counts_as_absent(home):
    write(home / ".keras", "").write_bytes(b'{"floatx": "float16", "x": "\xff"}')
    assert current() == DEFAULTS


def test_a_file_that_cannot_be_read_counts_as_absent(home):
    (home / ".keras" / "keras.json").mkdir(parents=True)  # permissions do not stop root
    assert current() == DEFAULTS


def test_a_home_that_is_not_known_counts_as_absent(monkeypatch):
    pwd = pytest.importorskip("pwd")

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("HOME")  # a container under a user id of its own
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert current() == DEFAULTS


WRONG = [
    ("floatx", "float8"),
    ("floatx", "Float32"),
    ("floatx", None),
    ("floatx", ["float32"]),
    ("epsilon", "1e-7"),
    ("epsilon", None),
    ("epsilon", float("inf")),
    ("epsilon", float("nan")),
    ("epsilon", 10**400),
    ("image_data_format", "last"),
    ("image_data_format", None),
    ("image_data_format", {}),
]
EACH_WRONG = pytest.mark.parametrize("key, value", WRONG, ids=lambda value: str(value)[:12])


@EACH_WRONG
def test_a_wrong_value_in_the_file_is_an_error_at_each_use(key, value, home):
    path = write(home / ".keras", {key: value})
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^{path}: `{key}` must be "):
            config.floatx()
    path.unlink()
    assert current() == DEFAULTS


FIRST_USE = """
import kerastorch
from pathlib import Path

path = Path.home() / ".keras" / "keras.json"
path.parent.mkdir()
path.write_text('{"floatx": "float64"}')
print(kerastorch.config.floatx(), kerastorch.layers.Conv2D(2, 3).dtype)
path.write_text('{"floatx": "float16"}')
print(kerastorch.config.floatx(), *(found.name for found in Path.home().rglob("*")))
"""


def test_the_file_is_read_once_on_first_use(home):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["float64", "float64", "float64", ".keras", "keras.json"]


@pytest.mark.parametrize(
    "name, values",
    [
        ("floatx", ["bfloat16", "float16", "float64", "float32"]),
        ("epsilon", [0, 1e-3, 1]),
        ("image_data_format", ["channels_first", "channels_last"]),
    ],
)
def test_setters(name, values, home):
    for value in values:
        getattr(config, f"set_{name}")(value)
        found = getattr(config, name)()
        assert (found, type(found)) == (value, float if name == "epsilon" else str)
    assert not list(home.iterdir())


def test_the_layout_is_set_in_any_case():
    config.set_image_data_format("CHANNELS_First")
    assert config.image_data_format() == "channels_first"


def test_a_setter_keeps_the_rest_of_the_file(home):
    write(home / ".keras", OTHERS)
    config.set_floatx("float64")
    assert current() == ("float64", *list(OTHERS.values())[1:])


@EACH_WRONG
def test_setters_refuse_and_change_nothing(key, value):
    with pytest.raises(ValueError, match=f"^set_{key}: `"):
        getattr(config, f"set_{key}")(value)
    assert current() == DEFAULTS
