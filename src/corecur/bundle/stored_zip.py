"""A zip that only stores. For given members there is one archive in the world: whatever differs from it is refused.

    local header, name, content     of each member, one after the other from byte 0
    central entry, name             of each member, in the same order
    end record                      22 bytes, and nothing behind it

So there is no room for a prefix, a gap, an overlap, a comment, an extra field, a descriptor, a second directory or a
zip64 record: a bundle in one file has less than 4 GiB, a larger one is a folder.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from corecur.bundle.layout import Layout
from corecur.bundle.member_files import Region, check_size, open_plain, unknown_member
from corecur.errors import BundleError

MOST_BYTES = (1 << 32) - 1

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_VERSION, _UNIX, _1980 = 20, 3 << 8, 0x21
_MODE = 0o100644 << 16
_LONGEST_DIRECTORY = 1 << 14


@dataclass(frozen=True)
class Entry:
    """What an archive says of a member."""

    name: str
    crc: int
    size: int

    def local(self) -> bytes:
        """Its header before the content."""
        name = self.name.encode("ascii")
        sizes = (self.crc, self.size, self.size, len(name), 0)
        return _LOCAL.pack(b"PK\x03\x04", _VERSION, 0, 0, 0, _1980, *sizes) + name

    def central(self, offset: int) -> bytes:
        """Its entry in the directory; ``offset`` is where its header stands."""
        name = self.name.encode("ascii")
        sizes = (self.crc, self.size, self.size, len(name), 0, 0, 0, 0, _MODE, offset)
        return _CENTRAL.pack(b"PK\x01\x02", _UNIX | _VERSION, _VERSION, 0, 0, 0, _1980, *sizes) + name


def directory(entries: Iterable[Entry]) -> bytes:
    """The central directory and the end record behind such members.

    >>> len(directory([Entry("model.json", 0, 5)]))
    78
    """
    central, offset, count = b"", 0, 0
    for entry in entries:
        central += entry.central(offset)
        offset += len(entry.local()) + entry.size
        count += 1
    return central + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(central), offset, 0)


def read_zip(path: Path, layout: Layout) -> dict[str, Region]:
    """The members of such an archive, as stretches of the open file; nothing is extracted.

    BundleError where the file is not the one archive of its members, or they are none of a model file.
    """
    whole = open_plain(path)

    def bytes_at(start: int, count: int) -> bytes:
        return os.pread(whole.file.descriptor, count, start)

    tail = bytes_at(max(0, whole.size - _END.size), _END.size)
    if len(tail) < _END.size or not tail.startswith(b"PK\x05\x06"):
        raise BundleError("not-a-bundle", "this is not a corecur model file, or not all of it", where=path)
    *_, count, size, start, _ = _END.unpack(tail)
    if size > _LONGEST_DIRECTORY or start + size + _END.size != whole.size:
        raise _odd("its directory does not fit", path)
    central = bytes_at(start, size)
    entries = _entries(central, count, layout, path)
    if central + tail != directory(entries):
        raise _odd("its directory is not as this program writes it", path)
    found, place = {}, 0
    for entry in entries:
        header = entry.local()
        if bytes_at(place, len(header)) != header:
            raise _odd(f"the header before {entry.name} is another one than the directory has", path)
        found[entry.name] = Region(whole.file, place + len(header), entry.size, entry.crc)
        place += len(header) + entry.size
    return found


def _entries(central: bytes, count: int, layout: Layout, path: Path) -> list[Entry]:
    """What the directory lists; here only what has a rule of its own is refused."""
    entries: dict[str, Entry] = {}
    place = 0
    for _ in range(count):
        if len(central) - place < _CENTRAL.size or not central.startswith(b"PK\x01\x02", place):
            raise _odd("its directory does not fit", path)
        fields = _CENTRAL.unpack_from(central, place)
        flags, method, crc, stored, size, length = (fields[number] for number in (3, 4, 7, 8, 9, 10))
        name = central[place + _CENTRAL.size : place + _CENTRAL.size + length].decode("latin-1")
        if name not in layout.members:
            raise unknown_member(name, path)
        if name in entries:
            raise BundleError("duplicate-member", f"{name} stands in the file twice", where=path)
        if method or flags & 1 or stored != size:
            raise BundleError("not-stored", f"{name} is compressed or encrypted", where=path)
        kind = fields[15] >> 16
        if kind and not stat.S_ISREG(kind):
            raise BundleError("not-a-file", f"{name} is not a plain file", where=path)
        check_size(name, size, layout, path)
        entries[name] = Entry(name, crc, size)
        place += _CENTRAL.size + length + fields[11] + fields[12]
    return list(entries.values())


def _odd(reason: str, path: Path) -> BundleError:
    return BundleError(
        "odd-archive",
        f"this archive is not of the one form that is read: {reason}",
        where=path,
        do="copy it again, or unpack it with an archive tool and give the folder",
    )
