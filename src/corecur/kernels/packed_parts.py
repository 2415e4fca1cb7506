"""The parts of a stretch that bring the rows of a batch with padding into the packed order and back.

B batch, T time, N real steps of all rows together, C features or units.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

from corecur.kernels.library import Struct
from corecur.kernels.program import Call
from corecur.kernels.stretch_parts import Places, Reordering, Shape


class GatherJob(Struct):
    """``CorecurGather`` of csrc/gather.hpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("count", "limit", "width")),
        *((name, ctypes.c_void_p) for name in ("from_rows", "to", "index")),
        ("more", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("more_from", "more_to")),
    ]


def _gather(places: Places, threads: int, width: int, names: Mapping[str, str], **sizes: int) -> Call:
    """Rows in another order; ``names`` are those of the places by the job's."""
    job = GatherJob.of(width=width, **sizes)
    return Call("gather", job, {field: places[name] for field, name in names.items()}, threads)


class PackPart(Reordering):
    """The real steps of x (B, T, C) in the packed order, (N, C) in room for (T, B, C)."""

    def output(self, shape: Shape) -> Shape:
        return (shape[1], shape[0], shape[2])

    def forward(self, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        batch, steps, width = shape
        names = {"from_rows": "x", "to": "y", "index": "places", "count": "real"}
        return _gather(places, threads, width, names, limit=batch * steps)

    def backward(self, shape: Shape, places: Places, threads: int) -> Call:
        batch, steps, width = shape
        names = {"from_rows": "d_y", "to": "d_x", "index": "returns", "limit": "real"}
        return _gather(places, threads, width, names, count=batch * steps)


class SpreadPart(Reordering):
    """Packed rows (N, C) in room for (T, B, C) as (B, T, C): after each real step, elsewhere what the packing shows."""

    def output(self, shape: Shape) -> Shape:
        return (shape[1], shape[0], shape[2])

    def forward(self, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        steps, batch, width = shape
        names = {"from_rows": "x", "to": "y", "index": "seen", "limit": "real"}
        return _gather(places, threads, width, names, count=batch * steps)

    def backward(self, shape: Shape, places: Places, threads: int) -> Call:
        steps, batch, width = shape
        names = {"from_rows": "d_y", "to": "d_x", "index": "places", "count": "real"}
        names |= {"more": "repeated", "more_from": "again", "more_to": "again_of"}
        return _gather(places, threads, width, names, limit=batch * steps)


class LastPart(Reordering):
    """The last states of a recurrence over packed rows in the order of the batch (B, C), zeros where none was real."""

    def output(self, shape: Shape) -> Shape:
        return shape

    def forward(self, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        batch, width = shape
        names = {"from_rows": "x", "to": "y"}
        if training:  # where all states are kept
            return _gather(places, threads, width, {**names, "index": "last", "limit": "states"}, count=batch)
        return _gather(places, threads, width, {**names, "index": "ranks"}, count=batch, limit=batch)

    def backward(self, shape: Shape, places: Places, threads: int) -> Call:
        batch, width = shape
        names = {"from_rows": "d_y", "to": "d_x", "index": "order"}
        return _gather(places, threads, width, names, count=batch, limit=batch)
