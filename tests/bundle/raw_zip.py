"""Zip archives with whatever stands in them, field by field: what no honest program writes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Raw:
    """A member; what is None is as it should be."""

    name: bytes
    content: bytes = b""
    local_name: bytes | None = None
    size: int | None = None
    crc: int | None = None
    local_crc: int | None = None
    method: int = 0
    stored: bytes | None = None
    flags: int = 0
    mode: int = 0o100644
    extra: bytes = b""
    offset: int | None = None


def raw_zip(
    path: Path, members: list[Raw], *, prefix: bytes = b"", suffix: bytes = b"", comment: bytes = b"",
    shift: int = 0, gap: bytes = b"", before_end: bytes = b"",
) -> Path:  # fmt: skip
    """Write such an archive; ``shift`` is added to every offset, ``gap`` stands before each member."""
    body, central = bytearray(), bytearray()
    for raw in members:
        body += gap
        stored = raw.content if raw.stored is None else raw.stored
        crc = zlib.crc32(raw.content) if raw.crc is None else raw.crc
        size = len(raw.content) if raw.size is None else raw.size
        packed = size if raw.stored is None else len(stored)
        local_name = raw.name if raw.local_name is None else raw.local_name
        local_crc = crc if raw.local_crc is None else raw.local_crc
        offset = len(body) + shift if raw.offset is None else raw.offset
        body += struct.pack(
            "<4sHHHHHIIIHH", b"PK\3\4", 20, raw.flags, raw.method, 0, 0x21, local_crc, packed, size,
            len(local_name), len(raw.extra),
        ) + local_name + raw.extra + stored  # fmt: skip
        central += struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\1\2", 0x314, 20, raw.flags, raw.method, 0, 0x21, crc, packed, size,
            len(raw.name), 0, 0, 0, 0, raw.mode << 16, offset,
        ) + raw.name  # fmt: skip
    end = struct.pack(
        "<4sHHHHIIH", b"PK\5\6", 0, 0, len(members) & 0xFFFF, len(members) & 0xFFFF, len(central), len(body) + shift,
        len(comment),
    )  # fmt: skip
    path.write_bytes(prefix + body + central + before_end + end + comment + suffix)
    return path


def plain(members: dict[str, bytes]) -> list[Raw]:
    """Members as they should be."""
    return [Raw(name.encode(), content) for name, content in members.items()]
