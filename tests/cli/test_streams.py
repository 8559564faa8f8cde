"""The command with standard streams that are closed, full, broken, or no files at all."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kerastorch._cli import main as main_module
from kerastorch._core.version import VERSION

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "compat" / "digits" / "digits.keras"
COMMAND = f'"{sys.executable}" -W error -m kerastorch'
CLOSED = "kerastorch: error: standard output: Bad file descriptor\n"
FULL = "kerastorch: error: standard output: No space left on device\n"
NO_FILE = "kerastorch: error: none.keras: no such file or directory.\n"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a shell of Unix")


def shell(arguments, folder, environment=""):
    """Run the command by a shell's line and return the exit code, stdout and stderr."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        ["sh", "-c", f"{environment} {COMMAND} {arguments}"],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


UNBUFFERED = "PYTHONUNBUFFERED=1"
full = pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
more = pytest.mark.sweep  # each starts a process or two


@pytest.mark.parametrize(
    ("line", "environment", "err"),
    [
        (f"inspect {DIGITS} >&-", "", CLOSED),
        pytest.param("--help >&-", "", CLOSED, marks=more),
        pytest.param("--version >&- 2>&-", "", "", marks=more),
        (f"inspect {DIGITS} <&- >&- 2>&-", "", ""),
        pytest.param(f"inspect {DIGITS} >/dev/full", "", FULL, marks=full),
        pytest.param("--version >/dev/full", UNBUFFERED, FULL, marks=(full, more)),
        pytest.param("inspect --help >/dev/full 2>/dev/full", "", "", marks=(full, more)),
    ],
)
def test_output_that_cannot_be_written_is_an_error(line, environment, err, tmp_path):
    assert shell(line, tmp_path, environment) == (1, "", err)


@pytest.mark.parametrize(
    ("line", "environment", "code"),
    [
        ("2>&-", "", 2),
        pytest.param("inspect none.keras >&- 2>&-", "", 1, marks=more),
        pytest.param("inspect none.keras 2>/dev/full", "", 1, marks=full),
        pytest.param("2>/dev/full", UNBUFFERED, 2, marks=(full, more)),
    ],
)
def test_an_error_that_cannot_be_written_still_ends_in_its_code(line, environment, code, tmp_path):
    assert shell(line, tmp_path, environment) == (code, "", "")


@pytest.mark.parametrize("streams", ["<&- 2>&-", pytest.param("2>/dev/full", marks=full)])
def test_streams_that_are_not_needed_are_not_missed(streams, tmp_path):
    code, out, err = shell(f"inspect {DIGITS} {streams}", tmp_path)
    assert (code, err) == (0, "") and out.endswith("load_model supports this model.\n")


def test_a_closed_output_is_not_missed_where_there_is_nothing_to_write(tmp_path):
    assert shell("inspect none.keras >&-", tmp_path) == (1, "", NO_FILE)
    code, out, err = shell("inspect >&-", tmp_path)
    assert (code, out) == (2, "") and err.startswith("usage: kerastorch inspect ")


@pytest.mark.parametrize(
    ("arguments", "environment", "code"),
    [
        (f"inspect {DIGITS}", "", 141),
        pytest.param("--help", UNBUFFERED, 141, marks=more),
        pytest.param("inspect none.keras 2>&1", "", 1, marks=more),
    ],
)
def test_a_broken_pipe_is_quiet(arguments, environment, code, tmp_path):
    start = f"(sleep 0.2; {environment}"  # `true` is gone by then
    assert shell(f"{arguments}; echo $? >code) | exec true", tmp_path, start) == (0, "", "")
    assert (tmp_path / "code").read_text() == f"{code}\n"


@pytest.mark.parametrize(
    "environment",
    [
        "PYTHONIOENCODING=ascii:strict",
        pytest.param("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0", marks=more),
    ],
)
def test_what_a_stream_cannot_encode_is_escaped(environment, tmp_path):
    config = '{"class_name": "Sequential", "config": {"name": "\\u00e9", "layers": []}}'
    (tmp_path / "x.json").write_text(config)
    code, out, err = shell("inspect x.json", tmp_path, environment)
    assert (code, err) == (0, "") and r"'\xe9'" in out
    code, _, err = shell("inspect n\u00e9.json", tmp_path, environment)
    assert code == 1 and err.isascii() and err.startswith("kerastorch: error: n\\")


# convert: the file is whole, whatever becomes of the report


@pytest.mark.parametrize(
    ("streams", "suffix"),
    [
        (">&-", ".safetensors"),
        pytest.param("<&- >&- 2>&-", ".pt", marks=more),
        pytest.param(">/dev/full", ".pt", marks=(full, more)),
    ],
)
def test_convert_writes_the_whole_file(streams, suffix, tmp_path):
    expected = tmp_path / f"expected{suffix}"
    assert main_module.main(["convert", str(DIGITS), "-o", str(expected)]) == 0
    assert shell(f"convert {DIGITS} -o x{suffix} {streams}", tmp_path)[0] == 1
    assert (tmp_path / f"x{suffix}").read_bytes() == expected.read_bytes()
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["expected", "x"]


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    lines = [
        "import os",
        "from kerastorch._cli import main",
        "main.main(['--version'])",
        "number = os.open('opened', os.O_CREAT | os.O_WRONLY)",
        "os.write(number, str(number).encode())",
    ]
    (tmp_path / "run.py").write_text("\n".join(lines))
    line = f"'{sys.executable}' run.py <&- >&- 2>&-"
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True, env=path)
    assert int((tmp_path / "opened").read_text()) > 2


# In this process


class Broken(io.StringIO):
    """A stream that is no file and that nobody reads."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("arguments", [["--version"], ["inspect", str(DIGITS)]])
def test_main_prints_to_what_stands_for_stdout(arguments, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert sys.stdout.encoding is None
    assert main_module.main(arguments) == 0
    assert VERSION in sys.stdout.getvalue() or "digits" in sys.stdout.getvalue()


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (OSError(28, "No space left on device"), 1, FULL),
        (OSError("odd"), 1, "kerastorch: error: standard output: odd\n"),
    ],
)
@pytest.mark.parametrize("arguments", [["--help"], ["inspect", str(DIGITS)]])
def test_main_survives_a_stream_that_is_no_file(arguments, error, code, message, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken(error))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert main_module.main(arguments) == code
    assert sys.stderr.getvalue() == message
    monkeypatch.setattr(sys, "stderr", Broken(error))
    assert main_module.main(arguments) == code
    assert main_module.main(["inspect", "none.keras"]) == 1


def test_main_survives_streams_that_are_closed(monkeypatch, tmp_path):
    for name in ("stdout", "stderr"):
        stream = io.StringIO()
        stream.close()
        monkeypatch.setattr(sys, name, stream)
    assert main_module.main(["inspect", str(DIGITS)]) == 1
    assert main_module.main(["convert", str(DIGITS), "-o", str(tmp_path / "x.pt")]) == 1
    assert (tmp_path / "x.pt").exists()
    assert main_module.main([]) == 2


@full
def test_a_caller_keeps_its_own_streams(monkeypatch):
    with open("/dev/full", "w") as stream:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", stream)
        assert main_module.main(["--version"]) == 1
        with pytest.raises(OSError, match="No space left"):
            print("more", flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
