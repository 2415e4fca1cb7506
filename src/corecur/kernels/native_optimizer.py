"""The step around the layers in native calls: the norm of all gradients, their clipping, the update of all weights.

The step itself writes through addresses. They are looked up once and compared in every step, all at a time: nothing
here runs Python code for each weight unless something has moved. What was written to is marked as changed for autograd.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor

from corecur.kernels.library import info, native, table, threads

SGD, ADAM, RMSPROP = range(3)
#: Floats of a part, PART of csrc/optimizer.cpp.
_PART = 4096
_NORM, _VALUE, _EACH = 1, 2, 3

_form = attrgetter("dtype", "layout")
_FORM = (torch.float32, torch.strided)
_gradient = attrgetter("grad")


class Rule(ctypes.Structure):
    """How the weights of one group are updated in a step: ``CorecurRule`` of csrc/optimizer.hpp.

    ``variant`` is Nesterov's momentum of SGD; ``beta_1`` the momentum of SGD and RMSprop, ``beta_2`` RMSprop's rho.
    """

    _fields_ = [
        ("kind", ctypes.c_int32),
        ("variant", ctypes.c_int32),
        *((name, ctypes.c_double) for name in ("rate", "beta_1", "beta_2", "epsilon", "decay")),
    ]


class _Parameter(ctypes.Structure):
    """``CorecurParameter`` of csrc/optimizer.hpp."""

    _fields_ = [
        ("rule", ctypes.c_int32),
        ("moves", ctypes.c_int32),
        ("length", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("weight", "first", "second", "third", "steps")),
        ("size", ctypes.c_float),
        ("epsilon", ctypes.c_float),
    ]


class Kept(NamedTuple):
    """What an optimiser keeps beside a weight; None what it does not."""

    #: The mean of gradients, or the momentum of SGD.
    first: Tensor | None = None
    #: The mean of their squares.
    second: Tensor | None = None
    #: The largest of these (amsgrad), or the momentum of RMSprop.
    third: Tensor | None = None
    #: The number of steps, a scalar.
    steps: Tensor | None = None


def refusal(weights: Sequence[Tensor]) -> str | None:
    """Why the native step cannot update these; None where it can.

    >>> refusal([torch.zeros(2, dtype=torch.float64)])
    'the native step takes float32 on a CPU, not torch.float64 on cpu'
    """
    if native() is None:
        return f"the native kernels are missing: {info().why}"
    for weight in weights:
        if type(weight) not in (Tensor, torch.nn.Parameter):
            return f"the native step takes plain tensors, not {type(weight).__name__}"
        if _form(weight) != _FORM or not weight.is_cpu:
            return f"the native step takes float32 on a CPU, not {weight.dtype} on {weight.device}"
        if not is_dense(weight.shape, weight.stride()):
            return "the native step takes weights that fill their memory"
    spans = sorted((w.data_ptr(), w.data_ptr() + 4 * w.numel()) for w in weights if w.numel())
    if any(end > begin for (_, end), (begin, _) in pairwise(spans)):
        return "the native step takes weights that share no memory"
    return None


@functools.lru_cache(maxsize=4096)
def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a tensor's elements fill one piece of memory, in whatever order of its axes.

    >>> is_dense((2, 3), (1, 2)), is_dense((2, 3), (4, 1))
    (True, False)
    """
    expected = 1
    for stride, size in sorted((stride, size) for stride, size in zip(strides, shape, strict=True) if size != 1):
        if stride != expected:
            return 0 in shape
        expected *= size
    return True


def in_one_order(first: Tensor, second: Tensor) -> bool:
    """Whether two dense tensors of one shape lie in memory in the same order of elements."""
    axes = zip(first.shape, first.stride(), second.stride(), strict=True)
    return all(size == 1 or one == other for size, one, other in axes)


