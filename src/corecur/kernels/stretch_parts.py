"""The parts of a stretch of layers that runs as one program: convolutions, dense layers, recurrences over whole rows.

Each says what it makes of a shape, what memory it needs and which native calls it is, there and back.

B batch, T time, H × W positions, C channels or features, F filters, N rows, U units, G gates · U.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.kernels.convolution import ACTIVATIONS, POOLS, Block, Job, chooses, prepared, run_stock, shares_of
from corecur.kernels.library import Struct
from corecur.kernels.packed_rows import whole
from corecur.kernels.program import Call, Place
from corecur.kernels.recurrence_ops import (
    D_GATES,
    GATES,
    GRU,
    SIMPLE,
    SUMMED_ROWS,
    WITH_CELL,
    RecurrentJob,
    members,
    multiplies_inside,
    room_for_weights,
    sums_up_rows,
    sums_up_units,
    tiles,
)
from corecur.kernels.tap_convolution import jobs_of

Shape = tuple[int, ...]
Places = Mapping[str, Place]
_FLOAT = 4


class Made(NamedTuple):
    """Memory that a part fills, in floats, and where in it what the next part reads begins."""

    floats: int
    begin: int = 0


class Part(Protocol):
    """One part.

    Its calls find in ``places`` x (what it reads), y (the memory it fills), kept (what the way back needs beside them),
    room, and its weights by their names; on the way back also d_y (the gradient of what the next part reads), and d_x
    and the weights' gradients, d_ before their names, of which those that nobody wants are absent.
    """

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of its weights."""
        ...

    @property
    def needs_output(self) -> bool:
        """Whether the way back reads y."""
        ...

    def output(self, shape: Shape) -> Shape:
        """The shape of what it makes of x of this shape."""
        ...

    def made(self, shape: Shape, *, training: bool) -> Made:
        """The memory that it fills."""
        ...

    def kept(self, shape: Shape) -> int:
        """Bytes that it keeps for the way back beside x and y."""
        ...

    def room(self, shape: Shape, threads: int, *, training: bool, back: bool) -> int:
        """Floats that it works in."""
        ...

    def forward(self, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        """The call that fills y."""
        ...

    def backward(self, shape: Shape, places: Places, threads: int) -> Call:
        """The call that computes the gradients which have places."""
        ...

    def stock(self, x: Tensor, weights: Sequence[Tensor | None]) -> Tensor | None:
        """The same by torch's operations, which can be differentiated again and again; None where it has none."""
        ...


def _taken(places: Places, names: Mapping[str, str]) -> dict[str, Place]:
    """The places of these names under a job's names, as far as they are there."""
    return {field: places[name] for name, field in names.items() if name in places}


class _OfConvolution:
    """What all ways to run a convolution block have in common."""

    block: Block
    filters: int

    weights = ("weight", "bias")
    needs_output = True

    def output(self, shape: Shape) -> Shape:
        return (shape[0], *self.block.sizes(shape[1], shape[2])[2:], self.filters)

    def made(self, shape: Shape, *, training: bool) -> Made:
        return Made(math.prod(self.output(shape)))

    def stock(self, x: Tensor, weights: Sequence[Tensor | None]) -> Tensor | None:
        weight, bias = weights
        return None if weight is None else run_stock(x, weight, bias, self.block)


@dataclass(frozen=True)
class ConvolutionPart(_OfConvolution):
    """A convolution block: x (B, H, W, C), weight (F, C, k, k) that lies as (F, k, k, C) -> (B, P, Q, F)."""

    block: Block
    winograd: bool
    filters: int

    def kept(self, shape: Shape) -> int:
        return math.prod(self.output(shape)) if chooses(self.block) else 0

    def room(self, shape: Shape, threads: int, *, training: bool, back: bool) -> int:
        return self._job(shape, threads, training=training, back=back)[1]

    def forward(self, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        job, _, shares = self._job(shape, threads, training=training and chooses(self.block), back=False)
        return Call("convolution_forward", job, _taken(places, _CONVOLUTION), shares)

    def backward(self, shape: Shape, places: Places, threads: int) -> Call:
        job, _, shares = self._job(shape, threads, training=True, back=True)
        return Call("convolution_backward", job, _taken(places, _CONVOLUTION), shares)

    def _job(self, shape: Shape, threads: int, *, training: bool, back: bool) -> tuple[Job, int, int]:
        shares = shares_of(torch.Size(shape), self.filters, self.block, threads)
        job, floats, _ = prepared(torch.Size(shape), self.filters, self.block, self.winograd, training, back, shares)
        return job, floats, shares


class TapsJob(Job):
    """``CorecurTaps`` of csrc/taps.hpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("count", "every")),
        *((name, ctypes.c_void_p) for name in ("to_y", "to_x", "to_weight", "turned")),
    ]


@dataclass(frozen=True)
class TapsPart(_OfConvolution):
    """A convolution block place by place of its kernel: shapes as of ``ConvolutionPart``."""

    block: Block
    filters: int

    def kept(self, shape: Shape) -> int:
        return _FLOAT * _in_lines(math.prod(shape)) + (math.prod(self.output(shape)) if chooses(self.block) else 0)

    def room(self, shape: Shape, threads: int, *, training: bool, back: bool) -> int:
        batch, height, width, _ = shape
        sums = batch * math.prod(self.block.sizes(height, width)[:2]) * self.filters
        return _in_lines(sums) + (0 if training and not back else _in_lines(math.prod(shape)))

    def forward(self, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        used = _taken(places, {**_CONVOLUTION, "kept": "turned"})
        if training:
            used |= self._chosen(shape, places)
        else:
            room = places["room"]
            turned = self.room(shape, threads, training=True, back=False)  # behind the sums
            used["turned"] = Place(room.address, room.offset + _FLOAT * turned)
        return self._call("taps_forward", shape, used, threads, training=training)

    def backward(self, shape: Shape, places: Places, threads: int) -> Call:
        used = _taken(places, {**_CONVOLUTION, "kept": "turned"}) | self._chosen(shape, places)
        return self._call("taps_backward", shape, used, threads, training=True)

    def _chosen(self, shape: Shape, places: Places) -> dict[str, Place]:
        """What pooling chose, behind the input."""
        kept = places["kept"]
        return {"chosen": Place(kept.address, kept.offset + _FLOAT * _in_lines(math.prod(shape)))}

    def _call(self, function: str, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        batch, height, width, channels = shape
        (top, _, left, _), sizes = self.block.padding, self.block.sizes(height, width)
        ways = {way: jobs_of(self.block, (height, width, batch, channels), self.filters, way) for way in _WAYS}
        job = TapsJob.of(
            pool=POOLS[self.block.pool], activation=ACTIVATIONS[self.block.activation],
            training=training and chooses(self.block), batch=batch, height=height, width=width, channels=channels,
            filters=self.filters, kernel_height=self.block.kernel[0], kernel_width=self.block.kernel[1], top=top,
            left=left, out_height=sizes[0], out_width=sizes[1], pooled_height=sizes[2], pooled_width=sizes[3],
            count=len(ways["y"]), every=len(ways["y"]) == math.prod(self.block.kernel),
            **{field: ctypes.addressof(ways[way]) for way, field in _WAYS.items()},
        )  # fmt: skip
        return Call(function, job, places, threads, ways)


_WAYS = {"y": "to_y", "d x": "to_x", "d weight": "to_weight"}
_COMMON = ("x", "y", "weight", "bias", "d_y", "d_x", "d_weight", "d_bias")
_CONVOLUTION = {"kept": "chosen", "room": "room", **{name: name for name in _COMMON}}
_DENSE = {"room": "d_z", **{name: name for name in _COMMON}}


class DenseJob(Struct):
    """``CorecurDense`` of csrc/dense.hpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("rows", "features", "units", "activation")),
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "y", "d_y", "d_z", "d_x", "d_weight", "d_bias")),
    ]


