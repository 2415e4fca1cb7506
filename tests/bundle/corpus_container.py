"""Attacks on the container: names, links, zip structure, foreign formats."""

from __future__ import annotations

import bz2
import lzma
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .good_bundles import as_folder, pictures, with_manifest
from .marker import Payload, payload
from .raw_zip import Raw, plain, raw_zip

Row = tuple[str, str, Callable[[Path], Path], str, Any]
CONTAINERS: list[Row] = []


def row(id_: str, what: str, code: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    def add(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
        CONTAINERS.append((id_, what, make, code, "file"))
        return make

    return add


def archive(
    id_: str, what: str, code: str, change: Callable[[list[Raw]], list[Raw]], door: str = "file", **options: Any
) -> None:
    """A zip whose members are changed, or that is framed otherwise."""
    CONTAINERS.append(
        (id_, what, lambda folder: raw_zip(folder / "m.corecur", change(plain(pictures())), **options), code, door)
    )


def folder_with(id_: str, what: str, code: str, spoil: Callable[[Path, Path], object]) -> None:
    """A folder bundle, spoilt by ``spoil(bundle, where there is room outside it)``."""

    def make(folder: Path) -> Path:
        path = as_folder(folder / "m", pictures())
        spoil(path, folder)
        return path

    CONTAINERS.append((id_, what, make, code, "file"))


def changed(members: list[Raw], name: str, **fields: Any) -> list[Raw]:
    return [Raw(**(vars(raw) | fields)) if raw.name == name.encode() else raw for raw in members]


def same(members: list[Raw]) -> list[Raw]:
    return members


# names

for number, name in enumerate(
    [b"../../x", b"/x", b"C:\\x", b"..\\..\\x", b"model.json\0.txt", b"assets/x", b"evil.py"]
):
    ids = ("A01", "A02", "A03", "A03b", "A04", "A29", "A29b")
    archive(ids[number], f"a member called {name!r}", "unknown-member", lambda all_, n=name: [*all_, Raw(n, b"x")])
archive("A10", "a member twice, good and evil", "duplicate-member", lambda all_: [*all_, Raw(b"model.json", b"{}")])
archive("A11", "a twin in capitals", "unknown-member", lambda all_: [*all_, Raw(b"Model.json", b"{}")])
archive("A12", "a composed and a decomposed name", "unknown-member",
        lambda all_: [*all_, Raw("labéls.json".encode()), Raw("labe\u0301ls.json".encode())])  # fmt: skip
archive("A13", "another name before the content", "odd-archive",
        lambda all_: changed(all_, "model.json", local_name=b"../../x.json"))  # fmt: skip
archive("A05", "a member that is a link", "not-a-file",
        lambda all_: changed(all_, "labels.json", mode=0o120777, content=b"/etc/passwd"))  # fmt: skip

# links, pipes and folders


def _hard_link(path: Path, room: Path) -> None:
    (room / "other").hardlink_to(path / "labels.json")


def _link(path: Path, room: Path) -> None:
    (path / "labels.json").rename(room / "other")
    (path / "labels.json").symlink_to(room / "other")


def _linked_folder(path: Path, room: Path) -> None:
    (room / "elsewhere").mkdir()
    (path / "labels.json").unlink()
    (path / "labels.json").symlink_to(room / "elsewhere", target_is_directory=True)


def _linked_parent(path: Path, room: Path) -> None:
    (room / "elsewhere").mkdir()
    (path / "labels.json").rename(room / "elsewhere" / "labels.json")
    (path / "sub").symlink_to(room / "elsewhere", target_is_directory=True)


def _pipe(path: Path, room: Path) -> None:
    (path / "labels.json").unlink()
    os.mkfifo(path / "labels.json")


def _socket(path: Path, room: Path) -> None:
    (path / "labels.json").unlink()
    here = os.getcwd()
    os.chdir(path)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("labels.json")
    finally:
        os.chdir(here)


def _folder(path: Path, room: Path) -> None:
    (path / "labels.json").unlink()
    (path / "labels.json").mkdir()


folder_with("A06", "a member with a second name outside", "not-a-file", _hard_link)
folder_with("A07", "a member that is a link", "not-a-file", _link)
folder_with("A08", "a member that is a link to a folder", "not-a-file", _linked_folder)
folder_with("A08b", "a linked folder with the member inside", "unknown-member", _linked_parent)
folder_with("A09", "a pipe for a member", "not-a-file", _pipe)
folder_with("A09b", "a socket for a member", "not-a-file", _socket)
folder_with("A09c", "a folder for a member", "not-a-file", _folder)


@row("A09d", "a pipe for the file", "not-a-file")
def _(folder: Path) -> Path:
    os.mkfifo(folder / "m.corecur")
    return folder / "m.corecur"


# sizes, checksums, compression

archive("A14", "a size larger than what is there", "odd-archive",
        lambda all_: changed(all_, "model.json", size=1 << 21))  # fmt: skip
archive("A14b", "a size smaller than what is there", "odd-archive", lambda all_: changed(all_, "card.md", size=2))
archive("A15", "a wrong checksum", "damaged", lambda all_: changed(all_, "card.md", crc=1))
archive("A15w", "a wrong checksum of the weights", "damaged",
        lambda all_: changed(all_, "weights.safetensors", crc=1), door="build")  # fmt: skip
archive("A15b", "two checksums", "odd-archive", lambda all_: changed(all_, "weights.safetensors", local_crc=1))


def _deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


_ZEROS = 60 << 20
for id_, method, pack in (
    ("A16", 8, _deflate),
    ("A17", 12, bz2.compress),
    ("A18", 14, lambda content: b"\x09\x04\x05\0" + lzma.compress(content, lzma.FORMAT_ALONE, preset=0)[:-8]),
):

    def _bomb(folder: Path, method: int = method, pack: Callable[[bytes], bytes] = pack) -> Path:
        bomb = Raw(b"card.md", b"", size=1 << 20, stored=pack(bytes(_ZEROS)), method=method, crc=0)
        return raw_zip(folder / "m.corecur", [*(r for r in plain(pictures()) if r.name != b"card.md"), bomb])

    CONTAINERS.append((id_, f"a bomb of zeros, method {method}", _bomb, "not-stored", "file"))
archive("A27", "an encrypted member", "not-stored", lambda all_: changed(all_, "model.json", flags=1))
archive("A27b", "sizes after the content", "odd-archive", lambda all_: changed(all_, "model.json", flags=8))
archive("A27c", "an extra field", "odd-archive", lambda all_: changed(all_, "model.json", extra=b"UT\0\0"))


# structure


@row("A19", "an archive in the archive", "unknown-member")
def _(folder: Path) -> Path:
    inner = raw_zip(folder / "inner", plain(pictures())).read_bytes()
    return raw_zip(folder / "m.corecur", [*plain(pictures()), Raw(b"inner.zip", inner)])


@row("A19b", "an archive in place of a member", "bad-json")
def _(folder: Path) -> Path:
    inner = raw_zip(folder / "inner", plain(pictures())).read_bytes()
    return raw_zip(folder / "m.corecur", plain(with_manifest(pictures() | {"model.json": inner})))


archive("A20", "two members in one place", "odd-archive", lambda all_: changed(all_, "card.md", offset=0))
archive("A20b", "room between members", "odd-archive", same, gap=b"\0" * 16)
archive("A21", "20,000 empty members", "odd-archive", lambda all_: [*all_, *[Raw(b"%d" % n) for n in range(20_000)]])
for id_, prefix in (("A22", b"\x7fELF" + bytes(60)), ("A22b", b"%PDF-1.7\n"), ("A22c", b"<html><script>")):
    archive(id_, f"a file that begins as {prefix[:4]!r}", "odd-archive", same, prefix=prefix)
    archive(f"{id_}+", "the same with offsets that fit", "odd-archive", same, prefix=prefix, shift=len(prefix))
archive("A23", "bytes behind the end", "not-a-bundle", same, suffix=b"more")


@row("A24", "two archives, one after the other", "odd-archive")
def _(folder: Path) -> Path:
    evil = with_manifest(pictures() | {"card.md": b"evil"})
    first = raw_zip(folder / "first", plain(pictures())).read_bytes()
    second = raw_zip(folder / "second", plain(evil)).read_bytes()
    (folder / "m.corecur").write_bytes(first + second)
    return folder / "m.corecur"


_END = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 46, 0, 0)
archive("A25", "a comment that holds a second end", "odd-archive", same, comment=b"c" * 65_000 + _END)
archive("A26", "a zip64 locator that points elsewhere", "odd-archive", same,
        before_end=struct.pack("<4sIQI", b"PK\6\7", 0, 12345, 1))  # fmt: skip


@row("A28", "half a file", "not-a-bundle")
def _(folder: Path) -> Path:
    whole = raw_zip(folder / "whole", plain(pictures())).read_bytes()
    (folder / "m.corecur").write_bytes(whole[: len(whole) // 2])
    return folder / "m.corecur"


for id_, content in (("A30", b""), ("A30b", b"P")):

    def _short(folder: Path, content: bytes = content) -> Path:
        (folder / "m.corecur").write_bytes(content)
        return folder / "m.corecur"

    CONTAINERS.append((id_, f"a file of {len(content)} bytes", _short, "not-a-bundle", "file"))


@row("A30c", "a folder with nothing but a manifest", "incomplete")
def _(folder: Path) -> Path:
    return as_folder(folder / "m.corecur", {"manifest.json": pictures()["manifest.json"]})


# foreign formats


def _foreign(id_: str, what: str, code: str, fill: Callable[[Path, Path], object]) -> None:
    def make(folder: Path) -> Path:
        fill(folder / "m.corecur", folder)
        return folder / "m.corecur"

    CONTAINERS.append((id_, what, make, code, "file"))


def _archive_of(path: Path, names: list[str], content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in names:
            made.writestr(name, content)


def _torch_script(path: Path, room: Path) -> None:
    name = "model/code/__torch__.py"
    _archive_of(path, ["model/data.pkl", name, "model/constants.pkl", "model/version"], payload(room))


_foreign("A31", "a pickle", "not-a-bundle", lambda path, room: path.write_bytes(payload(room)))
_foreign("A31b", "what torch.save writes", "odd-archive", lambda path, room: torch.save({"w": Payload(room)}, path))
_foreign("A31c", "what torch.save wrote before", "not-a-bundle",
         lambda path, room: torch.save({"w": Payload(room)}, path, _use_new_zipfile_serialization=False))  # fmt: skip
_foreign("A31d", "a TorchScript archive", "unknown-member", _torch_script)
_foreign("A31e", "HDF5", "not-a-bundle", lambda path, room: path.write_bytes(b"\x89HDF\r\n\x1a\n" + payload(room)))
_foreign("A31f", "what Keras writes", "unknown-member",
         lambda path, room: _archive_of(path, ["config.json", "model.weights.h5"], payload(room)))  # fmt: skip
_foreign("A31g", "NumPy's archive of objects", "unknown-member",
         lambda path, room: np.savez(path.open("wb"), a=np.array([Payload(room)], dtype=object)))  # fmt: skip
_foreign(
    "A31h", "plain safetensors", "not-a-bundle", lambda path, room: path.write_bytes(pictures()["weights.safetensors"])
)
