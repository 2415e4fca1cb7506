"""Masks: which steps of a padded batch are real. They travel with the tensors, as the attribute ``mask``.

B batch, T time. A mask is boolean (B, T), True where a step is real.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
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


def carrying(x: Any, mask: Any, title: str) -> Any:
    """A new tensor (or list of them) of the same values carrying the mask (or list of masks); ``x`` if it does already.

    >>> carrying(torch.zeros(1, 1), torch.tensor([[True]]), "the layer").mask
    tensor([[True]])
    """
    if isinstance(x, Tensor):
        return x if mask_of(x) is mask else with_mask(x.view_as(x), mask)
    if not isinstance(x, (list, tuple)):
        return x
    return [carrying(one, m, title) for one, m in zip(x, checked_masks(mask, x, title), strict=True)]


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


def checked_masks(masks: Any, inputs: Sequence[Tensor], title: str) -> list[Tensor | None]:
    """The mask of each of several inputs, None where it has none; ShapeError where they are not one for each.

    >>> checked_masks(None, [torch.zeros(1, 2)], "the layer")
    [None]
    """
    if masks is None:
        return [None] * len(inputs)
    if not isinstance(masks, (list, tuple)) or len(masks) != len(inputs):
        raise ShapeError(
            f"{title} takes a list of masks, one for each input",
            got=f"{len(masks)} masks" if isinstance(masks, (list, tuple)) else type(masks).__name__,
            expected=f"{len(inputs)}, None where an input has none",
        )
    return [m if m is None else checked_mask(m, x, title) for m, x in zip(masks, inputs, strict=True)]


def call_plain(module: nn.Module, x: Any) -> Any:
    """What a module that is none of our layers makes of ``x``; a mask passes where it treats every step alone.

    >>> x = with_mask(torch.tensor([[[1.0], [float("nan")]]]), torch.tensor([[True, False]]))
    >>> call_plain(nn.ReLU(), x).mask
    tensor([[ True, False]])
    """
    mask = mask_of(x)
    if mask is None or not isinstance(module, STEPWISE):
        return module(x)
    return with_mask(module(blank(x, mask)), mask)  # blank: in a weight's gradient 0 · NaN would be NaN


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


def of_real_steps(function: Callable[[Tensor], Tensor], x: Tensor, mask: Tensor) -> Tensor:
    """What ``function`` (R, …) -> (R, …') makes of the R real steps of ``x`` (B, T, …), and 0 elsewhere: (B, T, …').

    >>> of_real_steps(torch.exp, torch.zeros(1, 2, 1), torch.tensor([[True, False]]))
    tensor([[[1.],
             [0.]]])
    """
    places = mask.flatten().nonzero().squeeze(1)  # by number: its gradient takes a fraction of that of x[mask]
    found = function(x.flatten(0, 1).index_select(0, places))
    whole = found.new_zeros(mask.numel(), *found.shape[1:]).index_copy(0, places, found)
    return whole.view(*mask.shape, *found.shape[1:])


def takes_mask(kind: type[nn.Module]) -> bool:
    """Whether the ``forward`` (or ``call``) of a class has an argument ``mask``.

    >>> takes_mask(nn.Linear)
    False
    """
    methods = (getattr(kind, name, None) for name in ("forward", "call"))
    return any("mask" in inspect.signature(method).parameters for method in methods if method is not None)
