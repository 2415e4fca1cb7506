"""The native recurrent kernels as torch operations, and their gradients; with many units weight products are torch's.

B batch, T time, C features, H units, G gates · H, P outputs, N the real steps of all rows together.

Inside, rows are packed (packed_rows.py), so that the products over all steps are one each.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from corecur.errors import ConfigError
from corecur.kernels.cell import Work
from corecur.kernels.library import Struct, by_intel, second_cache, table, threads
from corecur.kernels.packed_rows import Packing
from corecur.kernels.products import product

#: Kind and activation -> its number in csrc/recurrent.cpp.
KINDS = {
    ("simple_rnn", "tanh"): 0,
    ("simple_rnn", "relu"): 1,
    ("lstm", "tanh"): 2,
    ("peephole_lstm", "tanh"): 3,
    ("gru", "tanh"): 4,
}
_GRU = 4
_CELL = (2, 3)
#: Gates, and columns of the gradients of the gates, in units, by number.
_GATES = (1, 1, 4, 4, 3)
_D_GATES = (1, 1, 4, 4, 4)


class _Job(Struct):
    """``CorecurRecurrent`` of csrc/recurrent.hpp."""

    _fields_ = [
        ("kind", ctypes.c_int32),
        ("training", ctypes.c_int32),
        ("rolling", ctypes.c_int32),
        *((name, ctypes.c_int64) for name in ("steps", "batch", "units", "features", "h_stride", "d_stride")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "sizes", "offsets", "x", "weight_ih", "bias", "gates", "h", "c", "extra", "weight", "bias_apart",
                "peephole", "dropout", "zoneout_h", "zoneout_c", "packed", "d_outputs", "d_h", "d_c", "d_gates", "sums",
                "packed_ih", "d_x", "d_weight_ih", "d_weight", "d_bias",
            )
        ),
    ]  # fmt: skip


def _room(units: int, kind: int, features: int = 0, *, back: bool) -> int:
    """Floats that the packed weights take, whatever the instruction set."""
    return (_D_GATES[kind] if back else _GATES[kind]) * (features + units) * -(-units // 64) * 64


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


_OPS: Any = torch.library.Library("corecur", "FRAGMENT")  # type: ignore[no-untyped-call]
_OPS.define(
    "recurrence(Tensor x, Tensor weight_ih, Tensor? bias, Tensor h, Tensor? c, Tensor weight_hh, Tensor? bias_apart,"
    " Tensor? peephole, Tensor? dropout, Tensor? zoneout_h, Tensor? zoneout_c, Tensor sizes, Tensor offsets, int kind,"
    " bool training, bool outputs) -> (Tensor, Tensor, Tensor, Tensor)"
)
_OPS.define(
    "recurrence_backward(Tensor gates, Tensor h, Tensor c, Tensor extra, Tensor weight_hh, Tensor? peephole,"
    " Tensor? dropout, Tensor? zoneout_h, Tensor? zoneout_c, Tensor sizes, Tensor offsets, int kind, Tensor? d_outputs,"
    " Tensor d_h, Tensor? d_c) -> (Tensor, Tensor, Tensor)"
)

_OPS.define(
    "recurrence_gradients(Tensor gates, Tensor h, Tensor c, Tensor extra, Tensor x, Tensor weight_ih, Tensor weight_hh,"
    " Tensor? zoneout_h, Tensor? zoneout_c, Tensor sizes, Tensor offsets, int kind, Tensor? d_outputs, Tensor d_h,"
    " Tensor? d_c, bool need_x) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)

#: Rows that a thread sums up at once (csrc/gradients.hpp), and weights so few that it does so with few rows of a step.
_SUMMED_ROWS, _FEW_WEIGHTS = 128, 1 << 15
#: How many times the weights' gradients must fit into a second cache on Intel's processors and on others (measured with
#: 2 MB, where MKL's products are the other way, and on an AMD one with 1 MB: 128 units 1.05 to 1.4 times as fast, 256
#: units 0.96 to 1.3).
_CACHES_PER_SUM = {True: 4, False: 1}
#: Rows of a step that one thread needs to multiply the input in the loop over time as fast as all steps at once.
_ENOUGH_ROWS = 4


def _recurrence(
    x: Tensor,
    weight_ih: Tensor,
    bias: Tensor | None,
    h: Tensor,
    c: Tensor | None,
    weight_hh: Tensor,
    bias_apart: Tensor | None,
    peephole: Tensor | None,
    dropout: Tensor | None,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    sizes: Tensor,
    offsets: Tensor,
    kind: int,
    training: bool,
    outputs: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gates' values (N, G), the states h (B + N + 1, H) and c as packed_rows.py has them, and GRU's q (N, H).

    Without training there are no gates, and of c the first rows alone, which are the last states in the packed order;
    so of h where its outputs are not asked for.
    """
    batch, units, (real, features) = len(h), weight_hh.shape[1], x.shape
    inside = real >= _ENOUGH_ROWS * threads() * len(sizes)
    if inside:
        gates = x.new_empty(real if training else 0, _GATES[kind] * units)
    else:
        gates = product(x, weight_ih.t(), bias=bias)
    rows, cell_rows = _kept(batch, real, training, outputs)
    states, cells = _rows_of(x, rows, units), x.new_empty(0 if c is None else cell_rows, units)
    for first, kept in ((h, states), (c, cells)):
        if first is not None:
            kept[:batch] = first
            kept[batch:][-1:] = 0  # the row of zeros, where every row is kept
    extra = x.new_empty(real if kind == _GRU and training else 0, units)
    packed = x.new_empty(_room(units, kind, features if inside else 0, back=False))
    masked = None if dropout is None else x.new_empty(batch, units)
    job = _Job.of(
        kind=kind, training=training, rolling=not (training or outputs), steps=len(sizes), batch=batch, units=units,
        features=features, h_stride=states.stride(0), sizes=sizes, offsets=offsets, x=x if inside else None,
        weight_ih=weight_ih, bias=bias, gates=gates, h=states, c=cells, extra=extra, weight=weight_hh,
        bias_apart=bias_apart, peephole=peephole, dropout=dropout, zoneout_h=zoneout_h, zoneout_c=zoneout_c,
        packed=packed, d_h=masked,
    )  # fmt: skip
    table().recurrent_forward(ctypes.byref(job), 1, threads())
    return gates, states, cells, extra


