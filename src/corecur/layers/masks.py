"""Masks: which steps of a padded batch are real. They travel with the tensors, as the attribute ``mask``.

B batch, T time. A mask is boolean (B, T), True where a step is real.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from corecur.errors import ShapeError

#: torch's own modules that treat every step alike and alone: a mask passes through them as through our layers.
STEPWISE: tuple[type[nn.Module], ...] = (
    nn.Dropout, nn.ELU, nn.GELU, nn.Identity, nn.LayerNorm, nn.LeakyReLU, nn.Linear, nn.PReLU, nn.ReLU, nn.SiLU,
    nn.Sigmoid, nn.Softplus, nn.Tanh,
)  # fmt: skip


def mask_of(x: object) -> Tensor | None:
    """The mask that a tensor carries, or None.

    >>> mask_of(torch.zeros(2, 3)) is None
    True
    """
    found = getattr(x, "mask", None)
    return found if isinstance(found, Tensor) else None


def with_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """``x`` carrying ``mask`` from now on: the tensor itself, which should be a new one.

    >>> mask_of(with_mask(torch.zeros(1, 2, 3), torch.tensor([[True, False]])))
    tensor([[ True, False]])
    """
    x.mask = mask  # type: ignore[attr-defined]
    return x


def checked_mask(mask: Tensor, x: Tensor, title: str) -> Tensor:
    """The mask as booleans; ShapeError where it is not (B, T) of ``x`` (B, T, …), or holds more than 0 and 1.

    >>> checked_mask(torch.tensor([[1, 0]]), torch.zeros(1, 2, 3), "the layer")
    tensor([[ True, False]])
    """
    if not isinstance(mask, Tensor) or mask.shape != x.shape[:2]:
        raise ShapeError(
            f"{title} got a mask that does not fit its input",
            got=f"{tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__} for {tuple(x.shape)}",
            expected=f"a tensor {tuple(x.shape[:2])}, (batch, time): True where a step is real",
        )
    if mask.dtype == torch.bool:
        return mask
    real = mask != 0
    if not mask.is_meta and not bool((real == mask).all()):
        raise ShapeError(f"{title} got a mask that is not made of 0 and 1", do="pass a boolean mask, True = real")
    return real


def carried(module: nn.Module, x: object, output: Any) -> Any:
    """The output of a module that is none of our layers, with the mask of its input where it treats steps alone."""
    mask = mask_of(x)
    if mask is None or not isinstance(module, STEPWISE) or not isinstance(output, Tensor):
        return output
    return with_mask(output.view_as(output) if output is x else output, mask)


def lengths_of(mask: Tensor) -> Tensor:
    """How many steps of each row are real, (B,) int64.

    >>> lengths_of(torch.tensor([[False, True], [False, False]]))
    tensor([1, 0])
    """
    return mask.sum(1)


def blank(x: Tensor, mask: Tensor, value: float = 0.0) -> Tensor:
    """``x`` (B, T, …) with ``value`` at the steps that are not real: what stood there, NaN included, reaches nothing.

    >>> blank(torch.tensor([[1.0, float("nan")]]), torch.tensor([[True, False]]))
    tensor([[1., 0.]])
    """
    return x.masked_fill(~mask.view(*mask.shape, *(1,) * (x.ndim - mask.ndim)), value)


def takes_mask(kind: type[nn.Module]) -> bool:
    """Whether the ``forward`` (or ``call``) of a class has an argument ``mask``.

    >>> takes_mask(nn.Linear)
    False
    """
    methods = (getattr(kind, name, None) for name in ("forward", "call"))
    return any("mask" in inspect.signature(method).parameters for method in methods if method is not None)
