"""The native recurrent kernels as torch operations, and their gradients: input and weight products stay with torch.

B batch, T time, C features, H units, G gates · H, P outputs, N the real steps of all rows together.

Inside, rows stand in order of their lengths and time comes first: step t is the rows still running at t, one after
the other, so that a finished row costs nothing and the products over all steps are one each.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from corecur.errors import ConfigError
from corecur.kernels.cell import Work
from corecur.kernels.library import table, threads

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


class _Job(ctypes.Structure):
    """``CorecurRecurrent`` of csrc/recurrent.hpp."""

    _fields_ = [
        ("kind", ctypes.c_int32),
        ("training", ctypes.c_int32),
        *((name, ctypes.c_int64) for name in ("steps", "batch", "units", "outputs")),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "sizes", "offsets", "gates", "h", "c", "extra", "weight", "bias", "peephole", "dropout", "zoneout_h",
                "zoneout_c", "packed",
            )
        ),
        ("pack", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("d_outputs", "d_h", "d_c", "d_gates")),
    ]  # fmt: skip


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _room(units: int, kind: int, *, back: bool) -> int:
    """Floats that the packed recurrent weights take, whatever the instruction set."""
    return (_D_GATES[kind] if back else _GATES[kind]) * units * -(-units // 64) * 64


_OPS: Any = torch.library.Library("corecur", "FRAGMENT")  # type: ignore[no-untyped-call]
_OPS.define(
    "recurrence(Tensor(a!) gates, Tensor h, Tensor? c, Tensor weight, Tensor? bias, Tensor? peephole, Tensor? dropout,"
    " Tensor? zoneout_h, Tensor? zoneout_c, Tensor sizes, Tensor offsets, int kind, bool training)"
    " -> (Tensor, Tensor, Tensor)"
)
_OPS.define(
    "recurrence_backward(Tensor gates, Tensor h, Tensor c, Tensor extra, Tensor weight, Tensor? peephole,"
    " Tensor? dropout, Tensor? zoneout_h, Tensor? zoneout_c, Tensor sizes, Tensor offsets, int kind, Tensor? d_outputs,"
    " Tensor d_h, Tensor? d_c) -> (Tensor, Tensor, Tensor)"
)


def _recurrence(
    gates: Tensor,
    h: Tensor,
    c: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    peephole: Tensor | None,
    dropout: Tensor | None,
    zoneout_h: Tensor | None,
    zoneout_c: Tensor | None,
    sizes: Tensor,
    offsets: Tensor,
    kind: int,
    training: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """States h (B + N, H) and c of all steps after those before the first, and GRU's q (N, H)."""
    batch, units, real = len(h), weight.shape[1], len(gates)
    states = gates.new_empty(batch + real, units)
    states[:batch] = h
    cells = gates.new_empty(batch + real if c is not None else 0, units)
    if c is not None:
        cells[:batch] = c
    extra = gates.new_empty(real if kind == _GRU and training else 0, units)
    packed = gates.new_empty(_room(units, kind, back=False))
    masked = None if dropout is None else gates.new_empty(batch, units)
    job = _Job(
        kind, training, len(sizes), batch, units, units, _at(sizes), _at(offsets), _at(gates), _at(states), _at(cells),
        _at(extra), _at(weight), _at(bias), _at(peephole), _at(dropout), _at(zoneout_h), _at(zoneout_c), _at(packed), 1,
        None, _at(masked),
    )  # fmt: skip
    table().recurrent_forward(ctypes.byref(job), 1, threads())
    return states, cells, extra


