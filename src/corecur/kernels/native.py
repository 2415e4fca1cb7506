"""The native recurrent kernels with their gradients; with many units the products of weights are torch's.

B batch, T time, C features, H units, G gates · H, P outputs, N the real steps of all rows together.

Inside, rows are packed (packed_rows.py), so that the products over all steps are one each.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from corecur.errors import ConfigError
from corecur.kernels.cell import Result, Work
from corecur.kernels.packed_rows import Packing
from corecur.kernels.products import product
from corecur.kernels.recurrence_ops import (
    GRU,
    WITH_CELL,
    in_groups,
    recurrences,
    recurrences_backward,
    recurrences_gradients,
    sums_up,
)

#: Kind and activation -> its number in csrc/recurrent.cpp.
KINDS = {
    ("simple_rnn", "tanh"): 0,
    ("simple_rnn", "relu"): 1,
    ("lstm", "tanh"): 2,
    ("peephole_lstm", "tanh"): 3,
    ("gru", "tanh"): GRU,
}


def _weight_gradients(d_gates: Tensor, x: Tensor, before: Tensor, kind: int) -> tuple[Tensor, Tensor]:
    """The gradients of the input's weights (G, C) and of the recurrent ones (G, H), given the states before (N, H)."""
    if kind != GRU:
        return product(d_gates.t(), x), product(d_gates.t(), before)
    units = before.shape[1]
    d_hh = before.new_empty(3 * units, units)
    product(d_gates[:, units : 3 * units].t(), before, d_hh[: 2 * units])  # columns q, r, z, n
    product(d_gates[:, :units].t(), before, d_hh[2 * units :])
    return product(d_gates[:, units:].t(), x), d_hh


def _bias_gradients(kind: int, sums: Tensor, units: int) -> tuple[Tensor, Tensor]:
    """The gradients of the input's and of the recurrent bias, given the sums of the gates' gradients (D)."""
    if kind != GRU:
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


class _Plan(NamedTuple):
    """What a recurrence is, beside the tensors that may want gradients."""

    packing: Packing
    outputs: bool
    kind: int
    dropout: Tensor | None
    zoneout_h: Tensor | None
    zoneout_c: Tensor | None


#: Tensors of each recurrence that may want gradients: x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, peephole.
_GIVEN = 8


class _Kept(NamedTuple):
    """The tensors of a recurrence that the way back needs."""

    x: Tensor
    gates: Tensor
    states: Tensor
    cells: Tensor
    extra: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    peephole: Tensor | None
    dropout: Tensor | None
    zoneout_h: Tensor | None
    zoneout_c: Tensor | None


class _Back(NamedTuple):
    """The way back of one recurrence: what it was, what of it was kept, what arrives, which gradients are wanted."""

    packing: Packing
    kind: int
    kept: _Kept
    d_outputs: Tensor | None
    d_h: Tensor | None
    d_c: Tensor | None
    #: In the order of the tensors given.
    needs: Sequence[bool]

    def sums_up(self, count: int) -> bool:
        """Whether the gradients of the weights are summed up on the way, with ``count`` recurrences at once."""
        kept, weights = self.kept, self.needs[3] and self.needs[4]
        plain = kept.peephole is None and kept.dropout is None and weights
        return plain and sums_up(self.kind, kept.x, self.packing.batch, kept.states.shape[1], count)

    def gradients(
        self,
        d_x: Tensor | None,
        d_h: Tensor,
        d_c: Tensor,
        d_w_ih: Tensor | None,
        d_w_hh: Tensor | None,
        sums: Tensor | None,
        d_peephole: Tensor | None = None,
    ) -> tuple[Tensor | None, ...]:
        """Those of the tensors given, of input and states in the packed order, the sums over the gates' (D)."""
        packing, needs = self.packing, self.needs
        biases: tuple[Tensor | None, Tensor | None] = None, None
        if sums is not None and (needs[5] or needs[6]):
            biases = _bias_gradients(self.kind, sums, self.kept.states.shape[1])
        return (
            packing.unpack(d_x) if d_x is not None and needs[0] else None,
            packing.unsort(d_h) if needs[1] else None,
            packing.unsort(d_c) if self.kind in WITH_CELL and needs[2] else None,
            d_w_ih, d_w_hh, *biases, d_peephole,
        )  # fmt: skip


