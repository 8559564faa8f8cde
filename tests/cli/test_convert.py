"""What `convert` writes, checks and leaves alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from kerastorch import compare
from kerastorch._cli import convert as convert_module
from kerastorch._cli import main as main_module
from kerastorch._cli.convert import find_recording
from kerastorch.saving.model_loading import load_model
from tests.cli.command import DIGITS, FILES, PARAMETERS, REFERENCE, start


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
    assert find_recording(DIGITS) == REFERENCE
    code, out, _ = run("convert", DIGITS, "-o", tmp_path / "x.pt")
    assert code == 0
    assert f"The model agrees with {REFERENCE}" in out
    assert (tmp_path / "x.pt").exists()


def test_the_name_of_the_reference(tmp_path):
    for name in ("m.keras", "m.h5", "m.weights.h5", "m.json", "m"):
        assert find_recording(tmp_path / name) is None
    (tmp_path / "m.reference.npz").touch()
    for name in ("m.keras", "m.h5", "m.weights.h5", "m.json", "m"):
        assert find_recording(tmp_path / name) == tmp_path / "m.reference.npz"


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


def test_the_wrong_reference_is_wrong(wrong):
    """The fixture above is told from the right one by more than its name."""
    model = load_model(DIGITS)
    assert compare(model, REFERENCE).ok
    assert not compare(model, wrong).ok
    assert np.isfinite(compare(model, wrong).first.absolute)
