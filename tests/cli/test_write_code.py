"""What `convert -o model.py` writes, proves and leaves alone."""

from __future__ import annotations

import ast
import json
import runpy
import stat

import pytest
import torch
from safetensors.torch import load_file

from kerastorch._cli import write_code as write_code_module
from kerastorch.plain.proof.isolation import run_alone
from kerastorch.saving.model_loading import load_model
from tests.architecture.documents import README, read_blocks
from tests.cli.command import DIGITS, REFERENCE, start

X = torch.rand((3, 8, 8, 1), generator=torch.Generator().manual_seed(1))


def load(output, weights=None):
    """Load written files as a user does."""
    path = weights or output.with_suffix(".safetensors")
    is_safe = path.suffix == ".safetensors"
    state = load_file(path) if is_safe else torch.load(path, weights_only=True)
    model = runpy.run_path(str(output))["Digits"]()
    model.load_state_dict(state)
    return model.eval()


def test_code_and_weights_are_written_side_by_side(run, digits, tmp_path):
    output = tmp_path / "new" / "model.py"
    code, out, err = run("convert", digits, "-o", output)
    assert (code, err) == (0, "")
    assert f"{output}: class Digits" in out
    assert "operations with all arguments" in out
    assert sorted(one.name for one in output.parent.iterdir()) == ["model.py", "model.safetensors"]
    with torch.no_grad():
        torch.testing.assert_close(load(output)(X), load_model(digits).eval()(X))


def test_readme_shows_what_is_written(run, digits, tmp_path):
    assert run("convert", digits, "-o", tmp_path / "model.py")[0] == 0
    shown = next(block.code for block in read_blocks(README) if block.label == "model.py")
    assert (tmp_path / "model.py").read_text().endswith(f"\n{shown.strip()}\n")


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_all_options_together(run, digits, tmp_path, layout, inference):
    output = tmp_path / "mine.py"
    options = ["--layout", layout, "--class-name", "Digits", "--weights-format", "pt"]
    options += ["--inference"] if inference else []
    code, out, err = run("convert", digits, "-o", output, "--json", *options)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["written"] and found["class"] == "Digits"
    assert found["proof"]["difference"] < 1e-12
    assert found["weights"] == str(tmp_path / "mine.pt")
    x = X.permute(0, 3, 1, 2) if layout == "channels_first" else X
    with torch.no_grad():
        found = load(output, tmp_path / "mine.pt")(x)
        torch.testing.assert_close(found, load_model(digits).eval()(X), rtol=1e-5, atol=1e-5)


def test_it_runs_as_a_command_and_twice_writes_the_same_bytes(tmp_path):
    outputs = [tmp_path / folder / "model.py" for folder in "ab"]
    for seed, output in enumerate(outputs):
        done = start("convert", DIGITS, "-o", output, PYTHONHASHSEED=str(seed))
        assert done.returncode == 0, done.stderr
    for suffix in (".py", ".safetensors"):
        assert len({one.with_suffix(suffix).read_bytes() for one in outputs}) == 1
    ast.parse(outputs[0].read_text())


def test_values_that_differ_from_the_reference_write_nothing(run, digits, wrong, tmp_path):
    output = tmp_path / "out" / "model.py"
    code, out, err = run("convert", digits, "-o", output, "--reference", wrong)
    assert code == 3
    assert "the values differ" in err and "not written" in out
    assert not output.parent.exists()


def test_a_right_reference_is_compared(run, digits, tmp_path):
    code, out, _ = run("convert", digits, "-o", tmp_path / "m.py", "--reference", REFERENCE)
    assert code == 0 and "agrees with" in out


def test_a_failed_proof_writes_nothing(run, digits, tmp_path, monkeypatch):
    def fail(*arguments):
        return "the outputs differ by 1.0e+00"

    monkeypatch.setattr(write_code_module, "run_alone", fail)
    output = tmp_path / "out" / "model.py"
    code, _, err = run("convert", digits, "-o", output)
    assert code == 3
    assert "the outputs differ by 1.0e+00" in err and "Nothing was written" in err
    assert not list(output.parent.iterdir())


@pytest.mark.parametrize("existing", ["model.py", "model.safetensors"])
def test_existing_files_are_kept_without_force(run, digits, tmp_path, existing):
    kept = tmp_path / existing
    kept.write_text("mine")
    code, _, err = run("convert", digits, "-o", tmp_path / "model.py")
    assert code == 2 and "already exists. Use --force to replace it." in err
    assert kept.read_text() == "mine"
    assert run("convert", digits, "-o", tmp_path / "model.py", "--force")[0] == 0
    assert kept.read_bytes() != b"mine"


def test_neither_is_replaced_if_one_cannot_be(run, digits, tmp_path, monkeypatch):
    output, weights = tmp_path / "model.py", tmp_path / "model.safetensors"
    output.write_text("mine")
    weights.write_text("weights")
    replace = type(output).replace

    def fail(self, target):
        if str(target) == str(output) and ".before" not in self.name:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(type(output), "replace", fail)
    code, _, err = run("convert", digits, "-o", output, "--force")
    assert code == 1 and "No space left on device" in err
    assert (output.read_text(), weights.read_text()) == ("mine", "weights")
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        *("digits.keras", "model.py", "model.safetensors")
    ]


@pytest.mark.parametrize(
    "options",
    [["--layout", "channels_first"], ["--inference"], ["--flat"], ["--class-name", "A"]],
)
def test_options_of_code_are_refused_for_a_state_dict(run, digits, tmp_path, options):
    code, _, err = run("convert", digits, "-o", tmp_path / "a.pt", *options)
    assert code == 2 and f"{options[0]}: only code has it" in err


def test_a_bad_class_name_is_refused(run, digits, tmp_path):
    code, _, err = run("convert", digits, "-o", tmp_path / "a.py", "--class-name", "a-b")
    assert code == 1 and "`class_name` must be" in err


def test_written_files_have_the_usual_permissions(run, digits, tmp_path):
    (tmp_path / "usual").touch()
    run("convert", digits, "-o", tmp_path / "a.py")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "a.py")}
    assert len(modes) == 1


# The fresh Python


def record(tmp_path, digits, run):
    output = tmp_path / "model.py"
    assert run("convert", digits, "-o", output)[0] == 0
    with torch.no_grad():
        pairs = [([X.double()], [load(output).double()(X.double())])]
    torch.save({"dtype": torch.float64, "pairs": pairs}, tmp_path / "outputs.pt")
    files = output, output.with_suffix(".safetensors"), tmp_path / "outputs.pt"
    return (*files, "Digits", 1e-12)


@pytest.mark.parametrize(
    "old, new, problem",
    [
        ("", "", ""),
        (
            "from torch import nn\n",
            "import kerastorch\nfrom torch import nn\n",
            "imports kerastorch",
        ),
        ("bias=False", "bias=True", "Missing key"),
        ("eps=0.001", "eps=0.0010001", "the outputs differ by"),
    ],
)
def test_a_fresh_python_notices(run, digits, tmp_path, old, new, problem):
    files = record(tmp_path, digits, run)
    files[0].write_text(files[0].read_text().replace(old, new, 1) if old else files[0].read_text())
    found = run_alone(*files)
    assert problem in found and bool(problem) == bool(found)
