"""A short text that changes when training data do."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Of larger tensors only pieces are read, evenly spread: half a second of reading at most.
_MOST_BYTES, _PIECE = 1 << 28, 1 << 20


def fingerprint(data: object) -> str | None:
    """A hash over every array that batches, or another object, hold in memory; None where there is none.

    There is none in a loader, whose data nobody has seen yet.

    >>> from corecur.data.batches import TensorBatches
    >>> a, b = (fingerprint(TensorBatches(torch.full((4, 2), fill))) for fill in (0.0, 1.0))
    >>> a != b, len(a)
    (True, 16)
    """
    digest, found = hashlib.blake2b(digest_size=8), False
    for name, value in sorted(vars(data).items()):
        for array in _arrays_in(value):
            found = True
            digest.update(f"{name} {tuple(array.shape)} {array.dtype}\n".encode())
            for piece in _pieces(array):
                digest.update(piece)
    return digest.hexdigest() if found else None


def source_hash(data: Any, *more: object) -> str:
    """A hash over what was read of a source: every array, and every text; and over what ``more`` says.

    >>> from corecur.data.text.text_sets import TextSet, TextSource
    >>> one, two = (TextSet((text,), None, ("a",)) for text in ("to be", "or not"))
    >>> a, b = (source_hash(TextSource("a", "python", (), part, None, None, ())) for part in (one, two))
    >>> a != b, len(a)
    (True, 16)
    """
    parts = (data.kind, data.train, data.validation, *more)
    digest = hashlib.blake2b(repr(parts).encode("utf-8", "replace"), digest_size=8)
    digest.update(str(fingerprint(data)).encode())
    return digest.hexdigest()


def _arrays_in(value: Any) -> Iterator[Tensor | np.ndarray[Any, Any]]:
    """Every tensor, and every array of numbers, in nested lists, tuples, dicts and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, np.ndarray):
        if value.dtype.kind in "fiubc":
            yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _arrays_in(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _arrays_in(getattr(value, field.name))


def _pieces(array: Tensor | np.ndarray[Any, Any]) -> Iterator[memoryview]:
    """The bytes of an array, or pieces of them."""
    if isinstance(array, Tensor):
        array = array.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy() if array.numel() else np.empty(0)
    if not array.size:
        return
    content = np.ascontiguousarray(array).data.cast("B")
    if len(content) <= _MOST_BYTES:
        yield content
        return
    count = _MOST_BYTES // _PIECE
    for number in range(count):
        start = (len(content) - _PIECE) * number // (count - 1)
        yield content[start : start + _PIECE]
