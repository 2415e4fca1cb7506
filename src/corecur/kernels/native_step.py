"""Recurrences and dense layers run step by step without gradients: packed weights that are kept, and one native call.

R rows, T steps, C features, H units, G gates · H.

Weights are packed once and packed anew when they changed: when one of them lies elsewhere or its version counter moved,
which every optimiser step, ``load_state_dict`` and in-place operation of torch moves. What writes past torch is not
seen: ``weight.data.add_(1)``, ``weight.numpy()[:] = 1``, or a pointer; ``torch.autograd.graph.increment_version``
makes it seen.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from corecur.errors import ConfigError, ShapeError
from corecur.kernels.cell import RECURRENCES, Result, Work
from corecur.kernels.library import Struct, cores, native, second_cache, table, threads

#: Kind and activation -> its number in csrc/stage.cpp.
STAGES = {
    ("simple_rnn", "tanh"): 0,
    ("simple_rnn", "relu"): 1,
    ("lstm", "tanh"): 2,
    ("gru", "tanh"): 3,
    ("dense", "linear"): 4,
    ("dense", "relu"): 5,
    ("dense", "tanh"): 6,
    ("dense", "sigmoid"): 7,
}
# A panel of packed weights has at most so many units, whatever the instruction set.
_PANEL = 32
# From so many steps on, the input's part of several at once is faster than of one after the other; and of how many it
# is computed at once, as csrc/stage.cpp has it.
_STEPS_AT_ONCE = (4, 16)
# Multiplications that are worth waking another thread (two cores with AVX-512, how many times as fast: two stages of 64
# units and 28 steps 1.1 to 1.3, of 64 units and 16 steps 0.95 to 1.15).
_WORTH_THREADS = 1 << 20
# Multiplications of a step that are worth meeting another thread after it (two cores of Zen 5 with 1 MB each, how many
# times as fast: one row, LSTM of 64 units 1.29, 128 1.55, 256 2.5, 512 1.9; simple recurrences of 64 units 0.84).
_WORTH_MEETING = 1 << 13
# Up to how many times as many rows as threads, and from how many second caches of recurrent weights on, units are
# better shared than rows (LSTM writing text: 128 units and 4 rows 1.14 to 1.37, 8 rows 0.76 to 0.92; 512 units and 8
# rows 1.1).
_WORTH_SHARING = ((2, 1 / 4), (4, 1.5))
# Of more rows than this, a step is better shared out to several threads.
_FEW_ROWS = 32


def members_of_step(rows: int, weights: int) -> int:
    """How many threads are to share the units of a recurrence of so many recurrent weights in each step of a few rows.

    >>> members_of_step(1, 100)
    1
    """
    most, caches = threads(), 4 * weights / second_cache()
    if rows >= most and not any(rows <= most * times and caches >= least for times, least in _WORTH_SHARING):
        return 1
    if most > cores():  # they would wait for a core
        return 1
    return max(1, min(most, rows * weights // _WORTH_MEETING))


class StageStruct(ctypes.Structure):
    """``CorecurStage`` of csrc/stage.hpp."""

    _fields_ = [
        ("kind", ctypes.c_int32),
        ("features", ctypes.c_int64),
        ("units", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("weight_ih", "weight_hh", "bias", "own", "packed_ih", "packed_hh")),
    ]


class _Steps(Struct):
    """``CorecurSteps`` of csrc/stage.hpp."""

    _fields_ = [
        ("stage", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("x", "h", "c", "y", "new_c", "gates")),
    ]


def versions(weights: Sequence[Tensor]) -> tuple[int, ...]:
    """Where the weights lie and how often they were changed: equal as long as they are the same.

    >>> w = torch.zeros(2)
    >>> before = versions([w])
    >>> _ = w.add_(1)
    >>> versions([w]) == before
    False
    """
    return tuple([number for w in weights for number in (w.data_ptr(), w._version)])


def weights_refusal(weights: Sequence[Tensor]) -> str | None:
    """Why these weights cannot be packed and kept; None where they can."""
    for weight in weights:
        if weight.device.type != "cpu" or weight.dtype != torch.float32:
            dtype = str(weight.dtype).removeprefix("torch.")
            return f"the native kernels compute in float32 on a CPU, not in {dtype} on {weight.device.type}"
        if weight.is_inference():
            return "weights made in inference mode do not tell when they change"
    if native() is None:
        return "the native kernels are missing"
    return None


def is_single(x: Tensor, state: Sequence[Tensor], weights: Iterable[Tensor]) -> bool:
    """Whether ``x`` (B, T, C) is one row, or one step of a few, of which nobody wants gradients or a record.

    >>> is_single(torch.zeros(1, 9, 2), [], []), is_single(torch.zeros(2, 9, 2), [], [])
    (True, False)
    """
    rows, steps = x.shape[:2]
    if (rows != 1 and (steps != 1 or rows > _FEW_ROWS)) or rows * steps == 0 or not x.is_cpu:
        return False
    recorded, wanted = torch.is_grad_enabled(), x.requires_grad
    for tensor in state:
        wanted = wanted or tensor.requires_grad
        if not tensor.is_cpu:
            return False
    for weight in weights:
        wanted = wanted or weight.requires_grad
        if weight.is_inference():  # it would not tell when it changes
            return False
    if recorded and wanted:
        return False
    return not (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
        or torch._C._functorch.maybe_current_level() is not None
        or torch._C._len_torch_dispatch_stack() > 0
    )


class Stage:
    """A recurrence or a dense layer with its packed weights, as they are now.

    ``weights`` have the names of ``torch.nn``: weight_ih (G, C), bias_ih, and of a recurrence weight_hh (G, H) and
    bias_hh; biases may be missing. ``looked_up`` leaves the input's weights out: what they give is known already.
    """

    def __init__(
        self, kind: str, weights: Mapping[str, Tensor], *, activation: str = "tanh", looked_up: bool = False
    ) -> None:
        w_ih, w_hh = weights["weight_ih"], weights.get("weight_hh")
        self.gates = 1 if w_hh is None else len(RECURRENCES[kind].gates)
        self.states = 0 if w_hh is None else RECURRENCES[kind].states
        self.features, self.units = w_ih.shape[1], len(w_ih) // self.gates
        self.widths = (self.features, *[self.units] * self.states)
        self.versions = versions(list(weights.values()))
        # Kept alive, so that no other weight can come to lie where one of these lay.
        self._sources = [w.detach() for w in weights.values()]
        with torch.no_grad():
            self.bias, own = _biases(kind, weights, w_ih.new_zeros(len(w_ih)))
            width = self.gates * -(-self.units // _PANEL) * _PANEL
            packed_ih = None if looked_up else w_ih.new_empty(self.features * width)
            packed_hh = None if w_hh is None else w_ih.new_empty(self.units * width)
            w_ih, w_hh = w_ih.detach().contiguous(), None if w_hh is None else w_hh.detach().contiguous()
        self._held = (own, packed_ih, packed_hh)
        self.struct = StageStruct(
            STAGES[kind, activation], self.features, self.units,
            *(None if t is None else t.data_ptr() for t in (w_ih, w_hh, self.bias, own, packed_ih, packed_hh)),
        )  # fmt: skip
        kernels = table()
        kernels.stage_pack(ctypes.byref(self.struct), threads())
        self._run = kernels.stage_steps
        self.struct.weight_ih = self.struct.weight_hh = None
        self._address = ctypes.addressof(self.struct)

    def _members(self, rows: int, steps: int) -> int:
        weights = self.recurrent_weights
        return 1 if steps * rows * weights < _WORTH_THREADS else members_of_step(rows, weights)

    @property
    def recurrent_weights(self) -> int:
        """How many multiplications the state takes at each step and row; 0 of a dense layer."""
        return self.gates * self.units**2 if self.states else 0

    def steps(self, x: Tensor, state: Sequence[Tensor], rows: int, steps: int) -> tuple[Tensor, list[Tensor]]:
        """Outputs (…, H) and the last state for ``x`` (…, C), T · R steps of all rows, time first in memory.

        Nothing is checked: all are float32 on a CPU and contiguous.
        """
        y, new, room = self._results(x, state, rows, steps)
        h, c, new_c = state[0].data_ptr(), None, None
        if self.states == 2:
            c, new_c = state[1].data_ptr(), new[1].data_ptr()
        self._run(
            self._address,
            rows,
            steps,
            x.data_ptr(),
            h,
            c,
            y.data_ptr(),
            new_c,
            None if room is None else room.data_ptr(),
            1 if room is None else self._members(rows, steps),
        )
        return y, new

    def _results(
        self, x: Tensor, state: Sequence[Tensor], rows: int, steps: int
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Room for the outputs, the last state and, where that is worth it, the input's part of several steps."""
        if x.ndim == 2:  # one step, and no view that costs as much as a tenth of it
            y = last = torch.empty_like(state[0])
        else:
            y = x.new_empty((*x.shape[:-1], self.units))
            last = y.view(-1, self.units)
            last = last if steps == 1 else last[(steps - 1) * rows :]
        new = [last] if self.states == 1 else [last, torch.empty_like(last)]
        least, most = _STEPS_AT_ONCE
        room = x.new_empty((min(steps, most) * rows, self.gates * self.units)) if steps >= least else None
        return y, new, room

    @staticmethod
    def at_once(stages: Sequence[Stage], inputs: Sequence[Tensor], states: Sequence[Sequence[Tensor]]) -> list[Result]:
        """The same for one row of several stages at the same time, ``inputs`` (1, T, C) one for each.

        One input alone is that of the first stage: each of the others reads what the one before it gives.
        """
        jobs, found, held = (_Steps * len(stages))(), list[Result](), []
        stacked = len(inputs) < len(stages)
        for place, (stage, state) in enumerate(zip(stages, states, strict=True)):
            x = found[-1][0] if stacked and found else inputs[place]
            y, new, room = stage._results(x, state, 1, x.shape[1])
            (h, c), (_, new_c) = (*state, None)[:2], (*new, None)[:2]
            jobs[place] = _Steps.of(
                stage=stage._address, rows=1, steps=x.shape[1], x=x, h=h, c=c, y=y, new_c=new_c, gates=room
            )
            found.append((y, new))
            held.append(room)
        table().stages_at_once(jobs, len(jobs), stacked, threads())
        return found


