"""Tensors in the safetensors format, read from an open file in one pass: checked, hashed and placed chunk by chunk.

    8 bytes     length of the header, little endian
    header      {"name": {"dtype": …, "shape": […], "data_offsets": [begin, end]}, …}, padded with spaces
    data        the tensors, one after the other

The format's own library maps a file or copies it; neither suits a file that may change, or that stands inside a zip.
What it accepts and we do not: names or keys twice, other fields, other order of bytes, values of BOOL besides 0 and 1.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.bundle.layout import DTYPES, Limit
from corecur.bundle.member_files import Region
from corecur.bundle.strict_json import is_plain, parse_json
from corecur.errors import BundleError

#: What each tensor is, by its name: shape and dtype.
TensorTable = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
#: Takes bytes and puts them where they go.
Write = Callable[[bytes | memoryview], object]

_HEADER = Limit(1 << 21, 400_000)
_MOST_AXES, _LONGEST_AXIS = 16, 1 << 48
_CHUNK = 1 << 20
_LONG, _WAITING = 4 * _CHUNK, 2
# Of each type of real numbers the whole numbers of its width, and the bits of the exponent.
_EXPONENTS: Mapping[torch.dtype, tuple[Any, int]] = {
    torch.float64: (np.uint64, 0x7FF << 52),
    torch.float32: (np.uint32, 0xFF << 23),
    torch.bfloat16: (np.uint16, 0xFF << 7),
    torch.float16: (np.uint16, 0x1F << 10),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# The library's order of types in a file: the last first, so that every tensor begins at a multiple of its size.
_ORDER = ("BOOL", "U8", "I8", "F16", "BF16", "I32", "F32", "F64", "I64")


def table_of(tensors: Mapping[str, Tensor]) -> TensorTable:
    """Shape and dtype of each tensor.

    >>> table_of({"w": torch.zeros(2, 3)})
    {'w': ((2, 3), torch.float32)}
    """
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}


@dataclass(frozen=True)
class _Entry:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    size: int


class TensorFile:
    """The tensors of an open member; nothing is allocated for them before they are known to be those expected."""

    def __init__(self, region: Region, *, where: Path, sha256: str | None = None) -> None:
        self.where = where
        self._region = region
        self._sha256 = sha256

    @property
    def table(self) -> TensorTable:
        """Shape and dtype of each tensor, from the header alone."""
        return {entry.name: (entry.shape, entry.dtype) for entry in self._entries}

    def check(self, expected: TensorTable) -> None:
        """Refuse tensors that are not exactly these, by name, shape and dtype."""
        found = self.table
        missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        if missing or extra:
            lists = f"missing {missing[:5]}, unexpected {extra[:5]}"
            raise BundleError("other-tensors", f"the weights are not those of the model: {lists}", where=self.where)
        for name, (shape, dtype) in expected.items():
            if found[name] != (tuple(shape), dtype):
                got = "{} {}, not {} {}".format(*found[name], tuple(shape), dtype)
                raise BundleError("other-tensors", f"tensor {name!r} is {got}", where=self.where)

    def load(self, expected: TensorTable) -> dict[str, Tensor]:
        """New tensors with the values of the file, which must hold exactly those expected, all of them finite."""
        self.check(expected)
        tensors = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in self.table.items()}
        self._read(tensors)
        return tensors

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Put the values of the file into these tensors, in the processor's memory, without a second copy of all.

        Where that fails, some of them hold values that were never checked: throw them away.
        """
        self.check(table_of(tensors))
        self._read(tensors)

    def verify(self) -> None:
        """Read everything, keep nothing: is it what the manifest promises, and finite?"""
        self._read(None)

    @cached_property
    def _header(self) -> bytes:
        """The first 8 bytes and the header behind them."""
        length = int.from_bytes(self._bytes(0, min(8, self._region.size)), "little")
        if self._region.size < 8 or length > self._region.size - 8:
            raise self._refuse("it is shorter than it says")
        if length > _HEADER.size:
            raise self._refuse(f"a header of {length:,} bytes, at most {_HEADER.size:,} are read")
        return self._bytes(0, 8 + length)

    @cached_property
    def _entries(self) -> list[_Entry]:
        """What the header lists, in the order of the bytes."""
        text = self._header[8:]
        if not text.startswith(b"{"):
            raise self._refuse("its header does not begin with {")
        header = parse_json(text.rstrip(b" "), _HEADER, where=self.where, name="the header of the weights")
        metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise self._refuse("its header is not of the format's form")
        entries = sorted((self._entry(*item) for item in header.items()), key=lambda e: (e.begin, e.size))
        end = 0
        for entry in entries:
            if entry.begin != end:
                raise self._refuse(f"tensor {entry.name!r} does not begin where the one before it ends")
            end += entry.size
        if end != self._region.size - len(self._header):
            raise self._refuse("the tensors do not fill the file")
        return entries

    def _entry(self, name: str, found: Any) -> _Entry:
        if not is_plain(name, most=512):
            raise self._refuse(f"a tensor called {ascii(name[:80])}")
        if not isinstance(found, dict) or set(found) != {"dtype", "shape", "data_offsets"}:
            raise self._refuse(f"the entry of tensor {name!r} is not of the format's form")
        dtype, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise self._refuse(f"tensor {name!r} is of a type that is not read: {ascii(dtype)[:80]}")
        if not _whole(shape) or len(shape) > _MOST_AXES or any(size > _LONGEST_AXIS for size in shape):
            raise self._refuse(f"tensor {name!r} has no shape of sizes that are read")
        size = prod(shape) * DTYPES[dtype].itemsize
        if not _whole(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != size:
            raise self._refuse(f"tensor {name!r} has other bytes than its shape needs")
        return _Entry(name, DTYPES[dtype], tuple(shape), offsets[0], size)

    def _read(self, tensors: Mapping[str, Tensor] | None) -> None:
        """The one pass over the file, into these tensors or into nothing."""
        spoilt = ""
        with _Digest(checksum=self._region.crc is not None, long=self._region.size > _LONG) as digest:
            digest.update(memoryview(self._header))
            for entry in self._entries:
                target = None if tensors is None else tensors[entry.name].detach()
                whole = target
                if target is not None and not target.is_contiguous():
                    whole = torch.empty(entry.shape, dtype=entry.dtype)
                for chunk, offset in _pieces(whole, entry):
                    self._place(chunk, len(self._header) + offset)
                    digest.update(chunk.numpy().data)
                    if not spoilt and not _is_sound(chunk, entry.dtype):
                        spoilt = entry.name
                if target is not None and whole is not None and whole is not target:
                    target.copy_(whole)  # the kernels of a convolution lie in another order than the file's
        if self._sha256 not in (None, digest.sha256) or self._region.crc not in (None, digest.crc):
            raise BundleError(
                "damaged", "the weights are not what the manifest promises", where=self.where,
                do="copy the model file again",
            )  # fmt: skip
        if spoilt:
            raise BundleError(
                "not-finite", f"tensor {spoilt!r} holds NaN, infinity, or a truth value besides 0 and 1",
                where=self.where,
            )  # fmt: skip

    def _place(self, chunk: Tensor, offset: int) -> None:
        try:
            self._region.read_into(chunk.numpy().data, offset)
        except EOFError as error:
            raise BundleError("damaged", f"the weights cannot be read: {error}", where=self.where) from error
        except OSError as error:
            raise BundleError("unreadable", f"the weights cannot be read: {error}", where=self.where) from error

    def _bytes(self, start: int, size: int) -> bytes:
        content = torch.empty(size, dtype=torch.uint8)
        self._place(content, start)
        return content.numpy().tobytes()

    def _refuse(self, reason: str) -> BundleError:
        return BundleError("bad-weights", f"the weights cannot be read: {reason}", where=self.where)


class _Digest:
    """SHA-256, and for archives CRC-32, of pieces in order; of long files on a thread, beside reading and checking.

    A piece must stay as it is until the one after the next is given.
    """

    def __init__(self, *, checksum: bool, long: bool) -> None:
        self._hash = hashlib.sha256()
        self._checksum = checksum
        self._thread = ThreadPoolExecutor(1) if long else None
        self._waiting: deque[Future[None]] = deque()
        self.crc = 0

    @property
    def sha256(self) -> str:
        """The digest of all pieces."""
        return self._hash.hexdigest()

    def update(self, piece: memoryview) -> None:
        """Add the next piece."""
        if self._thread is None:
            self._add(piece)
            return
        self._waiting.append(self._thread.submit(self._add, piece))
        if len(self._waiting) > _WAITING:
            self._waiting.popleft().result()

    def _add(self, piece: memoryview) -> None:
        self._hash.update(piece)
        if self._checksum:
            self.crc = zlib.crc32(piece, self.crc)

    def __enter__(self) -> _Digest:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown()


def _pieces(tensor: Tensor | None, entry: _Entry) -> Iterator[tuple[Tensor, int]]:
    """The memory of a tensor piece by piece, each with its place in the data; without one, memory that is reused."""
    memory = None if tensor is None else _bytes_of(tensor)
    count = 0 if memory is not None else _WAITING + 2
    scratch = [torch.empty(min(_CHUNK, entry.size), dtype=torch.uint8) for _ in range(count)]
    for number, start in enumerate(range(0, entry.size, _CHUNK)):
        size = min(_CHUNK, entry.size - start)
        piece = scratch[number % len(scratch)][:size] if memory is None else memory[start : start + size]
        yield piece, entry.begin + start


def _whole(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _bytes_of(tensor: Tensor) -> Tensor:
    """The memory of a contiguous tensor as bytes."""
    return tensor.view(-1).view(torch.uint8)


def _is_sound(piece: Tensor, dtype: torch.dtype) -> bool:
    """Whether all values of these bytes are finite; of truth values, whether they are 0 or 1."""
    if dtype == torch.bool:
        return int(piece.numpy().max()) <= 1
    if dtype not in _EXPONENTS:
        return True
    # As whole numbers, and in NumPy: torch would share a megabyte out among threads, which costs more than it saves.
    kind, exponent = _EXPONENTS[dtype]
    bits: Any = piece.numpy().view(kind)
    return int((bits & kind(exponent)).max()) < exponent  # all ones where a number is infinite or none


def tensor_content(tensors: Mapping[str, Tensor]) -> Callable[[Write], None]:
    """What writes such a file, byte for byte the library's; of tensors elsewhere one at a time is copied.

    >>> parts = []
    >>> tensor_content({"w": torch.zeros(2)})(parts.append)
    >>> bytes(parts[0])[8:]
    b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  '
    """
    order = sorted(tensors, key=lambda name: (-_ORDER.index(_NAMES[tensors[name].dtype]), name))
    header, offset = {}, 0
    for name in order:
        tensor = tensors[name]
        end = offset + tensor.numel() * tensor.itemsize
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def write_all(write: Write) -> None:
        write(len(text).to_bytes(8, "little") + text)
        for name in order:
            for chunk in _chunks(tensors[name]):
                write(chunk)

    return write_all


def _chunks(tensor: Tensor) -> Iterator[memoryview]:
    memory = _bytes_of(tensor.detach().cpu().contiguous()).numpy().data
    for start in range(0, len(memory), _CHUNK):
        yield memory[start : start + _CHUNK]