@dataclass(frozen=True)
class DensePart:
    """A dense layer: x (…, C), weight (U, C) -> (…, U); ``flat``: of all that x has of a sample, in one row."""

    units: int
    activation: str
    flat: bool = False

    weights = ("weight", "bias")

    @property
    def needs_output(self) -> bool:
        return self.activation != "linear"

    def output(self, shape: Shape) -> Shape:
        return (*self._rows(shape)[:-1], self.units)

    def _rows(self, shape: Shape) -> Shape:
        return (shape[0], math.prod(shape[1:])) if self.flat else shape

    def made(self, shape: Shape, *, training: bool) -> Made:
        return Made(math.prod(self.output(shape)))

    def kept(self, shape: Shape) -> int:
        return 0

    def room(self, shape: Shape, threads: int, *, training: bool, back: bool) -> int:
        return math.prod(self.output(shape)) if back and self.needs_output else 0

    def forward(self, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        return Call("dense_forward", self._job(shape), _taken(places, _DENSE), threads)

    def backward(self, shape: Shape, places: Places, threads: int) -> Call:
        return Call("dense_backward", self._job(shape), _taken(places, _DENSE), threads)

    def _job(self, shape: Shape) -> DenseJob:
        *rows, features = self._rows(shape)
        activation = ACTIVATIONS[self.activation]
        return DenseJob.of(rows=math.prod(rows), features=features, units=self.units, activation=activation)

    def stock(self, x: Tensor, weights: Sequence[Tensor | None]) -> Tensor | None:
        weight, bias = weights
        if weight is None:
            return None
        y = F.linear(x.flatten(1) if self.flat else x, weight, bias)
        return y if self.activation == "linear" else torch.relu(y) if self.activation == "relu" else torch.tanh(y)


class TurnJob(Struct):
    """``CorecurTurn`` of csrc/turn.hpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("first", "second", "width")),
        *((name, ctypes.c_void_p) for name in ("x", "y", "d_y", "d_x")),
    ]


@dataclass(frozen=True)
class Reordering(Part):
    """What parts have in common that bring rows into another order: no weights, and nothing kept."""

    weights: tuple[str, ...] = ()
    needs_output = False

    def made(self, shape: Shape, *, training: bool) -> Made:
        return Made(math.prod(shape))

    def kept(self, shape: Shape) -> int:
        return 0

    def room(self, shape: Shape, threads: int, *, training: bool, back: bool) -> int:
        return 0

    def stock(self, x: Tensor, weights: Sequence[Tensor | None]) -> Tensor | None:
        return None


class TurnPart(Reordering):
    """The first two axes change places: x (B, T, C) -> (T, B, C), as recurrences read it."""

    def output(self, shape: Shape) -> Shape:
        return (shape[1], shape[0], shape[2])

    def forward(self, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        return Call("turn_forward", TurnJob(*shape), _taken(places, {"x": "x", "y": "y"}), threads)

    def backward(self, shape: Shape, places: Places, threads: int) -> Call:
        return Call("turn_backward", TurnJob(*shape), _taken(places, {"d_y": "d_y", "d_x": "d_x"}), threads)

    def stock(self, x: Tensor, weights: Sequence[Tensor | None]) -> Tensor | None:
        return x.transpose(0, 1)


def _in_lines(floats: int) -> int:
    """So many floats and what fills the last line of the cache."""
    return -(-floats // 16) * 16


def _one_by_one(at: Place, floats: Mapping[str, int]) -> dict[str, Place]:
    """Places for so many floats each, one after the other; none for none."""
    found = {}
    for name, count in floats.items():
        if count:
            found[name] = at
            at = Place(at.address, at.offset + _FLOAT * _in_lines(count))
    return found


@dataclass(frozen=True)
class RecurrentPart:
    """A recurrence from zeros over whole rows: x (T, B, C) -> (T, B, U), or without ``outputs`` its last state (B, U).

    ``kind`` is a number of ``KINDS`` in native.py. With ``packed`` it is over the packed rows of a batch with padding,
    and without ``outputs`` gives what ``LastPart`` reads.
    """

    kind: int
    units: int
    outputs: bool
    packed: bool = False

    weights = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    needs_output = True

    def takes(self, shape: Shape, threads: int, *, training: bool, real: int | None = None) -> bool:
        """Whether the kernel multiplies inputs of this shape in its loop, and sums up the gradients of the weights.

        ``real`` are the rows of all steps together, of packed ones T the steps of the longest row.
        """
        (steps, batch, features), kind, units = shape, self.kind, self.units
        real = steps * batch if real is None else real
        if units % 512 == 0:
            return False  # of so many units the states' rows are kept apart, which the next part could not read
        if training and (GATES[kind] * units % 32 != 0):  # tiles are whole
            return False
        if training and sums_up_units(kind, real, features, batch, units):
            return True
        inside = multiplies_inside(kind, real, steps, features, units, threads)
        return inside and (not training or sums_up_rows(kind, real, features, batch, units, threads))

    def output(self, shape: Shape) -> Shape:
        steps, batch, _ = shape
        return (steps, batch, self.units) if self.outputs else (batch, self.units)

    def made(self, shape: Shape, *, training: bool) -> Made:
        steps, batch, _ = shape
        if not (training or self.outputs):
            return Made(2 * batch * self.units)
        last = 0 if self.packed else steps * batch  # the last states alone
        begin = batch if self.outputs else last
        return Made((batch + steps * batch + 1) * self.units, begin * self.units)

    def kept(self, shape: Shape) -> int:
        return _FLOAT * sum(map(_in_lines, self._kept(shape).values()))

    def _kept(self, shape: Shape) -> dict[str, int]:
        """Floats of the gates' values, of the cells, and of GRU's part of n, by the job's names."""
        steps, batch, features = shape
        real, units = steps * batch, self.units
        cells = (batch + real + 1) * units if self.kind in WITH_CELL else 0
        gates = GATES[self.kind] * real * units
        if self.kind in SIMPLE and not members(self.kind, real, features, batch, units):
            gates = 0  # h says what it was
        return {"gates": gates, "c": cells, "extra": real * units * (self.kind == GRU)}

    def room(self, shape: Shape, threads: int, *, training: bool, back: bool) -> int:
        return sum(map(_in_lines, self._rooms(shape, threads, training=training, back=back).values()))

    def _rooms(self, shape: Shape, threads: int, *, training: bool, back: bool) -> dict[str, int]:
        """Floats of each room, by the job's names."""
        _, batch, features = shape
        units, kind = self.units, self.kind
        cells = batch * units if kind in WITH_CELL else 0
        if not back:
            packed = room_for_weights(units, kind, features, back=False)
            return {"packed": packed} | ({} if training or not cells else {"c": cells})
        columns, apart = tiles(GATES[kind] * units), units if kind == GRU else 0
        return {
            "packed": room_for_weights(units, kind, back=True),
            "packed_ih": GATES[kind] * units * tiles(features),
            "d_gates": (threads * SUMMED_ROWS + 3 * batch) * self._stride(),
            "sums": threads * ((features + units + 1) * columns + apart),
            "d_bias": tiles(D_GATES[kind] * units),
            "d_h": batch * units,
            "d_c": cells,
        }

    def _stride(self) -> int:
        """Floats from row to row of the gates' gradients, never 2 KiB, which would share a few lines of the cache."""
        columns = D_GATES[self.kind] * self.units
        return columns + (16 if columns % 512 == 0 else 0)

    def forward(self, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        used = self._of_steps(places)
        used |= _taken(places, {"x": "x", "y": "h", "weight_ih": "weight_ih", "weight_hh": "weight"})
        used |= _taken(places, {"bias_ih": "bias", "bias_hh": "bias_hh"})
        used |= self._in_room(shape, places, threads, training=training, back=False)
        if training:
            used |= self._in_kept(shape, places)
        return self._call("recurrent_forward", shape, used, threads, training=training)

    def backward(self, shape: Shape, places: Places, threads: int) -> Call:
        used = self._of_steps(places)
        used |= _taken(places, {"x": "x", "y": "h", "weight_ih": "weight_ih", "weight_hh": "weight", "d_x": "d_x"})
        used |= _taken(places, {"d_y": "d_outputs" if self.outputs else "d_last_h"})
        used |= self._in_room(shape, places, threads, training=True, back=True) | self._in_kept(shape, places)
        gradients = {"d_weight_ih": "d_weight_ih", "d_weight_hh": "d_weight"}
        used |= _taken(places, gradients | {"d_bias_ih": "d_bias_ih", "d_bias_hh": "d_bias_hh"})
        return self._call("recurrent_backward", shape, used, threads, training=True)

    def _call(self, function: str, shape: Shape, places: Places, threads: int, *, training: bool) -> Call:
        steps, batch, features = shape
        job = RecurrentJob.of(
            kind=self.kind, training=training, rolling=not (training or self.outputs),
            shared=members(self.kind, steps * batch, features, batch, self.units), batch=batch,
            units=self.units, features=features, h_stride=self.units, d_stride=self._stride(),
        )  # fmt: skip
        if self.packed:
            return Call(function, job, places, threads)
        packing = whole(batch, steps)
        job.steps, job.sizes, job.offsets = steps, packing.sizes.data_ptr(), packing.offsets.data_ptr()
        return Call(function, job, places, threads, packing)

    def _of_steps(self, places: Places) -> dict[str, Place]:
        """How many rows run at each step, where that comes with a run."""
        return _taken(places, {"longest": "steps", "sizes": "sizes", "offsets": "offsets"}) if self.packed else {}

    def _in_room(self, shape: Shape, places: Places, threads: int, *, training: bool, back: bool) -> dict[str, Place]:
        return _one_by_one(places["room"], self._rooms(shape, threads, training=training, back=back))

    def _in_kept(self, shape: Shape, places: Places) -> dict[str, Place]:
        return _one_by_one(places["kept"], self._kept(shape))

    def stock(self, x: Tensor, weights: Sequence[Tensor | None]) -> Tensor | None:
        return None
