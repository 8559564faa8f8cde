"""Detection of a file's format by its content, never by its name, and its reading."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ..._core import arguments
from ..._core.errors import FileError
from . import json_file, zip_archive
from .array_files import read_npy, read_npz
from .byte_range import HDF5_SIGNATURE, ByteRange, Progress
from .hdf5.keras3_layout import is_keras2_tree, is_keras3_layout, read_keras3_layers
from .hdf5.legacy_layout import CONFIG, MODEL, find_weights_group, read_legacy_layers
from .hdf5.objects import Group
from .hdf5.reader import read_tree
from .hdf5.shards import list_shards, merge_shards
from .in_memory import read_live_object
from .npy import MAGIC as NPY_MAGIC
from .tensorflow.checkpoint import INDEX
from .tensorflow.latest import LATEST, find_latest
from .tensorflow.saved_model import CONFIG as CONFIG_FILE
from .tensorflow.saved_model import GRAPHS, METADATA, read_saved_model
from .tensorflow.table import MAGIC
from .tensorflow.weights import read_checkpoint
from .tensorflow_js import KEYS, read_layers_model
from .unsupported import check_missing, raise_directory_error, raise_file_error, raise_pickle_error
from .weight_file import WeightFile

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_PICKLED = "model.weights.npz"
_TENSORFLOW_JS = "model.json"
_MOST_METADATA = 1 << 20
_LONGEST_NAME = 255  # bytes, as file systems have it
_LFS = b"version https://git-lfs"  # a pointer begins so
_START = 512  # bytes read to detect the format
_RESAVE = "Save it again with Keras: model.save('model.keras')."


@contextmanager
def open_weight_file(source: Any, *, progress: Progress | None = None) -> Iterator[WeightFile]:
    """Open a file that Keras saved, or an object in memory; each array is read on demand.

    Raises:
        FileError: the file is damaged, unsafe, or of a format that Keras does not write.
        FileNotFoundError: there is no such file.
        ImportError: it is an HDF5 file and h5py is not installed.
    """
    path = arguments.as_path(open_weight_file.__name__, "source", source)
    if not isinstance(path, Path):
        yield read_live_object(source)
        return
    with ExitStack() as stack:
        yield _Opener(stack, path, progress).read()


class _Opener:
    """Opens files, which the stack closes."""

    def __init__(self, stack: ExitStack, path: Path, progress: Progress | None) -> None:
        self.stack, self.path, self.progress = stack, path, progress
        self.source = str(path)

    def make_error(self, what: str) -> FileError:
        return FileError(f"{self.source}: {what}. {_RESAVE}")

    def read(self) -> WeightFile:
        name = f"{self.path.name}{INDEX}"
        is_prefix = self.path.name == LATEST or not self.path.exists()
        if is_prefix and not self.path.is_dir() and self.path.with_name(name).exists():
            return self.read_checkpoint(self.path.parent, self.path.name)
        check_missing(self.path)
        if self.path.is_dir():
            return self.read_directory()
        window = self.open_window(self.path)
        start = window.read_at(0, _START)
        if start.startswith(zip_archive.SIGNATURE):
            return self.read_zip(window)
        if start.startswith(HDF5_SIGNATURE):
            return self.read_hdf5(window)
        if start.startswith(NPY_MAGIC):
            return read_npy(self.source, window, self.progress)
        if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
            return self.read_json(window)
        if window.read_at(max(window.size - len(MAGIC), 0), len(MAGIC)) == MAGIC:
            if not self.path.name.endswith(INDEX):
                what = "the index of a TensorFlow checkpoint, whose name must be NAME.index"
                raise FileError(f"{self.source}: {what}, beside NAME.data-00000-of-00001.")
            return self.read_checkpoint(self.path.parent, self.path.name.removesuffix(INDEX))
        return raise_file_error(self.source, window, start)

    def open_window(self, path: Path) -> ByteRange:
        """Open a regular file that is neither empty nor a pointer to it."""
        if not stat.S_ISREG(path.stat().st_mode):
            raise FileError(f"{path}: neither a file nor a directory, but a device or a pipe.")
        file = self.stack.enter_context(path.open("rb", buffering=0))
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise FileError(f"{path}: an empty file. Save or download it again.")
        window = ByteRange(file, 0, size)
        if window.read_at(0, len(_LFS)) == _LFS:
            what = "a Git LFS pointer and not the file itself: run `git lfs pull`"
            raise FileError(f"{path}: {what}.")
        return window

    def read_zip(self, window: ByteRange) -> WeightFile:
        archive = zip_archive.Archive(self.source, window)
        names = archive.members
        if _CONFIG not in names and any(name.endswith(".npy") for name in names):
            return read_npz(archive, window.size, self.progress)
        weight_files = [name for name in (_WEIGHTS, _PICKLED) if name in names]
        if _CONFIG not in names or not weight_files:
            what = f"a zip archive without {_CONFIG} and {_WEIGHTS}"
            raise self.make_error(f"{what}. Found: {sorted(names)[:8]}")
        if len(weight_files) > 1:
            raise self.make_error(f"both {weight_files[0]} and {weight_files[1]}")
        if weight_files == [_PICKLED]:
            opening = f"zipfile.ZipFile({self.source!r}).open({_PICKLED!r})"
            arrays = f"numpy.load({opening}, allow_pickle=True).items()"
            layers = f"{{n: a.item() for n, a in {arrays} if n.startswith('layers/')}}"
            raise_pickle_error(f"{self.source}: {_PICKLED}", layers)
        return self.read_bundle("Keras .keras archive", names, archive.window)

    def read_directory(self) -> WeightFile:
        present = {entry.name for entry in self.path.iterdir()}
        if {_CONFIG, _WEIGHTS} <= present:

            def open_member(name: str, most: int | None = None) -> ByteRange:
                return self.open_in(self.path, name)

            return self.read_bundle("Keras .keras directory", present, open_member)
        indexes = sorted(name for name in present if name.endswith(".weights.json"))
        if len(indexes) == 1:
            return self.read_json(self.open_in(self.path, indexes[0]), self.path)
        open_file = partial(self.open_in, self.path)
        if {METADATA, GRAPHS} & present:
            present |= {CONFIG_FILE} if (self.path / CONFIG_FILE).exists() else set()
            return read_saved_model(self.source, present, open_file, self.progress)
        if LATEST in present:
            return self.read_checkpoint(self.path, find_latest(self.source, open_file(LATEST)))
        tables = sorted(name for name in present if name.endswith(INDEX))
        if len(tables) == 1:
            return self.read_checkpoint(self.path, tables[0].removesuffix(INDEX))
        if _TENSORFLOW_JS in present:
            return self.read_json(self.open_in(self.path, _TENSORFLOW_JS), self.path)
        return raise_directory_error(self.source, present)

    def read_checkpoint(self, folder: Path, prefix: str) -> WeightFile:
        return read_checkpoint(self.source, prefix, partial(self.open_in, folder), self.progress)

    def read_bundle(
        self, kind: str, names: Container[str], open_member: Callable[..., ByteRange]
    ) -> WeightFile:
        """Read the config, the metadata and the weights of an archive or a directory."""

        def parse(name: str, most: int) -> Any:
            text = open_member(name, most).read_at(0, most + 1) if name in names else b"{}"
            return json_file.parse_json(f"{self.source}: {name}", text)

        config = parse(_CONFIG, json_file.MOST_BYTES)
        metadata = parse(_METADATA, _MOST_METADATA)
        version = _find_writer(metadata)["version"] if isinstance(metadata, dict) else None
        root = read_tree(f"{self.source}: {_WEIGHTS}", open_member(_WEIGHTS), self.progress)
        if not is_keras3_layout(root):
            what = f"{_WEIGHTS}: no weights as Keras 2.12 and later write them"
            raise self.make_error(f"{what}. Found: {sorted(root.members)[:8]}")
        return self.group_layers(root, kind, config, version)

    def read_hdf5(self, window: ByteRange) -> WeightFile:
        if zip_archive.find_end_record(window) is not None:
            raise self.make_error("an HDF5 file and a zip archive at once")
        root = read_tree(self.source, window, self.progress)
        weights = find_weights_group(root)
        if weights is not None:
            return self.read_legacy(root, weights)
        if is_keras3_layout(root):
            return self.group_layers(root, "Keras weights file")
        if CONFIG in root.attributes:
            return self.read_legacy(root, Group("", {"layer_names": ()}, {}))
        found = sorted(root.members)[:8]
        raise self.make_error(f"an HDF5 file that no Keras wrote. Found: {found}")

    def read_legacy(self, root: Group, weights: Group) -> WeightFile:
        layers, ignored = read_legacy_layers(self.source, weights)
        if weights is not root:
            ignored += tuple(path for path in root.members if path != MODEL)
        metadata = {**root.attributes, **weights.attributes}
        text, config = metadata.get(CONFIG), None
        if isinstance(text, str):
            config = json_file.parse_json(f"{self.source}: @{CONFIG}", text)
        kind = "Keras HDF5 model" if config is not None else "Keras HDF5 weights"
        known = {"config": config, "ignored": ignored, **_find_writer(metadata)}
        return WeightFile(self.source, kind, layers, **known)

    def group_layers(
        self, root: Group, kind: str, config: Any = None, version: str | None = None
    ) -> WeightFile:
        layers, ignored = read_keras3_layers(self.source, root)
        old = " of Keras 2.12 to 2.14" if is_keras2_tree(root) else ""
        known: dict[str, Any] = {"version": version, "config": config, "ignored": ignored}
        return WeightFile(self.source, f"{kind}{old}", layers, layout="classes", **known)

    def read_json(self, window: ByteRange, directory: Path | None = None) -> WeightFile:
        value = json_file.parse_json(self.source, window.read_at(0, json_file.MOST_BYTES + 1))
        folder = self.path.parent if directory is None else directory
        if isinstance(value, dict) and value.keys() & set(KEYS):
            open_file = partial(self.open_in, folder)
            return read_layers_model(self.source, value, open_file, self.progress)
        if isinstance(value, dict) and isinstance(value.get("weight_map"), dict):
            names = list_shards(self.source, value)
            roots = {
                name: read_tree(str(folder / name), self.open_in(folder, name), self.progress)
                for name in names
            }
            root = merge_shards(self.source, roots, names)
            return self.group_layers(root, "Keras sharded weights")
        if not isinstance(value, dict) or "class_name" not in value:
            what = "JSON that is neither a model's config nor an index of sharded weights"
            raise self.make_error(f"{what}. Found: {str(value)[:100]}")
        kind = "Keras config in JSON"
        return WeightFile(self.source, kind, (), **_find_writer(value), config=value)

    def open_in(self, folder: Path, name: str) -> ByteRange:
        """Open a file in a directory; refuse a link to another directory."""
        path = folder / name
        if len(name.encode(errors="replace")) > _LONGEST_NAME:
            raise FileError(f"{self.source}: no name of a file. Found: {name[:50]!r}...")
        if not path.exists():
            where = "in it" if folder == self.path else "beside it"
            raise FileError(f"{self.source}: no file {name} {where}. Save or download it again.")
        if path.resolve().parent != (folder.resolve() / name).parent:
            what = f"{name}: a link to a file elsewhere. Found: {path.resolve()}"
            raise FileError(f"{self.source}: {what}. Copy that file into the directory.")
        return self.open_window(path)


def _find_writer(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Keras version and the backend in a file's metadata."""
    found = {"version": metadata.get("keras_version"), "backend": metadata.get("backend")}
    return {name: value if isinstance(value, str) else None for name, value in found.items()}
