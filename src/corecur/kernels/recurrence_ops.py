"""The native recurrent kernels as torch operations over one recurrence, or several at the same time.

B batch, T time, C features, H units, G gates · H, N the real steps of all rows together.

No recurrence may need what another one gives: those of both
directions do not. With few rows each then has a thread of its own; with many, none waits for the others' last rows.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from corecur.kernels.library import Struct, cores, processor, second_cache, table, threads
from corecur.kernels.operation import operation
from corecur.kernels.products import product

#: The numbers of simple recurrences, of GRU, and of kinds with a cell, in csrc/recurrent.cpp.
SIMPLE, GRU, WITH_CELL = (0, 1), 4, (2, 3)
#: Gates, and columns of the gradients of the gates, in units, by number.
GATES = (1, 1, 4, 4, 3)
D_GATES = (1, 1, 4, 4, 4)


class RecurrentJob(Struct):
    """``CorecurRecurrent`` of csrc/recurrent.hpp."""

    _fields_ = [
        ("kind", ctypes.c_int32),
        ("training", ctypes.c_int32),
        ("rolling", ctypes.c_int32),
        ("shared", ctypes.c_int32),
        *((name, ctypes.c_int64) for name in ("steps", "batch", "units", "features", "h_stride", "d_stride")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "sizes", "offsets", "x", "weight_ih", "bias", "bias_hh", "first_h", "first_c", "gates", "h", "c",
                "extra", "weight", "peephole", "dropout", "zoneout_h", "zoneout_c", "packed", "d_outputs", "d_last_h",
                "d_last_c", "d_h", "d_c", "d_gates", "sums", "packed_ih", "d_x", "d_weight_ih", "d_weight", "d_bias",
                "d_bias_ih", "d_bias_hh",
            )
        ),
    ]  # fmt: skip


def room_for_weights(units: int, kind: int, features: int = 0, *, back: bool) -> int:
    """Floats that the packed weights take with the biases before them, whatever the instruction set."""
    return (D_GATES[kind] if back else GATES[kind]) * (1 + features + units) * -(-units // 64) * 64


def _rows_of(like: Tensor, count: int, width: int) -> Tensor:
    """Room for rows of this width, apart by what keeps them out of each other's place in the first cache.

    Rows that begin 2 KiB apart share a few lines of it; a line more between them and they do not.
    """
    apart = 16 if width % 512 == 0 else 0
    return like.new_empty(count, width + apart)[:, :width]


def _kept(batch: int, real: int, training: bool, outputs: bool) -> tuple[int, int]:
    """How many rows of h and of the cell are kept: without training those that are asked for."""
    every = batch + real + 1
    return (every if training or outputs else 2 * batch), (every if training else batch)


#: Multiplications of all steps up to which everything is done in the loop over time, whatever the rows: a call of its
#: own takes longer than what it saves (LSTM on two cores of Zen 5, whole training steps, times as fast: 32 units and 1
#: row of 28 steps 1.65, of 512 1.23; 64 units and 8 rows of 28 1.38). And weights that few.
_LITTLE, _LITTLE_WEIGHTS = 1 << 22, 1 << 17
#: Rows that a thread sums up at once (csrc/gradients.hpp), and weights so few that it does so with few rows of a step.
SUMMED_ROWS, _FEW_WEIGHTS = 128, 1 << 15
#: How many times the weights' gradients must fit into a second cache on Intel's processors, where MKL's products are
#: the other way (measured with 2 MB). On others once is enough (AMD's with 1 MB, times as fast: Zen 5 128 units 1.05 to
#: 1.4, 256 units 0.96 to 1.3; Zen 4 64 and 128 units 1.06 to 1.11, 256 units 1.0 to 1.06).
_CACHES_PER_SUM = 4
#: Rows of a step that one thread needs to multiply the input in the loop over time as fast as all steps at once; and
#: with so many weights that they come from memory at every step (LSTM 1024 and 16 rows on two cores: 1.12 times as slow
#: in the loop, with 8 rows 1.33; 1536 1.25 and 1.45; with 32 rows 0.97 and 1.04).
_ENOUGH_ROWS, _MANY_WEIGHTS, _ENOUGH_FOR_MANY = 4, 1 << 22, 9


#: Threads share the units of all rows, and meet after each step, where the weights' gradients are too large for each
#: thread to sum up its own, and where a thread would have no row, or few. Each then has so many multiplications to do
#: in a step, fewer where it would have none, and all have so many in all steps. Measured with two cores of Zen 5 that
#: have 1 MB each, whole training steps, times as fast as with the rows shared: LSTM 64 units and 1 row 1.13 to 1.18,
#: 128 1.25 to 1.4, 256 to 1024 1.4 to 1.6, 1536 1.9; 64 and 2 or 4 rows 1.14 and 1.6, 192 to 1024 and 8 rows 1.1 to
#: 1.13, 192 to 384 and 32 to 128 rows 1.02 to 1.09, 1024 and 32 to 128 1.05 to 1.13; GRU 256 units and 32 to 128 rows
#: 1.08 to 1.11. Below: LSTM 32 units and 1 to 6 rows 0.8 to 0.87, where each thread sums up 0.9 to 1.0 (LSTM 96, GRU
#: 128 to 192, simple recurrences to 384).
_LEAST_ALONE, _LEAST_SHARE, _LEAST_IN_ALL, _FEW_ROWS = 1 << 13, 1 << 14, 1 << 18, 8
#: Second caches that the recurrent weights fill where they are shared whatever the rows; and how many of each member's
#: its part of the weights' gradients may fill to be summed up on the way, with few rows and with more (384 units 0.92
#: to 0.97 with 2 to 8 rows, 1.05 from 32 on; 512 0.96).
_CACHES, _CACHES_OF_FEW, _CACHES_OF_MORE = 8, 1.0, 2.5
_UNITS_OF_PANEL = 32


def tiles(columns: int) -> int:
    """Columns with those that whole tiles have beyond the last, whatever the instruction set."""
    return -(-columns // 32) * 32


def _weights(kind: int, features: int, units: int) -> int:
    """How many there are of the input and of the state before."""
    return (features + units) * GATES[kind] * units


def _is_little(weights: int, real: int) -> bool:
    """Whether one thread does everything in its loop over time."""
    return weights <= _LITTLE_WEIGHTS and real * weights <= _LITTLE


def multiplies_inside(kind: int, real: int, steps: int, features: int, units: int, shares: int) -> bool:
    """Whether the input is multiplied in the loop over time, which has ``real`` rows in all of its steps together."""
    weights = _weights(kind, features, units)
    if _is_little(weights, real):
        return True
    many = weights >= _MANY_WEIGHTS
    return real >= (_ENOUGH_FOR_MANY if many else _ENOUGH_ROWS) * shares * steps


def sums_up(kind: int, x: Tensor, batch: int, units: int, count: int) -> bool:
    """Whether the way back sums up the gradients of the weights as it goes, instead of products over all steps.

    It is about one of ``count`` recurrences at the same time.
    """
    real, features = x.shape
    return sums_up_rows(kind, real, features, batch, units, _shares(count)) or (
        count == 1 and sums_up_units(kind, real, features, batch, units)
    )


def sums_up_rows(kind: int, real: int, features: int, batch: int, units: int, shares: int) -> bool:
    """The same of inputs (``real``, ``features``), whose rows so many threads share."""
    if _is_little(_weights(kind, features, units), real):
        return True
    return _rows_repay_sums(kind, real, features, batch, units, shares)


def _rows_repay_sums(kind: int, real: int, features: int, batch: int, units: int, shares: int) -> bool:
    weights, intel = _weights(kind, features, units), processor() == "intel"
    repay = batch >= _ENOUGH_ROWS * shares
    if intel and weights > _FEW_WEIGHTS:
        repay = batch >= 4 * _ENOUGH_ROWS * shares and real >= 2 * SUMMED_ROWS * shares
    return repay and 4 * weights <= second_cache() // (_CACHES_PER_SUM if intel else 1)


def members(kind: int, real: int, features: int, batch: int, units: int) -> int:
    """How many threads share the units of all rows of one recurrence; 0 where they share the rows."""
    products, most = GATES[kind] * units * units, threads()
    least = _LEAST_ALONE if batch < most else _LEAST_SHARE
    found = min(most, -(-units // _UNITS_OF_PANEL), batch * products // least)
    if found < 2 or real * products <= _LEAST_IN_ALL or most > cores():
        return 0
    if batch < most:
        return found if found > batch else 0
    if found < most or _rows_repay_sums(kind, real, features, batch, units, most):
        return 0
    repays = batch <= _FEW_ROWS * most or 4 * products >= _CACHES * second_cache()
    return found if repays or _fit(kind, features, batch, units, found) else 0


def _fit(kind: int, features: int, batch: int, units: int, found: int) -> bool:
    """Whether so many members' second caches hold the gradients of the weights well enough to sum them up there."""
    caches = _CACHES_OF_FEW if batch <= _FEW_ROWS * found else _CACHES_OF_MORE
    return 4 * _weights(kind, features, units) <= found * caches * second_cache()


