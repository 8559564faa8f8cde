"""Hostile files: each is refused, or read without harm, by every way to read a file."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from compat.security.hostile.parts import BIAS, GENUINE, KERNEL, SECRET, Place
from compat.security.hostile.reading import ARRAYS, READERS, in_time, unexpected, watched
from compat.security.hostile.write import HOSTILE, KERAS, TENSORFLOW, write
from kerastorch._core.errors import FileError

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

LONGEST = 3000  # characters of a message, for one who reads it
MAY_READ = {
    "always": (),
    "by a module": ("open_weight_file",),
    "as a model": ("open_weight_file", "load_weights"),
    "never": ("open_weight_file", "load_weights", "load_model"),
}
GREEDY = ("allocates", "inflates", "fills", "exhausts", "declares", "thousand", "table", "spends")
WITHOUT_MODULE = (".npy", ".npz", ".pkl", ".ckpt", ".savedmodel", ".tfjs")
CASES = [
    pytest.param(name, reader, id=f"{name}-{reader}")
    for name in HOSTILE
    for reader in (*READERS, *(ARRAYS if name.endswith(WITHOUT_MODULE) else ()))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of hostile files, after every module that reading takes is imported."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in GENUINE:
        path = write(name, folder).path
        for reader in READERS.values():
            with contextlib.suppress(FileError):  # no model is in bare weights
                reader(path)
    return folder


@pytest.fixture(scope="module")
def placed(folder: Path):
    """What writes a file once, and tells where it is."""
    written: dict[str, Place] = {}

    def place(name: str) -> Place:
        if name not in written:
            written[name] = write(name, folder)
        return written[name]

    return place


def reading(reader: str, place: Place) -> tuple[list | None, str, list]:
    """What a reader gives or says, and what it does that it should not."""
    with in_time(), watched() as events:
        try:
            found, said = (READERS | ARRAYS)[reader](place.path), ""
        except FileError as error:
            found, said = None, str(error)
    return found, said, unexpected(events, place.path.parent)


@pytest.mark.parametrize("name, reader", CASES)
def test_a_hostile_file_does_no_harm(name: str, reader: str, placed) -> None:
    place, case = placed(name), HOSTILE[name]
    found, said, events = reading(reader, place)
    assert not events
    assert sorted(path.name for path in place.outside.iterdir()) == ["secret", "secret.h5"]
    if found is None:
        assert name in said
        assert len(said) < LONGEST
        assert SECRET[:16].decode() not in said
        return
    assert reader in MAY_READ[case.refused]
    for tensor in found:
        assert SECRET[:16] not in tensor.numpy().tobytes()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", GENUINE)
def test_the_genuine_files_are_read(name: str, reader: str, placed) -> None:
    found, said, events = reading(reader, placed(name))
    assert not events
    if reader == "load_model" and name.endswith((".weights.h5", ".npz", ".ckpt", ".index")):
        assert "no config" in said
        return
    assert found is not None, said
    sizes = sorted(tensor.numel() for tensor in found)
    assert sizes == [BIAS.size, KERNEL.size]
    total = sum(float(tensor.sum()) for tensor in found)
    assert total == pytest.approx(float(KERNEL.sum() + BIAS.sum()))


@pytest.mark.parametrize("name", ["genuine.savedmodel", "genuine.tfjs"])
def test_the_current_directory_is_read(name: str, placed, monkeypatch) -> None:
    monkeypatch.chdir(placed(name).path)
    assert len(READERS["load_model"](Path())) == 2


@on_linux
def test_none_takes_more_memory_than_its_size_warrants(placed) -> None:
    names = [case.name for case in HOSTILE.values() if any(w in case.effect for w in GREEDY)]
    assert len(names) > 20
    folder = placed(names[0]).path.parents[1]
    for name in names:
        placed(name)
    command = [sys.executable, "-m", "compat.security.hostile.limited", str(folder), *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-3000:]
    greedy = [line for line in done.stdout.splitlines() if line.startswith("GREEDY")]
    assert not greedy
    assert done.stdout.count("\n") == len(names)


def test_each_name_is_one_file() -> None:
    assert len(HOSTILE) == sum(len(module.CASES) for module in (*KERAS, *TENSORFLOW))


# The files are what they say, and the checks can fail


def test_external_storage_gives_the_secret_to_hdf5(placed) -> None:
    with h5py.File(placed("external_storage.weights.h5").path) as file:
        assert SECRET[:16] in file["layers/conv2d/vars/0"][()].tobytes()
    with h5py.File(placed("external_link.weights.h5").path) as file:
        assert SECRET[:16] in file["layers/conv2d/vars/0"][()].tobytes()


@pytest.mark.parametrize("name", ["mkdir_0.pkl", "mkdir_4.pkl"])
def test_pickles_touch_the_outside(name: str, tmp_path) -> None:
    place = write(name, tmp_path)
    pickle.loads(place.path.read_bytes())
    assert place.touched.exists()


def test_object_arrays_touch_the_outside(tmp_path) -> None:
    place = write("objects.npy", tmp_path)
    np.load(place.path, allow_pickle=True)
    assert place.touched.exists()


def test_bombs_are_small_and_inflate(placed) -> None:
    path = placed("weights_bomb.keras").path
    assert path.stat().st_size < 1 << 18
    with zipfile.ZipFile(path) as file:
        assert len(file.read("model.weights.h5")) > 1 << 24


@on_linux
def test_memory_is_measured(placed, monkeypatch) -> None:
    from compat.security.hostile.limited import peak

    path, size = placed("genuine.npz").path, 200 << 20
    assert peak(path, "load_weights") < size // 4
    monkeypatch.setitem(READERS, "greedy", lambda _: b"x" * size)
    assert peak(path, "greedy") > size // 2


def test_what_happens_outside_is_seen(placed) -> None:
    place = placed("genuine.keras")
    inside = place.path.parent
    with watched() as events:
        place.path.read_bytes()
    assert not unexpected(events, inside)
    with watched() as events:
        place.secret.read_bytes()
        (inside / "new").write_bytes(b"")
        (inside / "new").unlink()
        subprocess.run(["true"])
        pickle.loads(pickle.dumps(Place))
    seen = [event for event, _ in unexpected(events, inside)]
    for event in ("open", "os.remove", "subprocess.Popen", "pickle.find_class"):
        assert event in seen
    assert seen.count("open") >= 2
