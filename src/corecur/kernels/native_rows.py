"""The native kernels of recurrences whose step needs whole rows: norms, a projection, the classic GRU.

B batch, T time, H units, G gates · H, P outputs, N the real steps of all rows together. The input's part of the gates
is computed for all steps at once by torch, outside.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from corecur.kernels.cell import Result, Work, input_part
from corecur.kernels.library import Struct, table, threads
from corecur.kernels.native import refuse_second_derivatives
from corecur.kernels.operation import operation
from corecur.kernels.packed_rows import Packing

#: Kinds that are computed here; the functions are tanh and the logistic function.
KINDS = (
    "classic_gru", "layer_norm_lstm", "projected_lstm", "projected_peephole_lstm", "projected_layer_norm_lstm",
)  # fmt: skip
#: A cell's own weights beside the recurrent ones, in the order in which the operations take them.
_WEIGHTS = ("peephole", "weight_hr", "weight_norm_hh", "weight_norm_c", "bias_norm_c")


class _Job(Struct):
    """``CorecurRowRecurrent`` of csrc/row_recurrent.hpp."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("classic", "training")),
        *((name, ctypes.c_int64) for name in ("steps", "batch", "units", "outputs")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "sizes", "offsets", "gates", "h", "c", "between", "normed", "scales", "weight", "bias", "peephole",
                "projection", "gain", "gain_c", "bias_c", "dropout", "zoneout_h", "zoneout_c", "packed", "scratch",
                "d_outputs", "d_h", "d_c", "d_gates", "d_product", "d_between", "d_cell",
            )
        ),
    ]  # fmt: skip


def _own(own: Sequence[Tensor | None]) -> dict[str, Tensor | None]:
    """A cell's own weights under the names of the struct."""
    return dict(zip(("peephole", "projection", "gain", "gain_c", "bias_c"), own, strict=True))