def _way_back(backs: Sequence[_Back]) -> list[tuple[Tensor | None, ...]]:
    """The gradients of each recurrence, those of the weights as products over all steps."""
    tensors: list[Tensor | None] = []
    for packing, _, kept, d_outputs, d_h, d_c, _ in backs:
        tensors += [
            kept.gates, kept.states, kept.cells, kept.extra, kept.weight_hh, kept.peephole, kept.dropout,
            kept.zoneout_h, kept.zoneout_c, packing.sizes, packing.offsets, d_outputs, d_h, d_c,
        ]  # fmt: skip
    found = recurrences_backward(tensors, [back.kind for back in backs])
    return [
        _with_products(back, d_gates, d_h, d_c)
        for back, (d_gates, d_h, d_c) in zip(backs, in_groups(found, 3), strict=True)
    ]


def _with_products(back: _Back, d_gates: Tensor, d_h: Tensor, d_c: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of one recurrence, given those of its gates (N, D) and of its first states."""
    packing, kind, kept, *_, needs = back
    units = kept.weight_hh.shape[1]
    d_x = _with_zeros(d_gates[:, units:] if kind == GRU else d_gates, kept.weight_ih) if needs[0] else None
    d_w_ih = d_w_hh = d_peephole = None
    if needs[3] or needs[4]:
        seen = packing.earlier(kept.states)
        if kept.dropout is not None:
            seen = seen * kept.dropout[packing.rows()]
        d_w_ih, d_w_hh = _weight_gradients(d_gates, kept.x, seen, kind)
    if kept.peephole is not None:
        d_peephole = _peephole_gradient(packing, d_gates, kept.gates, kept.cells, kept.zoneout_h is not None)
    sums = d_gates.sum(0) if needs[5] or needs[6] else None
    return back.gradients(d_x, d_h, d_c, d_w_ih, d_w_hh, sums, d_peephole)


def _way_back_summing_up(backs: Sequence[_Back]) -> list[tuple[Tensor | None, ...]]:
    """The gradients of each recurrence, those of the weights summed up from step to step."""
    tensors: list[Tensor | None] = []
    for packing, _, kept, d_outputs, d_h, d_c, _ in backs:
        tensors += [
            kept.gates, kept.states, kept.cells, kept.extra, kept.x, kept.weight_ih, kept.weight_hh, kept.zoneout_h,
            kept.zoneout_c, packing.sizes, packing.offsets, d_outputs, d_h, d_c,
        ]  # fmt: skip
    kinds, need_x = [back.kind for back in backs], [back.needs[0] for back in backs]
    found = recurrences_gradients(tensors, kinds, need_x)
    return [
        back.gradients(d_x, d_h, d_c, d_w_ih, d_w_hh, sums)
        for back, (d_x, d_h, d_c, d_w_ih, d_w_hh, sums) in zip(backs, in_groups(found, 6), strict=True)
    ]


class _Recurrences(torch.autograd.Function):
    """Outputs and last states of each recurrence; gradients to inputs, states and all weights."""

    @staticmethod
    def forward(ctx: Any, plans: Sequence[_Plan], training: bool, *tensors: Tensor | None) -> Any:
        training = training and any(ctx.needs_input_grad)
        calls = []
        for (packing, _, _, *masks), given in zip(plans, in_groups(tensors, _GIVEN), strict=True):
            x, h, c, w_ih, w_hh, b_ih, b_hh, peephole = given
            x, h, c = packing.pack(x), packing.sort(h), None if c is None else packing.sort(c)
            calls.append((x, w_ih, b_ih, h, c, w_hh, b_hh, peephole, *masks, packing.sizes, packing.offsets))
        kinds, asked = [plan.kind for plan in plans], [plan.outputs for plan in plans]
        made = recurrences([*itertools.chain.from_iterable(calls)], kinds, asked, training)
        found = in_groups(made, 4)
        if training:
            kept = [
                (x, *own, w_ih, w_hh, peephole, *plan[3:])  # as _Kept has them
                for plan, (x, w_ih, _, _, _, w_hh, _, peephole, *_), own in zip(plans, calls, found, strict=True)
            ]
            ctx.save_for_backward(*itertools.chain.from_iterable(kept))
        ctx.plans = [plan[:3] for plan in plans]
        ctx.set_materialize_grads(False)
        return tuple(
            result
            for (packing, outputs, kind, *_), (_, states, cells, _) in zip(plans, found, strict=True)
            for result in (
                packing.spread(states) if outputs else states.new_empty(packing.batch, 0, states.shape[1]),
                packing.unsort(packing.last(states) if training or outputs else states[: packing.batch]),
                packing.unsort(packing.last(cells) if training else cells) if kind in WITH_CELL else None,
            )
        )

    @staticmethod
    def backward(ctx: Any, *d_results: Tensor | None) -> Any:
        refuse_second_derivatives()
        backs = []
        for (packing, _, kind), kept, (d_y, d_last, d_cell), needs in zip(
            ctx.plans, in_groups(ctx.saved_tensors, len(_Kept._fields)), in_groups(d_results, 3),
            in_groups(ctx.needs_input_grad[2:], _GIVEN), strict=True,
        ):  # fmt: skip
            kept = _Kept(*kept)
            d_outputs = None if d_y is None else packing.spread_gradient(d_y)
            d_h, d_c = (None if d is None else packing.sort(d).contiguous() for d in (d_last, d_cell))
            backs.append(_Back(packing, kind, kept, d_outputs, d_h, d_c, needs))
        summing = all(back.sums_up(len(backs)) for back in backs)
        found = _way_back_summing_up(backs) if summing else _way_back(backs)
        return None, None, *itertools.chain.from_iterable(found)


def refuse_second_derivatives() -> None:
    """ConfigError in a way back that is to have a gradient itself."""
    if torch.is_grad_enabled():
        raise no_second_derivatives()


def no_second_derivatives() -> ConfigError:
    """The error of a way back through a native recurrence that is to have a gradient itself."""
    return ConfigError(
        "the native recurrent kernels have no second derivatives",
        got="a way back with create_graph=True",
        do="run the layer inside ``with corecur.kernels.asking_for('scripted loop')``",
    )


def _given(work: Work) -> tuple[_Plan, list[Tensor | None]]:
    """A recurrence as the kernels take it."""
    kind = KINDS[work.kind, "relu" if work.phi is torch.relu else "tanh"]
    batch, steps = work.x.shape[:2]
    packing, weights = work.packed_rows(), work.weights
    units = weights["weight_hh"].shape[1]
    zoneout = [packing.pack(stays.expand(steps, batch, units).transpose(0, 1)) for stays in work.zoneout]
    dropout = None if work.recurrent_dropout is None else packing.sort(work.recurrent_dropout).contiguous()
    peephole = None
    if "weight_ci" in weights:
        peephole = torch.stack([weights["weight_ci"], weights["weight_cf"], weights["weight_co"]])
    h, c = (*(s.contiguous() for s in work.state), None)[:2]
    biases = (None if bias is None else bias.contiguous() for bias in map(weights.get, ("bias_ih", "bias_hh")))
    return _Plan(packing, work.need_outputs, kind, dropout, *(*zoneout, None, None)[:2]), [
        work.x, h, c, weights["weight_ih"].contiguous(), weights["weight_hh"].contiguous(), *biases, peephole,
    ]  # fmt: skip


def run_native(work: Work) -> Result:
    """The work as one native call in each direction."""
    return run_native_together([work])[0]


def run_native_together(works: Sequence[Work]) -> list[Result]:
    """The same for works none of which needs what another gives."""
    plans, given = zip(*map(_given, works), strict=True)
    found = _Recurrences.apply(  # type: ignore[no-untyped-call]
        plans, torch.is_grad_enabled(), *itertools.chain.from_iterable(given)
    )
    return [(y, last[: len(work.state)]) for work, (y, *last) in zip(works, in_groups(found, 3), strict=True)]
