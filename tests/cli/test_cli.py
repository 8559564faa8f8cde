"""The command: what it prints, writes and refuses, and its exit codes."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from kerastorch._cli import main as main_module
from kerastorch._core.version import VERSION
from tests.cli.command import DIGITS, FILES, start
from tests.cli.test_convert import same

# Refusals


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ([], 2, "arguments are required"),
        (["convert", DIGITS], 2, "-o/--output"),
        (["unknown"], 2, "invalid choice"),
        (["convert", DIGITS, "-o", "x.onnx"], 2, "x.onnx: must end in .pt or .safetensors for a"),
        (["inspect", "no.keras"], 1, "no.keras"),
        *(
            (arguments, 2, f"argument {argument}: must be a path that is not empty and has no null")
            for path in ("", "x\0.keras")
            for argument, arguments in (
                ("file", ["inspect", path]),
                ("file", ["convert", path, "-o", "x.pt"]),
                ("-o/--output", ["convert", DIGITS, "-o", path]),
                ("--weights", ["convert", DIGITS, "-o", "x.pt", "--weights", path]),
                ("--reference", ["convert", DIGITS, "-o", "x.pt", "--reference", path]),
            )
        ),
        (["convert", "no.keras", "-o", "no.pt"], 1, "no.keras"),
        (["inspect", __file__], 1, "test_cli.py"),
        (["inspect", FILES / "keras-3.15.1" / "gw_object.npy"], 1, "load_weights(module, numpy."),
        (["inspect", FILES / "keras-3.15.1" / "seq_npz.keras"], 1, "load_weights(module, {n: a"),
        (
            ["convert", FILES / "keras-3.15.1" / "seq_adam.json", "-o", "no.pt"],
            1,
            "no weights. Found: Keras config in JSON. Say where they are with `--weights`.",
        ),
        (
            ["convert", FILES / "keras-3.15.1" / "seq_adam.weights.h5", "-o", "no.pt"],
            1,
            "no config",
        ),
        (["convert", DIGITS, "-o", "no.pt", "--reference", DIGITS], 1, "`reference` must be"),
        (["convert", DIGITS, "-o", "no.pt", "--reference", "none.npz"], 1, "none.npz: No such"),
    ],
)
def test_refusals(run, arguments, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, out, err = run(*arguments)
    assert found == code
    assert message in err
    assert "error: " in err and "Traceback" not in err
    assert out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "missing, output", [("h5py", "x.pt"), ("safetensors.torch", "x.safetensors")]
)
def test_a_library_that_is_missing(run, digits, tmp_path, monkeypatch, missing, output):
    monkeypatch.setitem(sys.modules, missing, None)
    code, _, err = run("convert", digits, "-o", tmp_path / output)
    assert code == 1
    assert 'pip install "kerastorch[files]"' in err


@pytest.mark.parametrize("error, code", [(KeyboardInterrupt(), 130), (MemoryError(), 1)])
def test_interruptions(run, monkeypatch, error, code):
    def stop(*args, **kwargs):
        raise error

    monkeypatch.setattr(main_module, "inspect", stop)
    found, out, err = run("inspect", DIGITS)
    assert (found, out) == (code, "")
    assert "Traceback" not in err


def test_version_and_help(run):
    assert run("--version")[:2] == (0, f"kerastorch {VERSION}\n")
    assert "inspect" in run("--help")[1]


def test_names_from_a_file_do_nothing_to_the_terminal(run, tmp_path):
    config = {"class_name": "Sequential", "config": {"name": "a\x1b[2J\ud800é", "layers": []}}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(config))
    _, out, _ = run("inspect", path)
    assert "\x1b" not in out and r"a\x1b[2J\ud800é" in out


# Progress


def test_the_progress_bar_is_for_big_files_on_a_terminal(digits, monkeypatch, capsys):
    monkeypatch.setattr(main_module, "BIG", 1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main_module.main(["convert", str(digits), "-o", str(digits.with_suffix(".pt"))]) == 0
    assert "digits.keras: " in capsys.readouterr().err
    arguments = ["convert", str(digits), "-o", str(digits.with_suffix(".pt")), "--force"]
    assert main_module.main([*arguments, "--json"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(main_module, "BIG", 10**9)
    assert main_module.main(arguments) == 0
    assert capsys.readouterr().err == ""


def test_as_a_process(tmp_path):
    done = start("convert", DIGITS, "-o", "digits.pt", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert same(torch.load(tmp_path / "digits.pt", weights_only=True))