def _biases(kind: str, weights: Mapping[str, Tensor], zeros: Tensor) -> tuple[Tensor, Tensor | None]:
    """What every gate begins with (G), and what stands within the reach of GRU's reset gate (H)."""
    b_ih, b_hh = weights.get("bias_ih"), weights.get("bias_hh")
    bias = zeros if b_ih is None else zeros + b_ih
    if b_hh is None:
        return bias, None
    if kind != "gru":
        return bias + b_hh, None
    inside = len(bias) // 3 * 2
    bias[:inside] += b_hh[:inside]
    return bias, b_hh[inside:].detach().contiguous()


_KEPT: dict[tuple[int, str, str], tuple[weakref.ref[Tensor], Stage]] = {}


def stage_for(kind: str, weights: Mapping[str, Tensor], activation: str = "tanh") -> Stage:
    """The stage of these weights as they are now, packed anew only where they changed since the last call."""
    first = weights["weight_ih"]
    key = (id(first), kind, activation)
    found = _KEPT.get(key)
    if found is not None and found[0]() is first and found[1].versions == versions(list(weights.values())):
        return found[1]
    stage = Stage(kind, weights, activation=activation)
    _KEPT[key] = (weakref.ref(first, lambda _: _KEPT.pop(key, None)), stage)
    return stage