def _rooms(gates: Tensor, batch: int, units: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Room for the packed weights of one way, whatever the instruction set, and for the scratch."""

    def panels(depth: int, columns: int) -> int:
        return depth * -(-columns // 32) * 32

    width = gates.shape[1]
    recurrent = max(panels(outputs, width), panels(width, outputs))
    second = max(panels(units, outputs), panels(outputs, units))
    return gates.new_empty(recurrent + second), gates.new_empty(batch, 4 * units + 2 * max(units, outputs))


def _forward(
    gates: Tensor,
    h: Tensor,
    c: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    own: Sequence[Tensor | None],
    dropout: Tensor | None,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    sizes: Tensor,
    offsets: Tensor,
    training: bool,
) -> tuple[Tensor, ...]:
    """The gates' values (N, G), the states h (B + N + 1, P) and c as packed_rows.py has them, and what the way back
    needs of what lies between."""
    classic, (batch, outputs), real = c is None, h.shape, len(gates)
    gates, units = gates.clone(), gates.shape[1] // (3 if classic else 4)
    named = _own(own)
    count = batch + real + 1
    states, cells = gates.new_empty(count, outputs), gates.new_empty(0 if c is None else count, units)
    states[:batch], states[-1] = h, 0
    if c is not None:
        cells[:batch], cells[-1] = c, 0
    between = gates.new_empty(real if classic or named["projection"] is not None else 0, units)
    norms = named["gain"] is not None
    packed, scratch = _rooms(gates, batch, units, outputs)
    normed, scales = gates.new_empty(real if norms else 0, 4 * units), gates.new_empty(real if norms else 0)
    job = _Job.of(
        classic=classic, training=training, steps=len(sizes), batch=batch, units=units, outputs=outputs, sizes=sizes,
        offsets=offsets, gates=gates, h=states, c=cells, between=between, normed=normed, scales=scales, weight=weight,
        bias=bias, dropout=dropout, zoneout_h=zoneout_h, zoneout_c=zoneout_c,
        packed=packed, scratch=scratch, **named,
    )  # fmt: skip
    table().row_recurrent_forward(ctypes.byref(job), threads())
    return gates, states, cells, between, normed, scales


def _backward(
    gates: Tensor,
    h: Tensor,
    c: Tensor,
    between: Tensor,
    normed: Tensor,
    scales: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    own: Sequence[Tensor | None],
    dropout: Tensor | None,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    sizes: Tensor,
    offsets: Tensor,
    d_outputs: Tensor | None,
    d_h: Tensor,
    d_c: Tensor | None,
) -> tuple[Tensor, ...]:
    """The gradients of the gates' sums (N, G) and of the first state, and those at the norms and the projection."""
    classic, (batch, outputs), real = d_c is None, d_h.shape, len(gates)
    units, named = gates.shape[1] // (3 if classic else 4), _own(own)
    d_h, d_c = d_h.clone(), d_h.new_empty(0) if d_c is None else d_c.clone()
    d_gates = torch.empty_like(gates)
    d_product, d_cell = torch.empty_like(normed), normed.new_empty(len(normed), units)
    packed, scratch = _rooms(gates, batch, units, outputs)
    d_between = gates.new_empty(0 if named["projection"] is None else real, outputs)
    job = _Job.of(
        classic=classic, training=True, steps=len(sizes), batch=batch, units=units, outputs=outputs, sizes=sizes,
        offsets=offsets, gates=gates, h=h, c=c, between=between, normed=normed, scales=scales, weight=weight,
        dropout=dropout, zoneout_h=zoneout_h, zoneout_c=zoneout_c,
        packed=packed, scratch=scratch, d_outputs=d_outputs, d_h=d_h, d_c=d_c, d_gates=d_gates, d_product=d_product,
        d_between=d_between, d_cell=d_cell, **named,
    )  # fmt: skip
    table().row_recurrent_backward(ctypes.byref(job), threads())
    return d_gates, d_h, d_c, d_product, d_between, d_cell


def _forward_shapes(gates: Tensor, h: Tensor, c: Tensor | None, weight: Tensor, bias: Any, own: Any, *rest: Any) -> Any:
    real, units = len(gates), gates.shape[1] // (3 if c is None else 4)
    between = real if c is None or own[1] is not None else 0
    norms = real if own[2] is not None else 0
    states = h.new_empty(len(h) + real + 1, h.shape[1])
    cells = h.new_empty(0 if c is None else len(h) + real + 1, units)
    rest = h.new_empty(between, units), h.new_empty(norms, 4 * units), h.new_empty(norms)
    return torch.empty_like(gates), states, cells, *rest


def _backward_shapes(gates: Tensor, h: Tensor, c: Tensor, between: Tensor, normed: Tensor, *rest: Any) -> Any:
    own, d_h, d_c = rest[3], rest[-2], rest[-1]
    units = gates.shape[1] // (3 if d_c is None else 4)
    d_cells = d_h.new_empty(0) if d_c is None else torch.empty_like(d_c)
    d_between = gates.new_empty(0 if own[1] is None else len(gates), d_h.shape[1])
    ends = torch.empty_like(normed), d_between, normed.new_empty(len(normed), units)
    return torch.empty_like(gates), torch.empty_like(d_h), d_cells, *ends


_CELL = "Tensor weight, Tensor? bias, Tensor?[] own, Tensor? dropout, Tensor? zoneout_h, Tensor? zoneout_c,"
_row_recurrence = operation(
    f"row_recurrence(Tensor gates, Tensor h, Tensor? c, {_CELL} Tensor sizes, Tensor offsets, bool training)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _forward,
    _forward_shapes,
)
_row_recurrence_backward = operation(
    f"row_recurrence_backward(Tensor gates, Tensor h, Tensor c, Tensor between, Tensor normed, Tensor scales, {_CELL}"
    " Tensor sizes, Tensor offsets, Tensor? d_outputs, Tensor d_h, Tensor? d_c)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _backward,
    _backward_shapes,
)


class _RowRecurrence(torch.autograd.Function):
    """Outputs and last states; gradients to the gates' input part, the states and the cell's weights."""

    @staticmethod
    def forward(
        ctx: Any,
        packing: Packing,
        outputs: bool,
        training: bool,
        dropout: Tensor | None,
        zoneout: Sequence[Tensor],
        gates: Tensor,
        h: Tensor,
        c: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        *own: Tensor | None,
    ) -> Any:
        training = training and any(ctx.needs_input_grad)
        zoneout_h, zoneout_c = (*zoneout, None, None)[:2]
        h, c = packing.sort(h), None if c is None else packing.sort(c)
        cell = (weight, bias, list(own), dropout, zoneout_h, zoneout_c, packing.sizes, packing.offsets)
        done = _row_recurrence(gates, h, c, *cell, training)
        if training:
            ctx.save_for_backward(*done, weight, bias, dropout, zoneout_h, zoneout_c, *own)
        ctx.packing, ctx.has_cell = packing, c is not None
        ctx.set_materialize_grads(False)
        states, cells = done[1:3]
        last = packing.unsort(packing.last(states))
        return (
            packing.spread(states) if outputs else states.new_empty(packing.batch, 0, states.shape[1]),
            last,
            None if c is None else packing.unsort(packing.last(cells)),
        )

    @staticmethod
    def backward(ctx: Any, d_y: Tensor | None, d_last: Tensor | None, d_cell: Tensor | None) -> Any:
        refuse_second_derivatives()
        gates, states, cells, between, normed, scales, weight, bias, dropout, *more = ctx.saved_tensors
        (zoneout_h, zoneout_c), own, packing = more[:2], more[2:], ctx.packing
        units, outputs = gates.shape[1] // (4 if ctx.has_cell else 3), states.shape[1]
        d_h = _gradient(d_last, packing, states, outputs)
        d_c = _gradient(d_cell, packing, states, units) if ctx.has_cell else None
        cell = (weight, bias, own, dropout, zoneout_h, zoneout_c, packing.sizes, packing.offsets)
        d_outputs = None if d_y is None else packing.spread_gradient(d_y)
        d_gates, d_h, d_c, d_product, d_between, d_normed_c = _row_recurrence_backward(
            gates, states, cells, between, normed, scales, *cell, d_outputs, d_h, d_c
        )
        seen = packing.earlier(states)
        if dropout is not None:
            seen = seen * dropout[packing.rows()]
        d_weight = torch.mm((d_product if own[2] is not None else d_gates).t(), seen)
        if not ctx.has_cell:
            d_weight[2 * units :] = torch.mm(d_gates[:, 2 * units :].t(), between)
        fresh, old = None, None
        if own[0] is not None or own[3] is not None:  # the cell before zoneout
            i, f, g, _ = gates.split(units, 1)
            old = packing.earlier(cells)
            fresh = f * old + i * g
        d_own = _own_gradients(own, d_gates, normed, between, d_between, d_normed_c, fresh, old)
        d_bias = None if bias is None else d_gates.sum(0)
        d_state = packing.unsort(d_h), packing.unsort(d_c) if ctx.has_cell else None
        return None, None, None, None, None, d_gates, *d_state, d_weight, d_bias, *d_own


def _gradient(given: Tensor | None, packing: Packing, like: Tensor, width: int) -> Tensor:
    """The gradient of a last state in the packed order of rows, zeros where there is none."""
    return like.new_zeros(packing.batch, width) if given is None else packing.sort(given).contiguous()


def _own_gradients(
    own: Sequence[Tensor | None],
    d_gates: Tensor,
    normed: Tensor,
    between: Tensor,
    d_between: Tensor,
    d_cell: Tensor,
    fresh: Tensor | None,
    old: Tensor | None,
) -> list[Tensor | None]:
    """The gradients of peepholes, projection and norms, None for those that are not there."""
    peephole, projection, gain, gain_c, _ = own
    found: list[Tensor | None] = [None] * len(own)
    if peephole is not None and fresh is not None and old is not None:
        i, f, _, o = d_gates.chunk(4, 1)
        found[0] = torch.stack([(i * old).sum(0), (f * old).sum(0), (o * fresh).sum(0)])
    if projection is not None:
        found[1] = torch.mm(d_between.t(), between)
    if gain is not None:
        found[2] = (d_gates * normed).sum(0)
    if gain_c is not None and fresh is not None:
        found[3] = (d_cell * torch.nn.functional.layer_norm(fresh, gain_c.shape)).sum(0)
        found[4] = d_cell.sum(0)
    return found


def run_rows(work: Work) -> Result:
    """The work as one native call in each direction, the input's part computed before."""
    batch, steps = work.x.shape[:2]
    packing = work.packed_rows()
    weights = dict(work.weights)
    if "weight_ci" in weights:
        weights["peephole"] = torch.stack([weights["weight_ci"], weights["weight_cf"], weights["weight_co"]])
    gates = input_part(packing.pack(work.x), weights)
    zoneout = [
        packing.pack(z.expand(steps, batch, s.shape[1]).transpose(0, 1))
        for z, s in zip(work.zoneout, work.state, strict=False)
    ]
    dropout = None if work.recurrent_dropout is None else packing.sort(work.recurrent_dropout).contiguous()
    state = [s.contiguous() for s in work.state]
    own = [None if weight is None else weight.contiguous() for weight in map(weights.get, _WEIGHTS)]
    bias = weights.get("bias_hh")
    y, *last = _RowRecurrence.apply(  # type: ignore[no-untyped-call]
        packing, work.need_outputs, torch.is_grad_enabled(), dropout, zoneout, gates, state[0],
        state[1] if len(state) > 1 else None,
        weights["weight_hh"].contiguous(), None if bias is None else bias.contiguous(), *own,
    )  # fmt: skip
    return y, last[: len(state)]