def _recurrence_backward(
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
    kind: int,
    d_outputs: Tensor | None,
    d_h: Tensor,
    d_c: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the gates before their functions (N, D), and of the first state, given that of the last."""
    batch, units, real = len(d_h), weight_hh.shape[1], len(gates)
    d_h, d_c = d_h.clone(), d_h.new_empty(0) if d_c is None else d_c.clone()
    d_gates = _rows_of(gates, real, _D_GATES[kind] * units)
    packed = gates.new_empty(_room(units, kind, back=True))
    job = _Job.of(
        kind=kind, training=True, steps=len(sizes), batch=batch, units=units, h_stride=h.stride(0),
        d_stride=d_gates.stride(0), sizes=sizes, offsets=offsets, gates=gates, h=h, c=c, extra=extra, weight=weight_hh,
        peephole=peephole, dropout=dropout, zoneout_h=zoneout_h, zoneout_c=zoneout_c, packed=packed,
        d_outputs=d_outputs, d_h=d_h, d_c=d_c, d_gates=d_gates,
    )  # fmt: skip
    table().recurrent_backward(ctypes.byref(job), 1, threads())
    return d_gates, d_h, d_c


def _tiles(columns: int) -> int:
    """Columns with those that whole tiles have beyond the last, whatever the instruction set."""
    return -(-columns // 32) * 32


def _sums_up(kind: int, x: Tensor, batch: int, units: int) -> bool:
    """Whether the way back sums up the gradients of the weights as it goes, instead of products over all steps."""
    real, features = x.shape
    weights = (features + units) * _GATES[kind] * units
    rows = _ENOUGH_ROWS if weights <= _FEW_WEIGHTS else 4 * _ENOUGH_ROWS
    repays = batch >= rows * threads() and real >= 2 * _SUMMED_ROWS * threads()
    return repays and weights * x.element_size() <= second_cache() // _CACHES_PER_SUM[by_intel()]


def _recurrence_gradients(
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
    kind: int,
    d_outputs: Tensor | None,
    d_h: Tensor,
    d_c: Tensor | None,
    need_x: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of the input (N + 1, C), zeros last, of states and weights, and the sums over the gates' (D)."""
    batch, (width, units), (real, features) = len(d_h), weight_hh.shape, x.shape
    d_h, d_c = d_h.clone(), d_h.new_empty(0) if d_c is None else d_c.clone()
    columns, apart = _tiles(width), units if kind == _GRU else 0
    d_gates = _rows_of(gates, threads() * _SUMMED_ROWS + 3 * batch, apart + columns)
    if width % 32:
        d_gates.zero_()  # tiles read beyond the last column
    sums = gates.new_empty(threads() * ((features + units + 1) * columns + apart))
    packed = gates.new_empty(_room(units, kind, back=True))
    packed_ih = gates.new_empty(width * _tiles(features)) if need_x else None
    d_x = x.new_empty(real + 1 if need_x else 0, features)
    d_x[-1:] = 0
    d_w_ih, d_w_hh, d_bias = torch.empty_like(weight_ih), torch.empty_like(weight_hh), gates.new_empty(apart + width)
    job = _Job.of(
        kind=kind, training=True, steps=len(sizes), batch=batch, units=units, features=features, h_stride=h.stride(0),
        d_stride=d_gates.stride(0), sizes=sizes, offsets=offsets, x=x, weight_ih=weight_ih, gates=gates, h=h, c=c,
        extra=extra, weight=weight_hh, zoneout_h=zoneout_h, zoneout_c=zoneout_c, packed=packed, d_outputs=d_outputs,
        d_h=d_h, d_c=d_c, d_gates=d_gates, sums=sums, packed_ih=packed_ih, d_x=d_x if need_x else None,
        d_weight_ih=d_w_ih, d_weight=d_w_hh, d_bias=d_bias,
    )  # fmt: skip
    table().recurrent_backward(ctypes.byref(job), 1, threads())
    return d_x, d_h, d_c, d_w_ih, d_w_hh, d_bias


def _recurrence_shapes(
    x: Tensor, weight_ih: Tensor, bias: Tensor | None, h: Tensor, c: Tensor | None, *rest: Any
) -> Any:
    weight, *_, kind, training, outputs = rest
    units, (rows, cell_rows) = weight.shape[1], _kept(len(h), len(x), training, outputs)
    gates = x.new_empty(len(x) if training else 0, len(weight_ih))
    sizes = (0 if c is None else cell_rows, len(x) if kind == _GRU and training else 0)
    return gates, _rows_of(x, rows, units), *(x.new_empty(size, units) for size in sizes)


def _backward_shapes(gates: Tensor, h: Tensor, c: Tensor, extra: Tensor, weight: Tensor, *rest: Any) -> Any:
    *_, kind, _, d_h, d_c = rest
    d_c = d_h.new_empty(0) if d_c is None else torch.empty_like(d_c)
    return _rows_of(gates, len(gates), _D_GATES[kind] * weight.shape[1]), torch.empty_like(d_h), d_c


def _gradient_shapes(gates: Tensor, h: Tensor, c: Tensor, extra: Tensor, x: Tensor, *rest: Any) -> Any:
    weight_ih, weight_hh, *_, kind, _, d_h, d_c, need_x = rest
    width = len(weight_hh)
    d_c = d_h.new_empty(0) if d_c is None else torch.empty_like(d_c)
    d_bias = gates.new_empty(width + (weight_hh.shape[1] if kind == _GRU else 0))
    d_x = x.new_empty(len(x) + 1 if need_x else 0, x.shape[1])
    return d_x, torch.empty_like(d_h), d_c, torch.empty_like(weight_ih), torch.empty_like(weight_hh), d_bias


for _name, _run, _shapes in (
    ("recurrence", _recurrence, _recurrence_shapes),
    ("recurrence_backward", _recurrence_backward, _backward_shapes),
    ("recurrence_gradients", _recurrence_gradients, _gradient_shapes),
):
    _OPS.impl(_name, _run, "CPU")
    torch.library.register_fake(f"corecur::{_name}", _shapes, lib=_OPS)


def _weight_gradients(d_gates: Tensor, x: Tensor, before: Tensor, kind: int) -> tuple[Tensor, Tensor]:
    """The gradients of the input's weights (G, C) and of the recurrent ones (G, H), given the states before (N, H)."""
    if kind != _GRU:
        return product(d_gates.t(), x), product(d_gates.t(), before)
    units = before.shape[1]
    d_hh = before.new_empty(3 * units, units)
    product(d_gates[:, units : 3 * units].t(), before, d_hh[: 2 * units])  # columns q, r, z, n
    product(d_gates[:, :units].t(), before, d_hh[2 * units :])
    return product(d_gates[:, units:].t(), x), d_hh


def _bias_gradients(kind: int, sums: Tensor, units: int) -> tuple[Tensor, Tensor]:
    """The gradients of the input's and of the recurrent bias, given the sums of the gates' gradients (D)."""
    if kind != _GRU:
        return sums, sums
    return sums[units:], torch.cat([sums[units : 3 * units], sums[:units]])  # columns q, r, z, n


def _peephole_gradient(packing: Packing, d_gates: Tensor, gates: Tensor, cells: Tensor, zoneout: bool) -> Tensor:
    """The gradient of the peepholes of i, f and o (3, H)."""
    i, f, _, o = d_gates.chunk(4, 1)
    old, new = packing.earlier(cells), cells[packing.batch : -1]
    if zoneout:
        i_, f_, g_, _ = gates.chunk(4, 1)
        new = f_ * old + i_ * g_
    return torch.stack([(i * old).sum(0), (f * old).sum(0), (o * new).sum(0)])


def _with_zeros(a: Tensor, b: Tensor) -> Tensor:
    """The product of a (N, K) and b (K, C), and a row of zeros (N + 1, C)."""
    found = a.new_empty(len(a) + 1, b.shape[1])
    product(a, b, found[:-1])
    found[-1] = 0
    return found


class _Recurrence(torch.autograd.Function):
    """Outputs, last states; gradients to inputs, states and all weights."""

    @staticmethod
    def forward(
        ctx: Any,
        packing: Packing,
        outputs: bool,
        kind: int,
        dropout: Tensor | None,
        zoneout: Sequence[Tensor],
        x: Tensor,
        h: Tensor,
        c: Tensor | None,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        peephole: Tensor | None,
        training: bool,
    ) -> Any:
        x = packing.pack(x)
        units = weight_hh.shape[1]
        bias, apart = bias_ih, None
        if bias_ih is not None and bias_hh is not None:
            bias = bias_ih + bias_hh
            if kind == _GRU:  # what is added within the reset gate's reach stands apart
                bias[2 * units :] = bias_ih[2 * units :]
                apart = bias_hh[2 * units :].contiguous()
        zoneout_h, zoneout_c = (*zoneout, None, None)[:2]
        training = training and any(ctx.needs_input_grad)
        h, c = packing.sort(h), None if c is None else packing.sort(c)
        gates, states, cells, extra = torch.ops.corecur.recurrence.default(
            x, weight_ih, bias, h, c, weight_hh, apart, peephole, dropout, zoneout_h, zoneout_c, packing.sizes,
            packing.offsets, kind, training, outputs,
        )  # fmt: skip
        if training:
            ctx.save_for_backward(
                x, gates, states, cells, extra, weight_ih, weight_hh, peephole, dropout, zoneout_h, zoneout_c
            )
        ctx.packing, ctx.kind, ctx.biased = packing, kind, bias_ih is not None
        ctx.set_materialize_grads(False)
        y = packing.spread(states) if outputs else states.new_empty(packing.batch, 0, units)
        batch = packing.batch
        last = packing.unsort(packing.last(states) if training or outputs else states[:batch])
        return y, last, None if c is None else packing.unsort(packing.last(cells) if training else cells)

    @staticmethod
    def backward(ctx: Any, d_y: Tensor | None, d_last: Tensor | None, d_cell: Tensor | None) -> Any:
        x, gates, states, cells, extra, w_ih, w_hh, peephole, dropout, zoneout_h, zoneout_c = ctx.saved_tensors
        packing, kind = ctx.packing, ctx.kind
        refuse_second_derivatives()
        units = w_hh.shape[1]
        shape = (packing.batch, units)
        d_h = states.new_zeros(shape) if d_last is None else packing.sort(d_last).contiguous()
        d_c = None
        if kind in _CELL:
            d_c = states.new_zeros(shape) if d_cell is None else packing.sort(d_cell).contiguous()
        d_outputs = None if d_y is None else packing.spread_gradient(d_y)
        needs = ctx.needs_input_grad
        plain = peephole is None and dropout is None and needs[8] and needs[9]
        if plain and _sums_up(kind, x, *shape):
            d_x, d_h, d_c, d_w_ih, d_w_hh, sums = torch.ops.corecur.recurrence_gradients.default(
                gates, states, cells, extra, x, w_ih, w_hh, zoneout_h, zoneout_c, packing.sizes, packing.offsets, kind,
                d_outputs, d_h, d_c, needs[5],
            )  # fmt: skip
            d_peephole = None
        else:
            d_gates, d_h, d_c = torch.ops.corecur.recurrence_backward.default(
                gates, states, cells, extra, w_hh, peephole, dropout, zoneout_h, zoneout_c, packing.sizes,
                packing.offsets, kind, d_outputs, d_h, d_c,
            )  # fmt: skip
            d_x = _with_zeros(d_gates[:, units:] if kind == _GRU else d_gates, w_ih) if needs[5] else None
            d_w_ih = d_w_hh = None
            if needs[8] or needs[9]:
                seen = packing.earlier(states)
                if dropout is not None:
                    seen = seen * dropout[packing.rows()]
                d_w_ih, d_w_hh = _weight_gradients(d_gates, x, seen, kind)
            sums = d_gates.sum(0) if ctx.biased else None
            d_peephole = (
                None if peephole is None else _peephole_gradient(packing, d_gates, gates, cells, zoneout_h is not None)
            )
        d_b_ih, d_b_hh = _bias_gradients(kind, sums, units) if ctx.biased else (None, None)
        return (
            None, None, None, None, None, packing.unpack(d_x) if needs[5] else None,
            packing.unsort(d_h) if needs[6] else None, packing.unsort(d_c) if kind in _CELL and needs[7] else None,
            d_w_ih, d_w_hh, d_b_ih, d_b_hh, d_peephole, None,
        )  # fmt: skip


def refuse_second_derivatives() -> None:
    """ConfigError in a way back that is to have a gradient itself."""
    if torch.is_grad_enabled():
        raise ConfigError(
            "the native recurrent kernels have no second derivatives",
            got="a way back with create_graph=True",
            do="run the layer inside ``with corecur.kernels.asking_for('scripted loop')``",
        )


def run_native(work: Work) -> tuple[Tensor, list[Tensor]]:
    """The work as one native call in each direction."""
    kind = KINDS[work.kind, "relu" if work.phi is torch.relu else "tanh"]
    batch, steps = work.x.shape[:2]
    packing, weights = work.packed_rows(), work.weights
    units = weights["weight_hh"].shape[1]
    zoneout = [packing.pack(stays.expand(steps, batch, units).transpose(0, 1)) for stays in work.zoneout]
    dropout = None if work.recurrent_dropout is None else packing.sort(work.recurrent_dropout).contiguous()
    peephole = None
    if "weight_ci" in weights:
        peephole = torch.stack([weights["weight_ci"], weights["weight_cf"], weights["weight_co"]])
    state = [s.contiguous() for s in work.state]
    y, *last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        packing, work.need_outputs, kind, dropout, zoneout, work.x, state[0], state[1] if len(state) > 1 else None,
        weights["weight_ih"].contiguous(), weights["weight_hh"].contiguous(), weights.get("bias_ih"),
        weights.get("bias_hh"), peephole,
        torch.is_grad_enabled(),
    )  # fmt: skip
    return y, last[: len(state)]
