"""The softmax over the last axis and the cross-entropy from scores, natively where there are many scores.

Neither writes what the other one needs: a loss reads the scores once, and its gradient once more. P positions, K
classes, B batch, T time.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.kernels.library import Struct, native, table, threads
from corecur.kernels.operation import operation

#: No label is to be ignored unasked; torch ignores -100 unless told another one.
NO_LABEL = -(2**62)
#: Fewer scores are worth no native call (measured on one thread); torch's own are slow where a row fills no vector.
ENOUGH_SCORES, ENOUGH_SHORT_ROWS, SHORT = 32768, 512, 16


class SoftmaxJob(Struct):
    """``CorecurSoftmax`` of csrc/softmax.hpp."""

    _fields_ = [
        ("positions", ctypes.c_int64),
        ("classes", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("scores", "out", "labels")),
        ("ignored", ctypes.c_int64),
        ("smoothing", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("losses", "kept", "d_losses")),
        ("d_stride", ctypes.c_int64),
        ("mean", ctypes.c_void_p),
        ("wrong", ctypes.c_void_p),
    ]


def serves(scores: Tensor) -> bool:
    """Whether the native functions take these scores, and are worth it: many, float32, on a CPU.

    >>> serves(torch.zeros(2, 3)), serves(torch.zeros(1000, 65, dtype=torch.float64))
    (False, False)
    """
    classes = scores.shape[-1] if scores.dim() > 1 else 0
    return (
        scores.numel() >= (ENOUGH_SHORT_ROWS * classes if 0 < classes < SHORT else ENOUGH_SCORES)
        and classes > 0
        and scores.dtype == torch.float32
        and scores.is_cpu
        and type(scores) in (Tensor, torch.nn.Parameter)
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and native() is not None
    )


def time_first(x: Tensor) -> bool:
    """Whether (B, T, …) lies in memory as (T, B, …), as a recurrent layer leaves it: then that order needs no copy.

    >>> time_first(torch.zeros(4, 2, 3).transpose(0, 1)), time_first(torch.zeros(2, 4, 3))
    (True, False)
    """
    return x.dim() == 3 and not x.is_contiguous() and x.transpose(0, 1).is_contiguous()


def _run_softmax(scores: Tensor) -> Tensor:
    """(P, K) of scores (P, K), both in one piece."""
    out = torch.empty_like(scores)
    job = SoftmaxJob.of(positions=scores.shape[0], classes=scores.shape[1], scores=scores, out=out)
    table().softmax(ctypes.byref(job), threads())
    return out


def _run_cross_entropy(scores: Tensor, labels: Tensor, smoothing: float, ignored: int) -> tuple[Tensor, Tensor, Tensor]:
    """The losses (P,) of scores (P, K), what the way back needs (P, 2), and the mean of all losses, a scalar;
    IndexError, as of torch, where a label is neither a class nor ``ignored``."""
    losses, kept, mean = scores.new_empty(scores.shape[0]), scores.new_empty(scores.shape[0], 2), scores.new_empty(())
    wrong = ctypes.c_int64(0)
    job = SoftmaxJob.of(
        positions=scores.shape[0], classes=scores.shape[1], scores=scores, labels=labels, ignored=ignored,
        smoothing=smoothing, losses=losses, kept=kept, mean=mean, wrong=ctypes.addressof(wrong),
    )  # fmt: skip
    table().cross_entropy(ctypes.byref(job), threads())
    if wrong.value:
        raise IndexError("a label is out of range")
    return losses, kept, mean


def _run_cross_entropy_backward(
    scores: Tensor, labels: Tensor, kept: Tensor, d_losses: Tensor, smoothing: float, ignored: int
) -> Tensor:
    """The gradient (P, K), given that of the losses (P,), or one value for all of them."""
    out = torch.empty_like(scores)
    job = SoftmaxJob.of(
        positions=scores.shape[0], classes=scores.shape[1], scores=scores, out=out, labels=labels, ignored=ignored,
        smoothing=smoothing, kept=kept, d_losses=d_losses, d_stride=0 if d_losses.stride() == (0,) else 1,
    )  # fmt: skip
    table().cross_entropy_backward(ctypes.byref(job), threads())
    return out


_softmax = operation("softmax(Tensor scores) -> Tensor", _run_softmax, torch.empty_like)
_cross_entropy = operation(
    "cross_entropy(Tensor scores, Tensor labels, float smoothing, int ignored) -> (Tensor, Tensor, Tensor)",
    _run_cross_entropy,
    lambda scores, *_: (scores[:, 0].clone(), scores.new_empty(len(scores), 2), scores.new_empty(())),
)
_cross_entropy_backward = operation(
    "cross_entropy_backward(Tensor scores, Tensor labels, Tensor kept, Tensor d_losses, float smoothing, int ignored)"
    " -> Tensor",
    _run_cross_entropy_backward,
    lambda scores, *_: torch.empty_like(scores),
)


class _Probabilities(torch.autograd.Function):
    """The softmax of scores (…, K), and its gradient by torch's own operation."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor) -> Tensor:
        swapped = time_first(scores)
        rows = (scores.transpose(0, 1) if swapped else scores).contiguous()
        found: Tensor = _softmax(rows.view(-1, rows.shape[-1])).view(rows.shape)
        found = found.transpose(0, 1) if swapped else found
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx: Any, d_found: Tensor) -> Tensor:
        (found,) = ctx.saved_tensors
        d_scores: Tensor = torch._softmax_backward_data(d_found, found, -1, found.dtype)
        return d_scores