class Step:
    """One step of a recurrence as a prepared call, for streams: ``step(x, h)``, or ``step(x, h, c)`` with a cell.

    ``kind`` is simple_rnn, lstm or gru; ``weights`` are those of ``torch.nn``'s cells under their names. x (R, C)
    float32, states (R, H) -> the list of new states; no gradient. Changed weights are seen (how, and which changes are
    not: at the head of this file). ConfigError where the native kernels cannot do it, ShapeError for what does not fit.

    >>> from corecur.kernels.library import info
    >>> cell = torch.nn.GRUCell(3, 4)
    >>> x, h = torch.ones(1, 3), torch.zeros(1, 4)
    >>> info().isa is None or torch.allclose(Step("gru", dict(cell.named_parameters()))(x, h)[0], cell(x, h), atol=1e-6)
    True
    """

    def __init__(self, kind: str, weights: Mapping[str, Tensor], *, activation: str = "tanh") -> None:
        if (kind, activation) not in STAGES or kind == "dense":
            known = ", ".join(f"{k} with {a}" for k, a in STAGES if k != "dense")
            raise ConfigError("there is no native step for this", got=f"{kind} with {activation}", expected=known)
        self.kind, self.activation, self.weights = kind, activation, dict(weights)
        refusal = weights_refusal(list(self.weights.values()))
        if refusal is not None:
            raise ConfigError(f"there is no native step for these weights: {refusal}")
        self._tensors = list(self.weights.values())
        self._stage = stage_for(kind, self.weights, activation)

    def __call__(self, x: Tensor, *state: Tensor) -> list[Tensor]:
        stage = self._stage
        if stage.versions != versions(self._tensors):
            stage = self._stage = stage_for(self.kind, self.weights, self.activation)
        rows = x.shape[0]
        for tensor, width in zip((x, *state), stage.widths, strict=False):
            if tensor.shape != (rows, width) or tensor.dtype != torch.float32 or not tensor.is_cpu:
                raise self._misfit(x, state)
        if len(state) != stage.states:
            raise self._misfit(x, state)
        return stage.steps(x.contiguous(), [s.contiguous() for s in state], rows, 1)[1]

    def _misfit(self, x: Tensor, state: Sequence[Tensor]) -> ShapeError:
        features, *units = self._stage.widths
        return ShapeError(
            "a step got tensors that do not fit",
            got=", ".join(f"{tuple(t.shape)} {t.dtype} {t.device.type}" for t in (x, *state)),
            expected=", ".join(f"(rows, {width})" for width in (features, *units)) + ", float32 on a CPU",
        )