class Step:
    """Weights with all that is kept beside them, for as long as none of it moves; each call of ``take`` is a step.

    Weights are such as ``refusal`` lets pass, and what is kept lies in memory as its weight does. ``rules`` says by
    which of the rules each weight is updated.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> weight.grad = torch.tensor([1.0, 2.0])
    >>> step = Step([weight], [Kept()], [0]) if native() else None
    >>> if step is not None:
    ...     step.take((Rule * 1)(Rule(SGD, rate=0.25)))
    """

    def __init__(self, weights: Sequence[Tensor], kept: Sequence[Kept], rules: Sequence[int]) -> None:
        self.weights = list(weights)
        self._beside = [[weight, *(t for t in own if t is not None)] for weight, own in zip(weights, kept, strict=True)]
        self.tensors = [tensor for own in self._beside for tensor in own]
        self._pointers = list(map(Tensor.data_ptr, self.tensors))
        lengths = list(map(Tensor.numel, self.weights))
        self._begins = array("q", [0, *accumulate(lengths)])
        self._parameters = (_Parameter * len(self.weights))()
        for own, weight, states, rule, length in zip(self._parameters, weights, kept, rules, lengths, strict=True):
            own.rule, own.length, own.weight = rule, length, weight.data_ptr()
            for name, tensor in states._asdict().items():
                setattr(own, name, None if tensor is None else tensor.data_ptr())
        self._address = ctypes.addressof(self._parameters)
        self._begin = self._begins.buffer_info()[0]
        self._contiguous = all(map(Tensor.is_contiguous, self.weights))
        self._strides = list(map(Tensor.stride, self.weights))

    def stands(self) -> bool:
        """Whether everything is where it was."""
        return list(map(Tensor.data_ptr, self.tensors)) == self._pointers

    def take(self, rules: ctypes.Array[Rule]) -> None:
        """Update every weight that has a gradient, by its rule."""
        gradients = list(map(_gradient, self.weights))
        if self._fit(gradients):
            pointers, changed = array("Q", map(Tensor.data_ptr, gradients)), self.tensors
        else:
            gradients = [_beside(weight) for weight in self.weights]
            pointers = array("Q", [0 if g is None else g.data_ptr() for g in gradients])
            pairs = zip(self._beside, gradients, strict=True)
            changed = [tensor for own, gradient in pairs if gradient is not None for tensor in own]
        step = table().optimizer_step
        at, count = pointers.buffer_info()
        step(ctypes.addressof(rules), self._address, at, self._begin, count, threads())
        torch.autograd.graph.increment_version(changed)

    def _fit(self, gradients: list[Tensor]) -> bool:
        """Whether all are there, and lie in memory as their weights do."""
        if list(map(type, gradients)).count(Tensor) != len(gradients):
            return False
        if list(map(_form, gradients)).count(_FORM) != len(gradients):
            return False
        if self._contiguous:
            return all(map(Tensor.is_contiguous, gradients))
        return list(map(Tensor.stride, gradients)) == self._strides


def _beside(weight: Tensor) -> Tensor | None:
    """A weight's gradient, if need be in the weight's type and order."""
    gradient = weight.grad
    if gradient is None:
        return None
    if type(gradient) is not Tensor or _form(gradient) != _FORM or not in_one_order(gradient, weight):
        gradient = torch.empty_like(weight, requires_grad=False).copy_(gradient.detach())
        weight.grad = gradient
    return gradient


def can_clip(gradients: Sequence[Tensor]) -> bool:
    """Whether ``clip`` takes these: float32 on a CPU, each filling its memory.

    >>> can_clip([torch.zeros(2, dtype=torch.float64)])
    False
    """
    if list(map(_form, gradients)).count(_FORM) != len(gradients) or not all(map(attrgetter("is_cpu"), gradients)):
        return False
    if not all(map(Tensor.is_contiguous, gradients)):
        shapes, strides = map(attrgetter("shape"), gradients), map(Tensor.stride, gradients)
        if not all(map(is_dense, shapes, strides)):
            return False
    return native() is not None


def clip(
    gradients: Sequence[Tensor],
    *,
    norm: float | None = None,
    value: float | None = None,
    norm_each: float | None = None,
) -> float:
    """Bound the norm of all gradients, each element or each gradient's norm, and return the norm of all before that.

    Of several bounds the first one given counts. Where ``norm_each`` is given, the norm of all is that after it. It is
    NaN or infinite where one of the values is; gradients are such as ``can_clip`` lets pass. A result is the same for
    any number of threads. As in torch, a gradient is multiplied by bound / (norm + 1e-6) at most 1.

    >>> gradient = torch.tensor([3.0, 4.0])
    >>> clip([gradient], norm=1.0) if native() else 5.0
    5.0
    """
    if not gradients:
        return 0.0
    bounds = ((_NORM, norm), (_VALUE, value), (_EACH, norm_each))
    kind, bound = next(((kind, bound) for kind, bound in bounds if bound is not None), (0, 0.0))
    at, count = (pointers := array("Q", map(Tensor.data_ptr, gradients))).buffer_info()
    begins = array("q", [0, *accumulate(map(Tensor.numel, gradients))])
    squares = array("d", bytes(8 * (begins[-1] // _PART + 1)))
    found: float = table().gradients_clip(
        at, begins.buffer_info()[0], count, kind, bound, squares.buffer_info()[0], threads()
    )
    del pointers
    if kind:
        torch.autograd.graph.increment_version(gradients)
    return found
