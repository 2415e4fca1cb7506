"""A stretch of layers as one program in each direction, and one step of torch's way back; or, where nobody but a loss
reads what comes out, as one program for both directions.

What lies between its layers is in one piece of memory, which the way back needs; without gradients two places in it
take turns. Where a gradient is to have a gradient itself, torch's operations compute both.

B batch, T time.
"""

from __future__ import annotations

import ctypes
import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from corecur.kernels.library import threads
from corecur.kernels.native import no_second_derivatives
from corecur.kernels.native_softmax import NO_LABEL, SoftmaxJob
from corecur.kernels.packed_rows import ADDRESSES, Packing
from corecur.kernels.program import Call, Place, Program
from corecur.kernels.room import room_of
from corecur.kernels.stretch_parts import Made, Part, Places, Shape

#: The first addresses of a run: what the stretch reads and fills, two places for what lies between, room, and the same
#: for the gradients; labels, the mean loss, and whether a label is no class. Those of a packing follow, those of all
#: weights, and on the way back those of their gradients.
(
    _X, _Y, _BETWEEN, _OTHER, _ROOM, _D_Y, _D_X, _D_BETWEEN, _D_OTHER, _LABELS, _LOSS, _WRONG, _PACKED,
) = range(13)  # fmt: skip
_WEIGHTS = _PACKED + len(ADDRESSES)
_NO_LOSS, _NOT_PACKED = [None] * 3, [None] * len(ADDRESSES)
_OF_PACKING = {name: Place(_PACKED + number) for number, name in enumerate(ADDRESSES)}
#: Bytes to which every place in memory is rounded, a line of the cache; and those of a float.
_LINE, _FLOAT = 64, 4