class _Losses(torch.autograd.Function):
    """Cross-entropies of rows of scores; where the gradient is to have one itself, torch computes it."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, labels: Tensor, smoothing: float, ignored: int) -> Tensor:
        losses: Tensor
        losses, kept, _ = _cross_entropy(scores, labels, smoothing, ignored)
        ctx.save_for_backward(scores, labels, kept)
        ctx.smoothing, ctx.ignored = smoothing, ignored
        return losses

    @staticmethod
    def backward(ctx: Any, d_losses: Tensor) -> Any:
        scores, labels, kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            with torch.enable_grad():
                again = F.cross_entropy(
                    scores, labels, reduction="none", label_smoothing=ctx.smoothing, ignore_index=ctx.ignored
                )
                (found,) = torch.autograd.grad(again, scores, d_losses, create_graph=True)
            return found, None, None, None
        if d_losses.stride() != (0,):
            d_losses = d_losses.contiguous()
        found = _cross_entropy_backward(scores, labels, kept, d_losses, ctx.smoothing, ctx.ignored)
        return found, None, None, None


def _rows(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (…, K) as (P, K) and labels (…) as (P), in the order in memory that the scores have."""
    if time_first(scores):
        scores, labels = scores.transpose(0, 1), labels.transpose(0, 1)
    return scores.contiguous().view(-1, scores.shape[-1]), labels.contiguous().view(-1)


class _MeanLoss(torch.autograd.Function):
    """The mean of the cross-entropies of scores (…, K): one step of torch's way back."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        mean: Tensor
        _, kept, mean = _cross_entropy(*_rows(scores, labels), smoothing, NO_LABEL)
        ctx.save_for_backward(scores, labels, kept)
        ctx.smoothing = smoothing
        return mean

    @staticmethod
    def backward(ctx: Any, d_loss: Tensor) -> Any:
        scores, labels, kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            flat = scores.reshape(-1, scores.shape[-1])
            again = F.cross_entropy(flat, labels.reshape(-1), label_smoothing=ctx.smoothing)
            return torch.autograd.grad(again, scores, d_loss, create_graph=True)[0], None, None
        rows, flat_labels = _rows(scores, labels)
        each = (d_loss / len(rows)).expand(len(rows))
        found = _cross_entropy_backward(rows, flat_labels, kept, each, ctx.smoothing, NO_LABEL)
        if time_first(scores):
            return found.view(scores.transpose(0, 1).shape).transpose(0, 1), None, None
        return found.view(scores.shape), None, None


def probabilities(scores: Tensor) -> Tensor:
    """The softmax over the last axis of scores (…, K), in the order in memory that they have.

    >>> probabilities(torch.zeros(2, 4))[0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    if not serves(scores):
        return torch.softmax(scores, dim=-1)
    found: Tensor = _Probabilities.apply(scores)  # type: ignore[no-untyped-call]
    return found


def class_losses(scores: Tensor, labels: Tensor, smoothing: float, ignored: int) -> Tensor:
    """-Σ_k q_k log softmax(scores)_k of scores (P, K) that ``serves`` lets pass; labels (P,) are classes or ``ignored``
    (IndexError where one is neither).

    >>> class_losses(torch.zeros(5000, 8), torch.zeros(5000, dtype=torch.long), 0.0, -1)[0]
    tensor(2.0794)
    """
    found: Tensor = _Losses.apply(  # type: ignore[no-untyped-call]
        scores.contiguous(), labels.contiguous(), smoothing, ignored
    )
    return found


def mean_loss(scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """The mean of the same over scores (…, K) that ``serves`` lets pass; all labels (…) are classes.

    >>> mean_loss(torch.zeros(50, 100, 8), torch.zeros(50, 100, dtype=torch.long), 0.0)
    tensor(2.0794)
    """
    found: Tensor = _MeanLoss.apply(scores, labels, smoothing)  # type: ignore[no-untyped-call]
    return found