def sums_up_units(kind: int, real: int, features: int, batch: int, units: int) -> bool:
    """Whether threads that share the units of one recurrence sum up the gradients of their weights as they go."""
    found = members(kind, real, features, batch, units)
    return found > 0 and _fit(kind, features, batch, units, found)


class _Call(NamedTuple):
    """One recurrence of a native call: the job, what it gives, and what must stay where it is until then."""

    job: RecurrentJob
    found: list[Tensor]
    held: tuple[Tensor | None, ...]


def _shares(count: int) -> int:
    """How many threads share the rows of each of so many recurrences, so that each thread has as many shares."""
    return threads() // math.gcd(threads(), max(1, count))


def _run(native: Callable[[Any, int, int], int], calls: Sequence[_Call]) -> list[Tensor]:
    """What the recurrences of one native call give, one after the other."""
    first, *others = calls
    jobs = (RecurrentJob * len(calls))(*(call.job for call in calls)) if others else first.job
    native(ctypes.byref(jobs), len(calls), threads())
    return [tensor for call in calls for tensor in call.found]


def in_groups(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """What belongs to each recurrence.

    >>> in_groups("abcd", 2)
    ['ab', 'cd']
    """
    count = len(items)
    return [items] if count == size else [items[start : start + size] for start in range(0, count, size)]


def _says(kind: int, zoneout_h: Tensor | None) -> bool:
    """Whether the gates say anything that the states do not."""
    return kind not in SIMPLE or zoneout_h is not None


def _gates(kind: int, x: Tensor, units: int, training: bool, zoneout_h: Tensor | None) -> Tensor:
    """Room for the gates' values (N, G), of which nothing but their number is kept where they say nothing."""
    real, width = len(x), GATES[kind] * units
    if training and not _says(kind, zoneout_h):
        return x.new_zeros(1, 1).expand(real, width)
    return x.new_empty(real if training else 0, width)


def _forward_call(
    count: int,
    training: bool,
    kind: int,
    outputs: bool,
    x: Tensor,
    weight_ih: Tensor,
    bias_ih: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    peephole: Tensor | None,
    dropout: Tensor | None,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    sizes: Tensor,
    offsets: Tensor,
) -> _Call:
    """Gives the gates' values (N, G), the states h (B + N + 1, H) and c as packed_rows.py has them, and GRU's q (N, H).

    Without training there are no gates, and of c the first rows alone, which are the last states in the packed order;
    so of h where its outputs are not asked for. Of a simple recurrence there are gates with zoneout alone: without it
    the states say what they were, and nothing but the number of rows is kept.
    """
    batch, units, (real, features) = h.shape[0], weight_hh.shape[1], x.shape
    alone = count == 1 and dropout is None
    shared = members(kind, real, features, batch, units) if alone else 0
    inside = multiplies_inside(kind, real, sizes.shape[0], features, units, _shares(count)) or (
        alone and training and sums_up_units(kind, real, features, batch, units)
    )
    kept = gates = _gates(kind, x, units, training, zoneout_h)
    if not inside:
        gates = product(x, weight_ih.t(), bias=_bias(kind, bias_ih, bias_hh, units))
    elif shared and training and not _says(kind, zoneout_h):  # room for the input's part of some steps
        gates = x.new_empty(real, units)
    if training and _says(kind, zoneout_h):
        kept = gates
    rows, cell_rows = _kept(batch, real, training, outputs)
    states, cells = _rows_of(x, rows, units), x.new_empty(0 if c is None else cell_rows, units)
    extra = x.new_empty(real if kind == GRU and training else 0, units)
    packed = x.new_empty(room_for_weights(units, kind, features if inside else 0, back=False))
    masked = None if dropout is None else x.new_empty(batch, units)
    job = RecurrentJob.of(
        kind=kind, training=training, rolling=not (training or outputs), shared=shared, steps=sizes.shape[0],
        batch=batch, units=units, features=features, h_stride=states.stride(0), sizes=sizes, offsets=offsets,
        x=x if inside else None, weight_ih=weight_ih, bias=bias_ih, bias_hh=bias_hh, first_h=h, first_c=c, gates=gates,
        h=states, c=cells, extra=extra, weight=weight_hh, peephole=peephole, dropout=dropout, zoneout_h=zoneout_h,
        zoneout_c=zoneout_c, packed=packed, d_h=masked,
    )  # fmt: skip
    return _Call(job, [kept, states, cells, extra], (gates, packed, masked))


def _bias(kind: int, bias_ih: Tensor | None, bias_hh: Tensor | None, units: int) -> Tensor | None:
    """What the gates begin with where the input's part comes before the loop: GRU's n has its recurrent bias apart."""
    if bias_ih is None or bias_hh is None:
        return bias_ih
    if kind != GRU:
        return bias_ih + bias_hh
    return torch.cat([bias_ih[: 2 * units] + bias_hh[: 2 * units], bias_ih[2 * units :]])


def _first_gradients(kind: int, gates: Tensor, h: Tensor, units: int) -> tuple[int, Tensor, Tensor]:
    """B, and room for the gradients of the first h and c (B, H)."""
    batch = h.shape[0] - gates.shape[0] - 1
    return batch, h.new_empty(batch, units), h.new_empty(batch if kind in WITH_CELL else 0, units)


def _backward_call(
    count: int,
    kind: int,
    gates: Tensor,
    h: Tensor,
    c: Tensor,
    extra: Tensor,
    weight_hh: Tensor,
    peephole: Tensor | None,
    dropout: Tensor | None,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    sizes: Tensor,
    offsets: Tensor,
    d_outputs: Tensor | None,
    d_last_h: Tensor | None,
    d_last_c: Tensor | None,
) -> _Call:
    """Gives the gradients of the gates before their functions (N, D), and of the first state, from that of the last."""
    units, real = weight_hh.shape[1], gates.shape[0]
    batch, d_h, d_c = _first_gradients(kind, gates, h, units)
    shared = members(kind, real, units, batch, units) if count == 1 and dropout is None else 0
    d_gates = _rows_of(gates, real, D_GATES[kind] * units)
    packed = gates.new_empty(room_for_weights(units, kind, back=True))
    job = RecurrentJob.of(
        kind=kind, training=True, shared=shared, steps=sizes.shape[0], batch=batch, units=units, h_stride=h.stride(0),
        d_stride=d_gates.stride(0), sizes=sizes, offsets=offsets, gates=gates, h=h, c=c, extra=extra, weight=weight_hh,
        peephole=peephole, dropout=dropout, zoneout_h=zoneout_h, zoneout_c=zoneout_c, packed=packed,
        d_outputs=d_outputs, d_last_h=d_last_h, d_last_c=d_last_c, d_h=d_h, d_c=d_c, d_gates=d_gates,
    )  # fmt: skip
    return _Call(job, [d_gates, d_h, d_c], (packed,))


def _gradients_call(
    count: int,
    kind: int,
    need_x: bool,
    gates: Tensor,
    h: Tensor,
    c: Tensor,
    extra: Tensor,
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    sizes: Tensor,
    offsets: Tensor,
    d_outputs: Tensor | None,
    d_last_h: Tensor | None,
    d_last_c: Tensor | None,
) -> _Call:
    """Gives the gradients of the input (N + 1, C), zeros last, of states and weights, and sums over the gates' (D)."""
    (width, units), (real, features) = weight_hh.shape, x.shape
    batch, d_h, d_c = _first_gradients(kind, gates, h, units)
    columns, apart = tiles(width), units if kind == GRU else 0
    shared = members(kind, real, features, batch, units) if count == 1 else 0
    d_gates = _rows_of(gates, threads() * SUMMED_ROWS + 3 * batch, apart + columns)
    if width % 32:
        d_gates.zero_()  # tiles read beyond the last column
    sums = gates.new_empty(threads() * ((features + units + 1) * columns + apart))
    packed = gates.new_empty(room_for_weights(units, kind, back=True))
    packed_ih = gates.new_empty(width * tiles(features)) if need_x else None
    d_x = x.new_empty(real + 1 if need_x else 0, features)
    d_x[-1:] = 0
    d_w_ih, d_w_hh, d_bias = torch.empty_like(weight_ih), torch.empty_like(weight_hh), gates.new_empty(apart + width)
    job = RecurrentJob.of(
        kind=kind, training=True, shared=shared, steps=sizes.shape[0], batch=batch, units=units, features=features,
        h_stride=h.stride(0), d_stride=d_gates.stride(0), sizes=sizes, offsets=offsets, x=x, weight_ih=weight_ih,
        gates=gates, h=h, c=c, extra=extra, weight=weight_hh, zoneout_h=zoneout_h, zoneout_c=zoneout_c, packed=packed,
        d_outputs=d_outputs, d_last_h=d_last_h, d_last_c=d_last_c, d_h=d_h, d_c=d_c, d_gates=d_gates, sums=sums,
        packed_ih=packed_ih, d_x=d_x if need_x else None, d_weight_ih=d_w_ih, d_weight=d_w_hh, d_bias=d_bias,
    )  # fmt: skip
    return _Call(job, [d_x, d_h, d_c, d_w_ih, d_w_hh, d_bias], (d_gates, sums, packed, packed_ih))


#: How many tensors each of the three functions takes.
_FORWARD, _BACKWARD, _GRADIENTS = 13, 14, 14


def _recurrences(
    tensors: Sequence[Tensor | None], kinds: Sequence[int], outputs: Sequence[bool], training: bool
) -> list[Tensor]:
    count, given = len(kinds), zip(kinds, outputs, in_groups(tensors, _FORWARD), strict=True)
    calls = [_forward_call(count, training, kind, asked, *own) for kind, asked, own in given]
    return _run(table().recurrent_forward, calls)


def _recurrences_backward(tensors: Sequence[Tensor | None], kinds: Sequence[int]) -> list[Tensor]:
    given = zip(kinds, in_groups(tensors, _BACKWARD), strict=True)
    return _run(table().recurrent_backward, [_backward_call(len(kinds), kind, *own) for kind, own in given])


def _recurrences_gradients(
    tensors: Sequence[Tensor | None], kinds: Sequence[int], need_x: Sequence[bool]
) -> list[Tensor]:
    count, given = len(kinds), zip(kinds, need_x, in_groups(tensors, _GRADIENTS), strict=True)
    return _run(table().recurrent_backward, [_gradients_call(count, kind, need, *own) for kind, need, own in given])


def _forward_shapes(
    tensors: Sequence[Any], kinds: Sequence[int], outputs: Sequence[bool], training: bool
) -> list[Tensor]:
    found: list[Tensor] = []
    for kind, asked, own in zip(kinds, outputs, in_groups(tensors, _FORWARD), strict=True):
        x, _, _, h, c, weight_hh, _, _, _, zoneout_h, *_ = own
        units, real, (rows, cell_rows) = weight_hh.shape[1], len(x), _kept(len(h), len(x), training, asked)
        gates = _gates(kind, x, units, training, zoneout_h)
        sizes = (0 if c is None else cell_rows, real if kind == GRU and training else 0)
        found += [gates, _rows_of(x, rows, units), *(x.new_empty(size, units) for size in sizes)]
    return found


def _backward_shapes(tensors: Sequence[Any], kinds: Sequence[int]) -> list[Tensor]:
    found: list[Tensor] = []
    for kind, own in zip(kinds, in_groups(tensors, _BACKWARD), strict=True):
        gates, h, _, _, weight, *_ = own
        _, d_h, d_c = _first_gradients(kind, gates, h, weight.shape[1])
        found += [_rows_of(gates, len(gates), D_GATES[kind] * weight.shape[1]), d_h, d_c]
    return found


def _gradient_shapes(tensors: Sequence[Any], kinds: Sequence[int], need_x: Sequence[bool]) -> list[Tensor]:
    found: list[Tensor] = []
    for kind, need, own in zip(kinds, need_x, in_groups(tensors, _GRADIENTS), strict=True):
        gates, h, _, _, x, weight_ih, weight_hh, *_ = own
        width, units = weight_hh.shape
        _, d_h, d_c = _first_gradients(kind, gates, h, units)
        d_x = x.new_empty(len(x) + 1 if need else 0, x.shape[1])
        d_bias = gates.new_empty(width + (units if kind == GRU else 0))
        found += [d_x, d_h, d_c, torch.empty_like(weight_ih), torch.empty_like(weight_hh), d_bias]
    return found


#: The tensors of each recurrence in the order of the functions above, those of all in one list: no schema has lists of
#: lists.
recurrences = operation(
    "recurrences(Tensor?[] tensors, int[] kinds, bool[] outputs, bool training) -> Tensor[]",
    _recurrences,
    _forward_shapes,
)
recurrences_backward = operation(
    "recurrences_backward(Tensor?[] tensors, int[] kinds) -> Tensor[]", _recurrences_backward, _backward_shapes
)
recurrences_gradients = operation(
    "recurrences_gradients(Tensor?[] tensors, int[] kinds, bool[] need_x) -> Tensor[]",
    _recurrences_gradients,
    _gradient_shapes,
)
