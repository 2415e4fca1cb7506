"""Attacks through the tensors: the header's form, what it promises, and the values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from .good_bundles import as_folder, pictures, with_manifest
from .marker import payload

Row = tuple[str, str, Callable[[Path], Path], str, Any]
WEIGHTS: list[Row] = []

_NAME = b'"conv2d.bias"'


def raw(id_: str, what: str, code: str, change: Callable[[bytes], bytes], door: str = "network") -> None:
    """Other bytes for the weights, the manifest fitting."""

    def make(folder: Path) -> Path:
        content = change(pictures()["weights.safetensors"])
        return as_folder(folder / "m", with_manifest(pictures() | {"weights.safetensors": content}))

    WEIGHTS.append((id_, what, make, code, door))


def tensors(id_: str, what: str, code: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Other tensors in a file of the right form."""
    raw(id_, what, code, lambda good: save(change(load(good))))


def text(id_: str, what: str, code: str, change: Callable[[bytes], bytes]) -> None:
    """Another header, as long as it likes, before the same data."""

    def both(good: bytes) -> bytes:
        length = int.from_bytes(good[:8], "little")
        header = change(good[8 : 8 + length].rstrip())
        return len(header).to_bytes(8, "little") + header + good[8 + length :]

    raw(id_, what, code, both)


def entry(id_: str, what: str, code: str, **fields: Any) -> None:
    """Another entry for the first bias."""

    def change(header: bytes) -> bytes:
        found = json.loads(header)
        found["conv2d.bias"] |= fields
        return json.dumps(found).encode()

    text(id_, what, code, change)


def length(id_: str, what: str, value: int) -> None:
    raw(id_, what, "bad-weights", lambda good: value.to_bytes(8, "little") + good[8:])


def more(header: bytes, entries: bytes) -> bytes:
    return header[:-1] + b"," + entries + b"}"


length("C01", "a header of no length", 0)
raw("C02", "a file of five bytes", "bad-weights", lambda good: good[:5])
length("C03", "a header of 2^63 bytes", 1 << 63)
length("C04", "a header of 2^64-1 bytes", (1 << 64) - 1)
length("C05", "a header of 100 MB and one", 100_000_001)
text("C06", "a header that is no UTF-8", "bad-json", lambda header: header.replace(b"conv2d", b"conv\xff\xff"))
text("C07", "a header that is no JSON", "bad-json", lambda header: header[:-1])
text("C07b", "a header that is a list", "bad-weights", lambda header: b"[" + header + b"]")
raw("C08", "data cut off", "bad-weights", lambda good: good[:-4])
raw("C09", "data behind the last tensor", "bad-weights", lambda good: good + bytes(4))
entry("C10", "a hole before a tensor", "bad-weights", data_offsets=[64, 80])
text(
    "C11",
    "two tensors that overlap",
    "bad-weights",
    lambda header: more(header, b'"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}'),
)
text(
    "C12",
    "two tensors in one place",
    "bad-weights",
    lambda header: more(header, b'"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'),
)
text("C13", "a tensor twice, in one place", "duplicate-key",
     lambda header: more(header, _NAME + b':{"dtype":"U8","shape":[16],"data_offsets":[0,16]}'))  # fmt: skip
text(
    "C14",
    "a key of the metadata twice",
    "duplicate-key",
    lambda header: more(header, b'"__metadata__":{"a":"1","a":"2"}'),
)
text("C14b", "metadata that is no text", "bad-weights", lambda header: more(header, b'"__metadata__":{"a":1}'))
text("C15", "space before the header", "bad-weights", lambda header: b" " + header)
entry("C16", "a field more in an entry", "bad-weights", url="http://localhost/")
text("C17", "an empty tensor where another begins", "other-tensors",
     lambda header: more(header, b'"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'))  # fmt: skip
text("C18", "an empty tensor with 2^62 columns", "bad-weights",
     lambda header: more(header, b'"x":{"dtype":"F32","shape":[0,%d],"data_offsets":[0,0]}' % 2**62))  # fmt: skip
entry("C19", "a thousand axes", "bad-weights", shape=[1] * 999 + [4])
entry("C20", "sizes whose product wraps round", "bad-weights", shape=[4194305, 4194305, 211106198978564])
entry("C20b", "a size below zero", "bad-weights", shape=[-4])
entry("C20c", "a size that is true", "bad-weights", shape=[True])
entry("C20d", "an offset that is no whole number", "bad-weights", data_offsets=[0, 16.0])
entry("C20e", "a type that nobody knows", "bad-weights", dtype="f32")
entry("C20f", "a type with a path", "bad-weights", dtype="../x")
tensors(
    "C21", "a tensor of another type", "other-tensors", lambda good: good | {"dense.bias": good["dense.bias"].half()}
)
tensors("C21b", "whole numbers of the same size", "other-tensors",
        lambda good: good | {"dense.bias": good["dense.bias"].view(torch.int32)})  # fmt: skip
tensors("C22", "a matrix turned over", "other-tensors",
        lambda good: good | {"dense.weight": good["dense.weight"].T.contiguous()})  # fmt: skip
tensors("C23", "a tensor less", "other-tensors", lambda good: {k: v for k, v in good.items() if k != "dense.bias"})
tensors("C24", "a tensor more", "other-tensors", lambda good: good | {"dense.more": torch.zeros(1)})
tensors(
    "C25", "nothing but NaN", "not-finite", lambda good: {k: torch.full_like(v, torch.nan) for k, v in good.items()}
)
tensors("C25b", "one infinity", "not-finite", lambda good: good | {"dense.bias": torch.tensor([0.0, -torch.inf, 1.0])})
text("C28", "100,000 empty tensors more", "bad-weights", lambda header: more(header, b",".join(
    b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(100_000))))  # fmt: skip
text("C28b", "20,000 empty tensors more", "other-tensors", lambda header: more(header, b",".join(
    b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % n for n in range(20_000))))  # fmt: skip
for number, (name, code) in enumerate(
    [(b"<script>", "other-tensors"), (b"../x", "other-tensors"), (b"a\\u0000", "bad-weights"), (b"", "bad-weights"),
     (b"a" * 5000, "bad-weights"), (b"__class__", "other-tensors")]
):  # fmt: skip
    text(f"C29.{number}", f"a tensor called {name[:9]!r}", code,
         lambda header, name=name: header.replace(_NAME, b'"' + name + b'"'))  # fmt: skip
raw("C32", "a pickle behind the tensors", "bad-weights", lambda good: good + payload(Path(".")))
raw("C32b", "a pickle in place of the tensors", "bad-weights", lambda good: payload(Path(".")))


def _of_another(folder: Path) -> Path:
    other = {name: tensor[..., :1].contiguous() for name, tensor in load(pictures()["weights.safetensors"]).items()}
    return as_folder(folder / "m", with_manifest(pictures() | {"weights.safetensors": save(other)}))


WEIGHTS.append(("C30", "the weights of another network", _of_another, "other-tensors", "network"))


def _swapped(folder: Path) -> Path:
    good = pictures()["weights.safetensors"]
    return as_folder(folder / "m", pictures() | {"weights.safetensors": good[:-1] + bytes([good[-1] ^ 1])})


WEIGHTS.append(("C31", "a bit turned over", _swapped, "damaged", "network"))