def _recurrence_backward(
    gates: Tensor,
    h: Tensor,
    c: Tensor,
    extra: Tensor,
    weight: Tensor,
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
    batch, units, real = len(d_h), weight.shape[1], len(gates)
    d_h, d_c = d_h.clone(), d_h.new_empty(0) if d_c is None else d_c.clone()
    d_gates = gates.new_empty(real, _D_GATES[kind] * units)
    packed = gates.new_empty(_room(units, kind, back=True))
    job = _Job(
        kind, True, len(sizes), batch, units, units, _at(sizes), _at(offsets), _at(gates), _at(h), _at(c), _at(extra),
        _at(weight), None, _at(peephole), _at(dropout), _at(zoneout_h), _at(zoneout_c), _at(packed), 1, _at(d_outputs),
        _at(d_h), _at(d_c), _at(d_gates),
    )  # fmt: skip
    table().recurrent_backward(ctypes.byref(job), 1, threads())
    return d_gates, d_h, d_c


def _recurrence_shapes(
    gates: Tensor, h: Tensor, c: Tensor | None, weight: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    (*_, kind, training), rows, units = rest, len(h) + len(gates), weight.shape[1]
    sizes = (rows, rows if c is not None else 0, len(gates) if kind == _GRU and training else 0)
    a, b, e = (gates.new_empty(size, units) for size in sizes)
    return a, b, e


def _backward_shapes(gates: Tensor, h: Tensor, c: Tensor, extra: Tensor, weight: Tensor, *rest: Any) -> Any:
    *_, kind, _, d_h, d_c = rest
    d_c = d_h.new_empty(0) if d_c is None else torch.empty_like(d_c)
    return gates.new_empty(len(gates), _D_GATES[kind] * weight.shape[1]), torch.empty_like(d_h), d_c


_OPS.impl("recurrence", _recurrence, "CPU")
_OPS.impl("recurrence_backward", _recurrence_backward, "CPU")
torch.library.register_fake("corecur::recurrence", _recurrence_shapes, lib=_OPS)
torch.library.register_fake("corecur::recurrence_backward", _backward_shapes, lib=_OPS)


@dataclass(frozen=True)
class Packing:
    """Where the real steps of a batch stand in the packed order, and how to come there and back."""

    batch: int
    steps: int
    #: (T), how many rows run at each step, and where they begin among all N.
    sizes: Tensor
    offsets: Tensor
    #: The rows, longest first (B); None, as all below, where every step is real.
    order: Tensor | None = None
    #: (N): each packed row's place among the steps of all rows, batch first, and its row.
    places: Tensor | None = None
    #: (N): where h holds the state before each packed row.
    before: Tensor | None = None

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, …) -> (N, …)."""
        if self.places is not None:
            return x.reshape(-1, *x.shape[2:]).index_select(0, self.places)
        return x.transpose(0, 1).contiguous().view(-1, *x.shape[2:])

    def unpack(self, y: Tensor) -> Tensor:
        """(N, …) -> (B, T, …), zeros after each row's end."""
        if self.places is None:
            return y.view(self.steps, self.batch, *y.shape[1:]).transpose(0, 1)
        padded = y.new_zeros(self.batch * self.steps, *y.shape[1:])
        return padded.index_copy_(0, self.places, y).view(self.batch, self.steps, *y.shape[1:])

    def sort(self, state: Tensor) -> Tensor:
        """A state (B, …) in the packed order of rows."""
        return state if self.order is None else state.index_select(0, self.order)

    def unsort(self, state: Tensor) -> Tensor:
        """A state in the packed order of rows as (B, …)."""
        return state if self.order is None else torch.empty_like(state).index_copy_(0, self.order, state)

    def last(self, states: Tensor) -> Tensor:
        """Each row's last state, in the packed order of rows, of the states (B + N, …)."""
        if self.order is None or self.before is None:
            return states[len(states) - self.batch :]
        rows = torch.arange(self.batch, device="cpu")
        lengths = (self.sizes[:, None] > rows).sum(0)  # (B)
        ends = self.batch + self.offsets[(lengths - 1).clamp(min=0)] + rows
        return states.index_select(0, torch.where(lengths > 0, ends, rows))

    def earlier(self, states: Tensor) -> Tensor:
        """(B + N, …) -> (N, …): the state before each packed row."""
        return states[: len(states) - self.batch] if self.before is None else states.index_select(0, self.before)


def whole(batch: int, steps: int) -> Packing:
    """The packing of a batch without padding.

    >>> whole(2, 3).offsets
    tensor([0, 2, 4])
    """
    # Made anew each time: kept tensors may be fake ones, of a compiler that has only traced the layer.
    return Packing(batch, steps, torch.full((steps,), batch, device="cpu"), torch.arange(steps, device="cpu") * batch)


def ragged(lengths: Tensor, steps: int) -> Packing:
    """The packing of rows whose real steps stand in front.

    >>> ragged(torch.tensor([1, 3]), 3).places
    tensor([3, 0, 4, 5])
    """
    lengths, order = torch.sort(lengths.cpu(), descending=True, stable=True)
    batch = len(lengths)
    running = torch.arange(steps, device="cpu")[:, None] < lengths  # (T, B)
    sizes = running.sum(1)
    offsets = sizes.cumsum(0) - sizes
    t, row = running.nonzero(as_tuple=True)  # (N)
    before = torch.where(t > 0, batch + offsets[(t - 1).clamp(min=0)] + row, row)
    return Packing(batch, steps, sizes, offsets, order, order[row] * steps + t, before)


class _Recurrence(torch.autograd.Function):
    """Outputs, last states; gradients to inputs, states and all weights."""

    @staticmethod
    def forward(
        ctx: Any,
        packing: Packing,
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
        bias = bias_ih
        if bias_ih is not None and bias_hh is not None:
            bias = bias_ih.clone()
            inside = 2 * units if kind == _GRU else len(bias)  # the rest stands within the reset gate's reach
            bias[:inside] += bias_hh[:inside]
        gates = torch.mm(x, weight_ih.t()) if bias is None else torch.addmm(bias, x, weight_ih.t())
        own = bias_hh[2 * units :].contiguous() if kind == _GRU and bias_hh is not None else None
        zoneout_h, zoneout_c = (*zoneout, None, None)[:2]
        training = training and any(ctx.needs_input_grad)
        h, c = packing.sort(h), None if c is None else packing.sort(c)
        states, cells, extra = torch.ops.corecur.recurrence.default(
            gates, h, c, weight_hh, own, peephole, dropout, zoneout_h, zoneout_c, packing.sizes, packing.offsets, kind,
            training,
        )  # fmt: skip
        if training:
            ctx.save_for_backward(
                x, gates, states, cells, extra, weight_ih, weight_hh, peephole, dropout, zoneout_h, zoneout_c
            )
        ctx.packing, ctx.kind, ctx.biased = packing, kind, bias_ih is not None
        ctx.set_materialize_grads(False)
        y = packing.unpack(states[packing.batch :])
        last = packing.unsort(packing.last(states))
        return y, last, None if c is None else packing.unsort(packing.last(cells))

    @staticmethod
    def backward(ctx: Any, d_y: Tensor | None, d_last: Tensor | None, d_cell: Tensor | None) -> Any:
        x, gates, states, cells, extra, w_ih, w_hh, peephole, dropout, zoneout_h, zoneout_c = ctx.saved_tensors
        packing, kind = ctx.packing, ctx.kind
        if torch.is_grad_enabled():
            raise ConfigError(
                "the native recurrent kernels have no second derivatives",
                got="a way back with create_graph=True",
                do="run the layer inside ``with corecur.kernels.asking_for('scripted loop')``",
            )
        units = w_hh.shape[1]
        shape = (packing.batch, units)
        d_h = states.new_zeros(shape) if d_last is None else packing.sort(d_last).contiguous()
        d_c = None
        if kind in _CELL:
            d_c = states.new_zeros(shape) if d_cell is None else packing.sort(d_cell).contiguous()
        d_outputs = None if d_y is None else packing.pack(d_y)
        d_gates, d_h, d_c = torch.ops.corecur.recurrence_backward.default(
            gates, states, cells, extra, w_hh, peephole, dropout, zoneout_h, zoneout_c, packing.sizes, packing.offsets,
            kind, d_outputs, d_h, d_c,
        )  # fmt: skip
        d_input = d_gates[:, units:] if kind == _GRU else d_gates
        d_own = d_gates[:, : 3 * units] if kind == _GRU else d_gates
        seen = packing.earlier(states)
        if dropout is not None:
            seen = seen * (dropout.repeat(packing.steps, 1) if packing.places is None else dropout[_rows(packing)])
        needs = ctx.needs_input_grad
        d_x = packing.unpack(torch.mm(d_input, w_ih)) if needs[4] else None
        d_w_ih = torch.mm(d_input.t(), x) if needs[7] else None
        d_w_hh = torch.mm(d_own.t(), seen) if needs[8] else None
        d_b_ih = d_input.sum(0) if ctx.biased else None
        d_b_hh = d_b_ih
        if kind == _GRU:  # q, r, z -> r, z, n
            d_w_hh = None if d_w_hh is None else d_w_hh.roll(-units, 0)
            if d_b_ih is not None:
                d_b_hh = torch.cat([d_b_ih[: 2 * units], d_gates[:, :units].sum(0)])
        d_peephole = None
        if peephole is not None:
            i, f, _, o = d_gates.split(units, 1)
            old, new = packing.earlier(cells), cells[packing.batch :]
            if zoneout_h is not None:
                i_, f_, g_, _ = gates.split(units, 1)
                new = f_ * old + i_ * g_
            d_peephole = torch.stack([(i * old).sum(0), (f * old).sum(0), (o * new).sum(0)])
        return (
            None, None, None, None, d_x, packing.unsort(d_h) if needs[5] else None,
            packing.unsort(d_c) if kind in _CELL and needs[6] else None, d_w_ih, d_w_hh, d_b_ih, d_b_hh, d_peephole,
            None,
        )  # fmt: skip


def _rows(packing: Packing) -> Tensor:
    """(N): the row of the batch, in the packed order of rows, of each packed row."""
    return torch.cat([torch.arange(int(size), device="cpu") for size in packing.sizes])


def run_native(work: Work) -> tuple[Tensor, list[Tensor]]:
    """The work as one native call in each direction."""
    kind = KINDS[work.kind, "relu" if work.phi is torch.relu else "tanh"]
    batch, steps = work.x.shape[:2]
    packing = whole(batch, steps) if work.lengths is None else ragged(work.lengths, steps)
    weights = work.weights
    units = weights["weight_hh"].shape[1]
    zoneout = [packing.pack(stays.expand(steps, batch, units).transpose(0, 1)) for stays in work.zoneout]
    dropout = None if work.recurrent_dropout is None else packing.sort(work.recurrent_dropout).contiguous()
    peephole = None
    if "weight_ci" in weights:
        peephole = torch.stack([weights["weight_ci"], weights["weight_cf"], weights["weight_co"]])
    state = [s.contiguous() for s in work.state]
    y, *last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        packing, kind, dropout, zoneout, work.x, state[0], state[1] if len(state) > 1 else None, weights["weight_ih"],
        weights["weight_hh"].contiguous(), weights.get("bias_ih"), weights.get("bias_hh"), peephole,
        torch.is_grad_enabled(),
    )  # fmt: skip
    return y, last[: len(state)]
