"""The command: what it prints, writes and refuses, and its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from kerastorch import compare
from kerastorch._cli import convert as convert_module
from kerastorch._cli import inspect_file
from kerastorch._cli import main as main_module
from kerastorch._cli.convert import recorded_beside
from kerastorch._comparison.recording import write_recording
from kerastorch._comparison.side_by_side import read_recording
from kerastorch._core.version import VERSION
from kerastorch.saving.formats.open import open_contents
from kerastorch.saving.model_loading import load_model

COMPAT = Path(__file__).parents[2] / "compat"
DIGITS = COMPAT / "digits" / "digits.keras"
REFERENCE = COMPAT / "digits" / "digits.reference.npz"
FILES = COMPAT / "files"
PARAMETERS = 25_914


@pytest.fixture
def digits(tmp_path):
    """The file alone, without the reference beside it."""
    return Path(shutil.copy(DIGITS, tmp_path / "digits.keras"))


@pytest.fixture
def run(capsys):
    def main(*arguments):
        code = main_module.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return main


# inspect


def test_inspect_shows_every_layer(run):
    code, out, err = run("inspect", DIGITS)
    assert (code, err) == (0, "")
    assert "Keras .keras archive, by Keras 3.15.1" in out
    assert "model: Sequential 'digits'" in out
    assert "layers/batch_normalization" in out
    assert "kernel (3, 3, 16, 32) float32" in out
    assert f"parameters: {PARAMETERS:,}" in out
    assert "not loaded: optimizer" in out
    assert out.endswith("load_model supports this model.\n")


def test_inspect_as_json(run):
    code, out, err = run("inspect", "--json", DIGITS)
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["model"], told["keras_version"], told["loads"]) == ("Sequential", "3.15.1", True)
    assert told["parameters"] == PARAMETERS == sum(n["parameters"] for n in told["layers"])
    layers = {layer["name"]: layer for layer in told["layers"]}
    assert list(layers)[1:4] == ["rescaling", "conv1", "norm1"]
    assert layers["conv2"]["path"] == "layers/conv2d_1"
    assert layers["conv2"]["weights"][0] == {
        "name": "kernel",
        "path": "layers/conv2d_1/vars/0",
        "shape": [3, 3, 16, 32],
        "dtype": "float32",
    }
    assert all(layer["supported"] and layer["problem"] is None for layer in told["layers"])


@pytest.mark.parametrize(
    "name, model, parameters, supported",
    [
        ("keras-2.13.1/fun_nested.h5", "Functional", 229, {True}),
        ("keras-2.13.1/wrappers.h5", "Functional", 1980, {True, False}),
        ("keras-2.13.1/subclass.keras", "Sub", 26, {None}),
        ("keras-3.15.1/seq_dir", "Sequential", 562, {True}),
        ("keras-3.15.1/seq_adam.weights.h5", None, 562, {None}),
        ("keras-3.15.1/seq_shard.weights.json", None, 562, {None}),
        ("keras-3.15.1/gw_named.npz", None, 74, {None}),
        ("keras-3.15.1/fun_nested.json", "Functional", 0, {True}),
    ],
)
def test_inspect_reads_every_kind_of_file(run, name, model, parameters, supported):
    code, out, err = run("inspect", "--json", FILES / name)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["model"], told["parameters"]) == (model, parameters)
    assert {layer["supported"] for layer in told["layers"]} == supported
    assert told["loads"] == (supported == {True})
    assert (told["problem"] is None) == told["loads"]
    assert run("inspect", FILES / name)[0] == 0


def test_inspect_marks_what_is_not_supported(run):
    _, out, _ = run("inspect", FILES / "keras-2.13.1" / "wrappers.h5")
    (line,) = [line for line in out.splitlines() if line.startswith("bi ")]
    assert "Bidirectional" in line and line.endswith("not supported")
    assert "load_model does not support it" in out


def test_inspect_reads_no_array_and_builds_nothing(run, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("read or built")

    def without_arrays(layer):
        return replace(layer, weights=tuple(replace(w, read=refuse) for w in layer.weights))

    @contextmanager
    def opened(path, **options):
        with open_contents(path, **options) as contents:
            yield replace(contents, layers=tuple(map(without_arrays, contents.layers)))

    monkeypatch.setattr(inspect_file, "open_contents", opened)
    monkeypatch.setattr("kerastorch.layers.Conv2D._materialize", refuse)
    assert run("inspect", DIGITS)[0] == 0


# convert


def tensors():
    return load_model(DIGITS).state_dict()


def same(found):
    expected = tensors()
    assert list(found) == list(expected) or set(found) == set(expected)
    return all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_convert_writes_a_state_dict(run, digits, tmp_path):
    output = tmp_path / "new" / "digits.pt"
    code, out, err = run("convert", digits, "-o", output)
    assert (code, err) == (0, "")
    assert "conv2 (Conv2D)" in out
    assert out.endswith(f"{output}: 11 tensors, 0.1 MB\n")
    found = torch.load(output, weights_only=True)
    assert same(found)
    assert all(tensor.is_contiguous() for tensor in found.values())
    assert [path.name for path in output.parent.iterdir()] == ["digits.pt"]


def test_convert_writes_safetensors(run, digits, tmp_path):
    output = tmp_path / "digits.safetensors"
    assert run("convert", digits, "-o", output)[0] == 0
    assert same(load_file(output))
    with safe_open(output, "pt") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_convert_writes_the_same_bytes_every_time(tmp_path, suffix):
    outputs = [tmp_path / folder / f"{name}{suffix}" for folder, name in ("aa", "ba", "cb", "dd")]
    for seed, output in enumerate(outputs[:2]):
        done = start("convert", DIGITS, "-o", output, PYTHONHASHSEED=str(seed))
        assert done.returncode == 0, done.stderr
    for output in outputs[2:]:
        assert main_module.main(["convert", str(DIGITS), "-o", str(output)]) == 0
    assert len({output.read_bytes() for output in outputs}) == 1


def test_tensors_that_share_memory(tmp_path):
    shared = torch.arange(6.0)
    state = {"a": shared, "b": shared, "c": shared[1:3], "empty": torch.empty(0)}
    path = tmp_path / "x.safetensors"
    convert_module._get_safetensors_writer()(state, path)
    assert all(torch.equal(tensor, state[name]) for name, tensor in load_file(path).items())


def test_convert_takes_the_weights_from_elsewhere(run, tmp_path):
    files, output = FILES / "keras-3.15.1", tmp_path / "x.pt"
    code, _, err = run("convert", files / "seq_adam.json", "-o", output)
    assert code == 1 and "weights" in err
    weights = files / "seq_adam.weights.h5"
    assert run("convert", files / "seq_adam.json", "--weights", weights, "-o", output)[0] == 0
    expected = load_model(files / "seq_adam.keras").state_dict()
    found = torch.load(output, weights_only=True)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_convert_checks_the_reference_beside_the_file(run, tmp_path):
    assert recorded_beside(DIGITS) == REFERENCE
    code, out, _ = run("convert", DIGITS, "-o", tmp_path / "x.pt")
    assert code == 0
    assert f"The model agrees with {REFERENCE}" in out
    assert (tmp_path / "x.pt").exists()


def test_the_name_of_the_reference(tmp_path):
    for name in ("m.keras", "m.h5", "m.weights.h5", "m.json", "m"):
        assert recorded_beside(tmp_path / name) is None
    (tmp_path / "m.reference.npz").touch()
    for name in ("m.keras", "m.h5", "m.weights.h5", "m.json", "m"):
        assert recorded_beside(tmp_path / name) == tmp_path / "m.reference.npz"


@pytest.fixture
def wrong(tmp_path):
    """A reference whose second convolution gives out something else."""
    recording = read_recording(REFERENCE)
    calls = [
        call._replace(outputs=(call.outputs[0] + 1,)) if call.layer == "conv2" else call
        for call in recording.calls
    ]
    path = tmp_path / "wrong.npz"
    write_recording(recording._replace(calls=tuple(calls)), path)
    return path


def test_convert_writes_nothing_where_the_numbers_differ(run, digits, wrong, tmp_path):
    output = tmp_path / "x.pt"
    code, out, err = run("convert", digits, "-o", output, "--reference", wrong)
    assert code == 3
    assert "The first to differ is conv2." in out
    assert f"{output}: not written" in out
    assert err == f"kerastorch: error: {digits}: the values differ from the reference.\n"
    assert not output.exists()
    code, out, _ = run("convert", digits, "-o", output, "--reference", wrong, "--json")
    told = json.loads(out)
    assert code == 3
    assert told["written"] is False
    assert told["comparison"]["first"]["layer"] == "conv2"


def test_convert_as_json(run, tmp_path):
    code, out, err = run("convert", DIGITS, "-o", tmp_path / "x.pt", "--json")
    told = json.loads(out)
    assert (code, err, told["written"]) == (0, "", True)
    assert told["comparison"]["ok"] is True
    assert told["tensors"]["conv2.weight"] == {"shape": [32, 16, 3, 3], "dtype": "float32"}
    assert told["bytes"] == 4 * PARAMETERS


def test_convert_overwrites_only_when_told_to(run, digits, tmp_path):
    output = tmp_path / "x.pt"
    output.write_text("mine")
    code, _, err = run("convert", digits, "-o", output)
    assert code == 2
    assert err == f"kerastorch: error: {output}: already exists. Use --force to replace it.\n"
    assert output.read_text() == "mine"
    assert run("convert", digits, "-o", output, "--force")[0] == 0
    assert same(torch.load(output, weights_only=True))


def test_a_failing_write_leaves_everything_as_it_was(run, digits, tmp_path, monkeypatch):
    output = tmp_path / "out" / "x.pt"
    output.parent.mkdir()
    output.write_text("mine")

    def fail(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    code, _, err = run("convert", digits, "-o", output, "--force")
    assert code == 1 and "No space left on device" in err
    assert output.read_text() == "mine"
    assert [path.name for path in output.parent.iterdir()] == ["x.pt"]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_cannot_be_written_is_told_by_the_output_s_name(
    run, digits, tmp_path, monkeypatch, suffix
):
    output = tmp_path / f"x{suffix}"
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))  # as if the disk were full
    try:
        code, _, err = run("convert", digits, "-o", output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    assert err.startswith(f"kerastorch: error: {output}: could not be written: ")
    assert "File too large" in err
    assert [path.name for path in tmp_path.iterdir()] == ["digits.keras"]
    monkeypatch.setattr(Path, "touch", lambda path: (path / "none").open("x"))
    code, _, err = run("convert", digits, "-o", output)
    assert (code, err) == (1, f"kerastorch: error: {output}: No such file or directory\n")


def test_a_directory_is_no_output(run, digits, tmp_path):
    output = tmp_path / "x.pt"
    output.mkdir()
    for arguments in ([], ["--force"]):
        code, _, err = run("convert", digits, "-o", output, *arguments)
        assert (code, err) == (2, f"kerastorch: error: {output}: is a directory. Name a file.\n")


# Refusals


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ([], 2, "arguments are required"),
        (["convert", DIGITS], 2, "-o/--output"),
        (["unknown"], 2, "invalid choice"),
        (["convert", DIGITS, "-o", "x.onnx"], 2, "x.onnx: must end in .pt or .safetensors."),
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
        (["convert", FILES / "keras-2.13.1" / "wrappers.h5", "-o", "no.pt"], 1, "Bidirectional"),
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


# As a process


def start(*arguments, stdout=subprocess.PIPE, cwd=None, **environment):
    path = os.pathsep.join([str(COMPAT.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "kerastorch", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
        text=True,
        check=False,
    )


def test_as_a_process(tmp_path):
    done = start("convert", DIGITS, "-o", "digits.pt", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert same(torch.load(tmp_path / "digits.pt", weights_only=True))


def test_a_closed_pipe_is_quiet():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = start("inspect", DIGITS, stdout=closed)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_wrong_reference_is_wrong(wrong):
    """The fixture above is told from the right one by more than its name."""
    model = load_model(DIGITS)
    assert compare(model, REFERENCE).ok
    assert not compare(model, wrong).ok
    assert np.isfinite(compare(model, wrong).first.absolute)