def run_steps(work: Work) -> Result:
    """The work of one row, or of one step, without gradients."""
    batch, steps, _ = work.x.shape
    # (B, T, C) is in memory the same as (T, B, C) where B = 1 or T = 1.
    return _stage_of(work).steps(work.x.contiguous(), [s.contiguous() for s in work.state], batch, steps)


def worth_threads(steps: int, weights: Iterable[Mapping[str, Tensor]]) -> bool:
    """Whether recurrences over one row are so much work together that other threads are worth waking.

    >>> worth_threads(1, [{"weight_ih": torch.zeros(9, 9), "weight_hh": torch.zeros(9, 9)}])
    False
    """
    numbers = sum(own[name].numel() for own in weights for name in ("weight_ih", "weight_hh"))
    return threads() > 1 and steps * numbers >= _WORTH_THREADS


def run_steps_together(works: Sequence[Work], *, stacked: bool = False) -> list[Result]:
    """The same for works none of which needs what another gives; or ``stacked``, where each reads the one before it."""
    rows, steps, _ = works[0].x.shape
    if not stacked and (rows > 1 or not worth_threads(steps, [work.weights for work in works])):
        return [run_steps(work) for work in works]
    inputs = [work.x.contiguous() for work in works[: 1 if stacked else None]]
    states = [[s.contiguous() for s in work.state] for work in works]
    return Stage.at_once([_stage_of(work) for work in works], inputs, states)


def _stage_of(work: Work) -> Stage:
    return stage_for(work.kind, work.weights, "relu" if work.phi is torch.relu else "tanh")
