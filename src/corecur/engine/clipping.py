"""Bounds on the gradients of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Clipping:
    """Bounds on the gradients of a step; None leaves them alone. A call returns the norm of all, before its own bound.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> Clipping(norm=1.0)([weight]), weight.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """

    norm: float | None = None  # of all gradients together
    value: float | None = None  # of each element
    norm_each: float | None = None  # of each parameter's gradient

    def __call__(self, parameters: Sequence[Tensor]) -> Tensor:
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


def norm_of_gradients(parameters: Sequence[Tensor]) -> Tensor:
    """The norm of all gradients together, a scalar; NaN or infinite where one of their values is.

    >>> norm_of_gradients([])
    tensor(0.)
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norms: list[Tensor] = list(torch._foreach_norm(gradients))
    total: Tensor = torch.stack(norms).norm()
    return total
