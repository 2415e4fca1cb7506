"""The members of a folder as open files: plain files of one name each, read from the descriptor that was checked."""

from __future__ import annotations

import os
import stat
import weakref
import zlib
from dataclasses import dataclass
from pathlib import Path

from corecur.bundle.layout import Layout
from corecur.errors import BundleError

_PLAIN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe opens at once, and is then seen to be one


class OpenFile:
    """A descriptor that is closed when nobody needs it any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)


@dataclass(frozen=True)
class Region:
    """Where a member's bytes stand: in a folder all of a file, in a zip a stretch of it with a checksum of its own."""

    file: OpenFile
    start: int
    size: int
    crc: int | None = None

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill ``buffer`` from ``offset`` of the member; EOFError where the file has become shorter."""
        while len(buffer):
            count = os.preadv(self.file.descriptor, [buffer], self.start + offset)
            if not count:
                raise EOFError("the file became shorter while it was read")
            buffer, offset = buffer[count:], offset + count

    def content(self) -> bytes:
        """All of it; for members that are small."""
        content = bytearray(self.size)
        self.read_into(memoryview(content), 0)
        if self.crc is not None and zlib.crc32(content) != self.crc:
            raise EOFError("its checksum in the archive is another one")
        return bytes(content)


def open_plain(path: Path, *, follow: bool = True) -> Region:
    """A plain file as one region; BundleError where something else lies there, OSError where it cannot be opened."""
    file = OpenFile(os.open(path, _PLAIN if follow else _PLAIN | os.O_NOFOLLOW))
    status = os.fstat(file.descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise BundleError("not-a-file", "this is neither a folder nor a plain file", where=path)
    return Region(file, 0, status.st_size)


def read_folder(path: Path, layout: Layout) -> dict[str, Region]:
    """The members of a folder, opened without following a link; ``path`` itself may be one, for it is the caller's.

    BundleError for other names, links, hard links, pipes, devices, folders and what is too large.
    """
    folder = OpenFile(os.open(path, _PLAIN | os.O_DIRECTORY))
    found = {}
    for name in sorted(os.listdir(folder.descriptor)):
        if name not in layout.members:
            raise unknown_member(name, path)
        status = os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
        _check_plain(name, status, path)  # before opening, which a device may notice
        file = OpenFile(os.open(name, _PLAIN | os.O_NOFOLLOW, dir_fd=folder.descriptor))
        status = os.fstat(file.descriptor)
        _check_plain(name, status, path)
        check_size(name, status.st_size, layout, path)
        found[name] = Region(file, 0, status.st_size)
    return found


def _check_plain(name: str, status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BundleError("not-a-file", f"{name} is not a plain file", where=path)
    if status.st_nlink > 1:  # 0 where it was replaced since: what was opened is still whole
        raise BundleError("not-a-file", f"{name} is a file that has other names too", where=path)


def check_size(name: str, size: int, layout: Layout, path: Path) -> None:
    """Refuse a member larger than any of its kind."""
    most = layout.limits[name].size
    if size > most:
        raise BundleError("too-large", f"{name} has {size:,} bytes, at most {most:,} are read", where=path)


def unknown_member(name: str, path: Path) -> BundleError:
    """The error for a name that no such file has, shown so that it cannot do anything."""
    return BundleError("unknown-member", f"a model file has no member {ascii(name[:80])}", where=path)
