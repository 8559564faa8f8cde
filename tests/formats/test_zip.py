"""Zip archives: members are read in place, and what no Keras writes is refused."""

from __future__ import annotations

import re
import stat
import struct
import warnings
import zipfile
from io import BytesIO

import pytest

from kerastorch._core.errors import FileError
from kerastorch.saving.formats import zip_archive
from kerastorch.saving.formats.byte_range import ByteRange

MEMBERS = {"metadata.json": b"{}", "config.json": b'{"a": 1}', "weights": bytes(range(256)) * 9}
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def written(members=MEMBERS, method=STORED) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of a name that comes twice
        for name, data in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, data)
    return file.getvalue()


def archive_of(data: bytes) -> zip_archive.Archive:
    return zip_archive.Archive("file", ByteRange(BytesIO(data), 0, len(data)))


def patched(data: bytes, name: str, at: int, new: bytes, *, local: bool = False) -> bytes:
    """Change a field of a member's entry in the directory, or of its local header."""
    place = data.index(name.encode()) if local else data.rindex(name.encode())
    begin = place - (30 if local else 46) + at
    return data[:begin] + new + data[begin + len(new) :]


# What is read


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_members_are_read(method):
    archive = archive_of(written(method=method))
    assert list(archive.members) == list(MEMBERS)
    for name, data in MEMBERS.items():
        assert archive.window(name).readall() == data


def test_a_stored_member_is_read_where_it_is():
    data = written()
    window = archive_of(data).window("weights")
    assert (window.start, window.size) == (data.index(MEMBERS["weights"]), len(MEMBERS["weights"]))


def test_a_member_of_a_stream_is_read():
    class Stream(BytesIO):
        def seekable(self):
            return False

        def tell(self):
            raise OSError

    file = Stream()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    assert archive_of(file.getvalue()).window("config.json").readall() == MEMBERS["config.json"]


def test_large_offsets_are_read():
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in MEMBERS.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert archive_of(file.getvalue()).window("weights").readall() == MEMBERS["weights"]


def test_folders_without_data_are_taken():
    members = {"assets/": b"", "assets/words.txt": b"a b", **MEMBERS}
    assert "assets/words.txt" in archive_of(written(members)).members


def test_an_archive_in_a_file_is_read_from_its_window():
    data = written()
    window = ByteRange(BytesIO(b"junk" + data + b"junk"), 4, len(data))
    assert zip_archive.Archive("file", window).window("weights").readall() == MEMBERS["weights"]


# What is refused


def link() -> bytes:
    info = zipfile.ZipInfo("x")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return written([*MEMBERS.items(), (info, "/etc/passwd")])


def compressed(name: str, size: int) -> bytes:
    file = BytesIO(written())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, bytes(size), DEFLATED)
    return file.getvalue()


def overlapping() -> bytes:
    data = written()
    first = struct.pack("<L", data.index(b"config.json") - 30)
    return patched(data, "metadata.json", 42, first)


def hdf5_within() -> bytes:
    return written({"first": bytes(512 - 35) + SIGNATURE + bytes(99), **MEMBERS})


REFUSED = {
    "cut off": (written()[:-1], "a zip archive without an end record"),
    "data behind": (written() + b"x", "a zip archive without an end record"),
    "data before": (b"x" * 9 + written(), "a member that overlaps or follows other data"),
    "twice": (
        written([*MEMBERS.items(), ("weights", b"")]),
        "'weights': two members with the same name",
    ),
    "parent": (written({"../x": b"", **MEMBERS}), "'../x': a member with an unsafe name"),
    "inner": (written({"a/../x": b""}), "'a/../x': a member with an unsafe name"),
    "root": (written({"/x": b""}), "'/x': a member with an unsafe name"),
    "drive": (written({"C:x": b""}), "'C:x': a member with an unsafe name"),
    "backslash": (written({"a\\b": b""}), "'a\\\\b': a member with an unsafe name"),
    "link": (link(), "'x': a link, a device or another member that is not a regular file"),
    "encrypted": (patched(written(), "weights", 8, b"\1\0"), "'weights': an encrypted"),
    "method": (patched(written(), "weights", 10, b"\x0e\0"), "'weights': an encrypted or unusual"),
    "two sizes": (patched(written(), "weights", 24, b"\1\0\0\0"), "'weights': an uncompressed"),
    "overlapping": (overlapping(), "a member that overlaps or follows other data"),
    "two names": (
        patched(written(), "weights", 30, b"weighty", local=True),
        "'weights': a member whose header differs from the directory",
    ),
    "HDF5 too": (hdf5_within(), "a zip archive and an HDF5 file (at byte 512) at once"),
    "no directory": (b"PK\3\4" + bytes(99), "a zip archive without an end record"),
    "damaged directory": (patched(written(), "metadata.json", 0, b"PKPK"), "a damaged zip archive"),
}


@pytest.mark.parametrize("data, message", REFUSED.values(), ids=REFUSED)
def test_what_no_keras_writes_is_refused(data, message):
    with pytest.raises(FileError, match=f"^file: .*{re.escape(message)}"):
        archive_of(data)


def test_hdf5_may_begin_where_its_own_member_does():
    data = written({"a": bytes(512 - 31 - 31), "b": SIGNATURE})
    assert data.index(SIGNATURE) == 512
    assert archive_of(data).window("b").readall() == SIGNATURE


@pytest.mark.parametrize("method", [STORED, DEFLATED])
def test_one_flipped_bit_is_told(method):
    data = written(method=method)
    at = data.index(b"weights") + 20
    archive = archive_of(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    with pytest.raises(FileError, match="'weights': a damaged zip archive"):
        archive.window("weights")


def test_zeros_are_inflated_only_in_bounds(monkeypatch):
    monkeypatch.setattr(zip_archive, "FREE_BYTES", 1000)
    assert archive_of(compressed("x", 1000)).window("x").size == 1000
    with pytest.raises(FileError, match=r"'x': a member compressed to .* bytes. Found: 1001 bytes"):
        archive_of(compressed("x", 1001)).window("x")


def test_a_member_that_lies_about_its_size_is_told():
    data = patched(compressed("x", 5000), "x", 24, struct.pack("<L", 100))
    with pytest.raises(FileError, match="'x': a damaged zip archive"):
        archive_of(data).window("x")


def test_a_member_is_bounded():
    with pytest.raises(FileError, match=r"'weights': more than 99 bytes. Found: 2304"):
        archive_of(written()).window("weights", 99)


def test_members_are_counted(monkeypatch):
    monkeypatch.setattr(zip_archive, "_MOST_MEMBERS", 2)
    with pytest.raises(FileError, match=r"more than 2 members. Found: 3"):
        archive_of(written())


def test_the_directory_is_bounded(monkeypatch):
    monkeypatch.setattr(zip_archive, "_MOST_DIRECTORY", 100)
    with pytest.raises(FileError, match=r"a zip directory of \d+ bytes"):
        archive_of(written())
