"""A short text that changes when training data do."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.data.batches import Batches

# Of larger tensors only pieces are read, evenly spread: half a second of reading at most.
_MOST_BYTES, _PIECE = 1 << 28, 1 << 20


def fingerprint(batches: Batches) -> str | None:
    """A hash over everything the batches hold in memory; None for a loader, whose data nobody has seen yet.

    >>> from corecur.data.batches import TensorBatches
    >>> a, b = (fingerprint(TensorBatches(torch.full((4, 2), fill))) for fill in (0.0, 1.0))
    >>> a != b, len(a)
    (True, 16)
    """
    digest, found = hashlib.blake2b(digest_size=8), False
    for name, value in sorted(vars(batches).items()):
        for tensor in tensors_in(value):
            found = True
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            for piece in _pieces(tensor):
                digest.update(piece)
    return digest.hexdigest() if found else None


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested lists, tuples and dataclasses; arrays as tensors.

    >>> [t.shape for t in tensors_in([torch.zeros(2), (np.zeros(3), "x")])]
    [torch.Size([2]), torch.Size([3])]
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, np.ndarray):
        if value.dtype.kind in "fiub":
            yield torch.from_numpy(np.ascontiguousarray(value))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name))


def _pieces(tensor: Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor, or pieces of them."""
    flat = tensor.detach().cpu().contiguous().view(-1)
    if not flat.numel():
        return
    content = flat.view(torch.uint8).numpy().data.cast("B")
    if len(content) <= _MOST_BYTES:
        yield content
        return
    count = _MOST_BYTES // _PIECE
    for number in range(count):
        start = (len(content) - _PIECE) * number // (count - 1)
        yield content[start : start + _PIECE]
