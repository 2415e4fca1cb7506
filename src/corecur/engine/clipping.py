"""Bounds on the gradients of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from corecur.kernels.native_optimizer import can_clip, clip


@dataclass(frozen=True)
class Clipping:
    """Bounds on the gradients of a step; None leaves them alone. A call returns the norm of all, before its own bound.

    Gradients in float32 on the CPU are bounded natively, a number comes back; else by torch, and a tensor does.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> float(Clipping(norm=1.0)([weight])), weight.grad
    (5.0, tensor([0.6000, 0.8000]))
    """

    norm: float | None = None  # of all gradients together
    value: float | None = None  # of each element
    norm_each: float | None = None  # of each parameter's gradient

    def __call__(self, parameters: Sequence[Tensor]) -> Tensor | float:
        gradients = _gradients(parameters)
        if not can_clip(gradients):
            return self._by_torch(parameters)
        if self.value is not None:
            return clip(gradients, value=self.value)
        norm = None if self.norm_each is None else clip(gradients, norm_each=self.norm_each)
        return clip(gradients, norm=self.norm) if norm is None or self.norm is not None else norm

    def _by_torch(self, parameters: Sequence[Tensor]) -> Tensor | float:
        if self.value is not None:
            norm = norm_of_gradients(parameters)  # before infinity becomes a value like any other
            nn.utils.clip_grad_value_(parameters, self.value)
            return norm
        if self.norm_each is not None:
            for parameter in parameters:
                nn.utils.clip_grad_norm_(parameter, self.norm_each)
        if self.norm is not None:
            return nn.utils.clip_grad_norm_(parameters, self.norm)
        return norm_of_gradients(parameters)

    @property
    def idle(self) -> bool:
        """Whether nothing is clipped."""
        return self.norm is None and self.value is None and self.norm_each is None


def norm_of_gradients(parameters: Sequence[Tensor]) -> Tensor | float:
    """The norm of all gradients together, a number or a scalar; NaN or infinite where one of their values is.

    >>> norm_of_gradients([])
    0.0
    """
    return norm_of(_gradients(parameters))


def norm_of(tensors: Sequence[Tensor]) -> Tensor | float:
    """The norm of all tensors together, as ``norm_of_gradients`` gives it.

    >>> float(norm_of([torch.tensor([3.0]), torch.tensor([4.0])]))
    5.0
    """
    if not tensors:
        return 0.0
    if can_clip(tensors):
        return clip(tensors)
    norms: list[Tensor] = list(torch._foreach_norm(list(tensors)))
    total: Tensor = torch.stack([norm.to(norms[0].device) for norm in norms]).norm()
    return total


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [gradient for parameter in parameters if (gradient := parameter.grad) is not None]