def _bytes(floats: int) -> int:
    return -(-floats * _FLOAT // _LINE) * _LINE


class _There(NamedTuple):
    """The way there: its memory in bytes, room in floats; and of each part what it reads and where."""

    program: Program
    made: Made
    shape: Shape
    between: int
    other: int
    room: int
    places: tuple[Places, ...]
    shapes: tuple[Shape, ...]


class _Back(NamedTuple):
    """The way back."""

    program: Program
    between: int
    other: int
    room: int


def _of_weights(parts: Sequence[Part], first: int, prefix: str = "") -> list[dict[str, Place]]:
    """Places of each part's weights, an address for each from the first one on."""
    found = []
    for part in parts:
        found.append({prefix + name: Place(first + number) for number, name in enumerate(part.weights)})
        first += len(part.weights)
    return found


def _count(parts: Sequence[Part]) -> int:
    return sum(len(part.weights) for part in parts)


@functools.lru_cache(maxsize=256)
def _there(parts: tuple[Part, ...], shape: Shape, training: bool, shares: int) -> _There:
    sizes, room, x = [0, 0], 0, Place(_X)
    calls: list[Call] = []
    places: list[Places] = []
    shapes: list[Shape] = []
    for number, (part, own) in enumerate(zip(parts, _of_weights(parts, _WEIGHTS), strict=True)):
        made, turn = part.made(shape, training=training), 0 if training else number % 2
        if number == len(parts) - 1:
            y = Place(_Y)
        elif training:  # everything has a place of its own
            y = Place(_BETWEEN, sizes[0])
            sizes[0] += _bytes(made.floats)
        else:
            y = Place((_BETWEEN, _OTHER)[turn])
            sizes[turn] = max(sizes[turn], _bytes(made.floats))
        own |= {"x": x, "y": y, "room": Place(_ROOM)} | _OF_PACKING
        if training:
            own["kept"] = Place(_BETWEEN, sizes[0])
            sizes[0] += -(-part.kept(shape) // _LINE) * _LINE
        room = max(room, part.room(shape, shares, training=training, back=False))
        calls.append(part.forward(shape, own, shares, training=training))
        places.append(own)
        shapes.append(shape)
        x, shape = Place(y.address, y.offset + _FLOAT * made.begin), part.output(shape)
    program = Program(calls, addresses=_WEIGHTS + _count(parts))
    return _There(program, made, shape, sizes[0], sizes[1], room, tuple(places), tuple(shapes))


@functools.lru_cache(maxsize=256)
def _back(parts: tuple[Part, ...], shape: Shape, needs: tuple[bool, ...], shares: int) -> _Back:
    """``needs`` says of x and of each weight whether its gradient is wanted."""
    there, count = _there(parts, shape, True, shares), _count(parts)
    gradients = _of_weights(parts, _WEIGHTS + count, "d_")
    wanted = {place.address - _WEIGHTS - count for place, needed in zip(
        (place for own in gradients for place in own.values()), needs[1:], strict=True
    ) if needed}  # fmt: skip
    sizes, room, d_y = [0, 0], 0, Place(_D_Y)
    calls: list[Call] = []
    before = [any(needs[: 1 + _count(parts[:number])]) for number in range(len(parts))]
    for number in reversed(range(len(parts))):
        part, given, turn = parts[number], there.shapes[number], number % 2
        own = {**there.places[number], "d_y": d_y}
        own |= {name: at for name, at in gradients[number].items() if at.address - _WEIGHTS - count in wanted}
        if before[number]:
            own["d_x"] = d_y = Place(_D_X) if number == 0 else Place((_D_BETWEEN, _D_OTHER)[turn])
            if number:
                sizes[turn] = max(sizes[turn], _bytes(math.prod(given)))
        room = max(room, part.room(given, shares, training=True, back=True))
        calls.append(part.backward(given, own, shares))
        if not before[number]:
            break
    return _Back(Program(calls, addresses=_WEIGHTS + 2 * count), sizes[0], sizes[1], room)


@functools.lru_cache(maxsize=256)
def _to_softmax(parts: tuple[Part, ...], shape: Shape, shares: int) -> Program:
    """The way there, and a softmax of what the parts make, which fills the place of its gradient."""
    there = _there(parts, shape, False, shares)
    job = SoftmaxJob.of(positions=math.prod(there.shape[:-1]), classes=there.shape[-1])
    call = Call("softmax", job, {"scores": Place(_Y, _FLOAT * there.made.begin), "out": Place(_D_Y)}, shares)
    return Program([*there.program.calls, call], addresses=_WEIGHTS + _count(parts))


class _Learning(NamedTuple):
    """Both ways and the loss between them; the room in floats."""

    program: Program
    there: _There
    back: _Back
    room: int


@functools.lru_cache(maxsize=256)
def _learning(
    parts: tuple[Part, ...], shape: Shape, needs: tuple[bool, ...], smoothing: float, shares: int
) -> _Learning:
    """``needs`` says of each weight whether its gradient is wanted."""
    there, back = _there(parts, shape, True, shares), _back(parts, shape, (False, *needs), shares)
    classes, positions = there.shape[-1], math.prod(there.shape[:-1])
    share = ctypes.c_float(1 / positions)
    job = SoftmaxJob.of(
        positions=positions, classes=classes, ignored=NO_LABEL, smoothing=smoothing, d_losses=ctypes.addressof(share),
        d_stride=0,
    )  # fmt: skip
    places = {"scores": Place(_Y, _FLOAT * there.made.begin), "labels": Place(_LABELS), "kept": Place(_ROOM)}
    losses = {"losses": Place(_ROOM, _bytes(2 * positions)), "mean": Place(_LOSS), "wrong": Place(_WRONG)}
    calls = [
        *there.program.calls,
        Call("cross_entropy", job, places | losses, shares),
        Call("cross_entropy_backward", job, places | {"out": Place(_D_Y)}, shares, share),
        *back.program.calls,
    ]
    program = Program(calls, addresses=_WEIGHTS + 2 * _count(parts))
    room = (_bytes(2 * positions) + _bytes(positions)) // _FLOAT
    return _Learning(program, there, back, max(there.room, back.room, room))


def _at(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _addresses_of(packing: Packing | None) -> Sequence[int | None]:
    return _NOT_PACKED if packing is None else packing.addresses


def _laid(weight: Tensor | None) -> Tensor | None:
    """The weight with its numbers in the order in which the parts read them: (F, k, k, C) of (F, C, k, k)."""
    if weight is None:
        return None
    order = torch.channels_last if weight.dim() == 4 else torch.contiguous_format
    return weight if weight.is_contiguous(memory_format=order) else weight.contiguous(memory_format=order)


def _for_gradients(laid: Sequence[Tensor | None], needs: Sequence[bool]) -> list[Tensor | None]:
    """Memory for the gradients of the weights that need one, in the order in which the parts read them."""
    return [
        torch.empty_like(weight) if needed and weight is not None else None
        for weight, needed in zip(laid, needs, strict=True)
    ]


def _output(plan: _There, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the parts make, empty as yet, and the memory it lies in."""
    begin, floats = plan.made.begin, math.prod(plan.shape)
    if plan.made == (floats, 0):
        y = x.new_empty(plan.shape)
        return y, y
    memory = x.new_empty(plan.made.floats)
    return memory[begin : begin + floats].view(plan.shape), memory


def _run(
    parts: tuple[Part, ...],
    x: Tensor,
    laid: Sequence[Tensor | None],
    training: bool,
    *,
    softmax: bool = False,
    packing: Packing | None = None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """The output, the memory it lies in, what lies between if training, and the output's softmax or else itself."""
    plan = _there(parts, tuple(x.shape), training, threads())
    program = _to_softmax(parts, tuple(x.shape), threads()) if softmax else plan.program
    y, memory = _output(plan, x)
    shares = torch.empty_like(y) if softmax else y
    size, work = plan.between + plan.other, _bytes(plan.room)
    between = x.new_empty(size, dtype=torch.uint8) if training else None  # else nobody reads it afterwards
    room = room_of((work if training else work + size) // _FLOAT)
    at = room.data_ptr() + work if between is None else between.data_ptr()
    program.run([
        x.data_ptr(), memory.data_ptr(), at, at + plan.between, room.data_ptr(), shares.data_ptr(), None, None, None,
        *_NO_LOSS, *_addresses_of(packing), *map(_at, laid),
    ])  # fmt: skip
    return y, memory, between, shares


class _Stretch(torch.autograd.Function):
    """What the parts make of x; with ``turned`` time is first inside, and the batch in what comes out."""

    @staticmethod
    def forward(
        ctx: Any,
        parts: tuple[Part, ...],
        turned: bool,
        packing: Packing | None,
        x: Tensor,
        *weights: Tensor | None,
    ) -> Tensor:
        x = x.contiguous()
        y, memory, between, _ = _run(parts, x, list(map(_laid, weights)), True, packing=packing)
        ctx.parts, ctx.turned, ctx.packing = parts, turned, packing
        kept = None
        if parts[-1].needs_output:
            # What is given out as it is belongs to torch's graph; of all else the memory is kept, whoever else sees it.
            kept = y if memory is y and not turned else memory
        ctx.save_for_backward(x, kept, between, *weights)
        return y.transpose(0, 1) if turned else y

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> Any:
        parts, needs = ctx.parts, ctx.needs_input_grad[3:]
        x, y, between, *weights = ctx.saved_tensors
        if torch.is_grad_enabled():
            d_y = d_y.transpose(0, 1) if ctx.turned else d_y
            return None, None, None, *_stock_gradients(parts, x, weights, d_y, needs)
        plan = _back(parts, tuple(x.shape), needs, threads())
        d_y = (d_y.transpose(0, 1) if ctx.turned else d_y).contiguous()
        d_x, room = torch.empty_like(x) if needs[0] else None, room_of(plan.room)
        d_between = x.new_empty(plan.between + plan.other, dtype=torch.uint8)
        laid = list(map(_laid, weights))  # held until the program has run
        found = _for_gradients(laid, needs[1:])
        at = d_between.data_ptr()
        plan.program.run([
            x.data_ptr(), _at(y), between.data_ptr(), None, room.data_ptr(), d_y.data_ptr(), _at(d_x), at,
            at + plan.between, *_NO_LOSS, *_addresses_of(ctx.packing), *map(_at, laid), *map(_at, found),
        ])  # fmt: skip
        return None, None, None, d_x, *found


def _stock_gradients(
    parts: Sequence[Part], x: Tensor, weights: Sequence[Tensor | None], d_y: Tensor, needs: Sequence[bool]
) -> list[Tensor | None]:
    y = run_by_torch(parts, x, weights)
    if y is None:
        raise no_second_derivatives()
    given = [x, *weights]
    wanted = [tensor for tensor, needed in zip(given, needs, strict=True) if tensor is not None and needed]
    found = iter(torch.autograd.grad(y, wanted, d_y, create_graph=True))
    return [next(found) if tensor is not None and needed else None for tensor, needed in zip(given, needs, strict=True)]


def run_by_torch(parts: Sequence[Part], x: Tensor, weights: Sequence[Tensor | None]) -> Tensor | None:
    """What the parts make of ``x`` by torch's operations, one after the other; None where one of them has none."""
    for part in parts:
        y, weights = part.stock(x, weights[: len(part.weights)]), weights[len(part.weights) :]
        if y is None:
            return None
        x = y
    return x


def run_stretch(
    parts: tuple[Part, ...],
    x: Tensor,
    weights: Sequence[Tensor | None],
    *,
    turned: bool = False,
    packing: Packing | None = None,
) -> Tensor:
    """What the parts make of ``x``, given the weights of each (or None), one after the other; all float32, on a CPU.

    With ``turned`` what the last part makes is (T, B, …), and given as (B, T, …). ``packing`` is that of a batch with
    padding, for parts that are packed.

    >>> from corecur.kernels.stretch_parts import DensePart
    >>> weights = [torch.eye(2), None, torch.ones(1, 2), torch.ones(1)]
    >>> run_stretch((DensePart(2, "relu"), DensePart(1, "linear")), torch.tensor([[1.0, -1.0]]), weights)
    tensor([[2.]])
    """
    needed = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *weights))
    if not needed:
        y = _run(parts, x.contiguous(), list(map(_laid, weights)), False, packing=packing)[0]
        return y.transpose(0, 1) if turned else y
    found: Tensor = _Stretch.apply(parts, turned, packing, x, *weights)  # type: ignore[no-untyped-call]
    return found


def run_to_softmax(
    parts: tuple[Part, ...], x: Tensor, weights: Sequence[Tensor | None], *, turned: bool = False
) -> tuple[Tensor, Tensor]:
    """What ``run_stretch`` makes, its softmax before it, and neither with a gradient.

    >>> from corecur.kernels.stretch_parts import DensePart
    >>> run_to_softmax((DensePart(2, "linear"),), torch.ones(1, 2), [torch.eye(2), None])
    (tensor([[0.5000, 0.5000]]), tensor([[1., 1.]]))
    """
    y, _, _, shares = _run(parts, x.contiguous(), list(map(_laid, weights)), False, softmax=True)
    return (shares.transpose(0, 1), y.transpose(0, 1)) if turned else (shares, y)


class Learned(NamedTuple):
    """The mean loss, a scalar; the scores it was found from; and the gradient of each weight that requires one."""

    loss: Tensor
    scores: Tensor
    gradients: list[Tensor | None]


def learn(
    parts: tuple[Part, ...],
    x: Tensor,
    weights: Sequence[Tensor | None],
    labels: Tensor,
    *,
    smoothing: float = 0.0,
    turned: bool = False,
) -> Learned:
    """The mean cross-entropy of labels (…), int64, from what the parts make of ``x``, scores (…, K), and its gradients.

    As ``run_stretch`` and a loss behind it, but in one native call, past torch's way back. Where a label is no class
    IndexError is raised, as of torch.

    >>> from corecur.kernels.stretch_parts import DensePart
    >>> weights = [torch.eye(2, requires_grad=True), None]
    >>> found = learn((DensePart(2, "linear"),), torch.ones(1, 2), weights, torch.tensor([0]))
    >>> found.loss, found.gradients
    (tensor(0.6931), [tensor([[-0.5000, -0.5000],
            [ 0.5000,  0.5000]]), None])
    """
    x, labels = x.contiguous(), (labels.transpose(0, 1) if turned else labels).contiguous()
    needs = tuple(weight is not None and weight.requires_grad for weight in weights)
    plan = _learning(parts, tuple(x.shape), needs, smoothing, threads())
    (scores, y), loss, wrong = _output(plan.there, x), x.new_empty(()), ctypes.c_int64(0)
    between, back = plan.there.between, plan.back.between + plan.back.other
    work = _bytes(plan.room)
    room = room_of((work + between + back + _bytes(scores.numel())) // _FLOAT)
    laid = list(map(_laid, weights))
    found = _for_gradients(laid, needs)
    at = room.data_ptr() + work
    plan.program.run([
        x.data_ptr(), y.data_ptr(), at, None, room.data_ptr(), at + between + back, None, at + between,
        at + between + plan.back.between, labels.data_ptr(), loss.data_ptr(), ctypes.addressof(wrong),
        *_NOT_PACKED, *map(_at, laid), *map(_at, found),
    ])  # fmt: skip
    if wrong.value:
        raise IndexError("a label is out of range")
    if not all(map(operator.is_, laid, weights)):  # a gradient lies as its weight does
        pairs = zip(found, weights, strict=True)
        found = [None if g is None or w is None else torch.empty_like(w).copy_(g) for g, w in pairs]
    return Learned(loss, scores.transpose(0, 1) if turned else scores, found)
