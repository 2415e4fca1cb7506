"""ZeroPadding1D, ZeroPadding2D, ZeroPadding3D: zeros around the spatial axes.

B batch, S… spatial axes (T | H W | D H W), C channels.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ConfigError
from corecur.layers.conv import each_axis
from corecur.layers.layer import Layer, LayerOptions

#: A number for all sides, one for each axis, or (before, after) for each axis.
Sides = int | tuple[int, ...] | tuple[tuple[int, int], ...]


def each_side(value: Sides, axes: int, *, what: str) -> tuple[tuple[int, ...], ...]:
    """Positions before and after each axis, from any form Keras takes.

    >>> each_side(1, 2, what="padding"), each_side((1, 2), 2, what="padding"), each_side((1, 2), 1, what="padding")
    (((1, 1), (1, 1)), ((1, 1), (2, 2)), ((1, 2),))
    """
    sides: tuple[Any, ...] = tuple(value) if isinstance(value, (list, tuple)) else (value,) * axes
    if axes == 1 and len(sides) == 2:
        sides = (sides,)  # over time, Keras reads two numbers as before and after
    if len(sides) != axes:
        expected = f"a number, or {axes} of (before, after)"
        raise ConfigError(f"{what} does not fit {axes} axes", got=value, expected=expected)
    return tuple(each_axis(side, 2, what=what, least=0) for side in sides)


class ZeroPadding(Layer):
    """What the layers that add zeros along 1, 2 and 3 axes share."""

    axes: ClassVar[int]

    def __init__(self, padding: Sides = 1, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.padding = padding
        sides = each_side(padding, self.axes, what=f"{type(self).__name__}'s padding")
        self._sides = [0, 0]  # F.pad starts from the last axis, the channels
        for before, after in reversed(sides):
            self._sides += [before, after]

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self._sides)  # (B, S…, C) -> (B, before + S + after…, C)


class ZeroPadding1D(ZeroPadding):
    """Zeros before and after: (B, T, C) -> (B, T', C); ``padding`` is a number or (before, after).

    To a mask, the steps added are not real.

    >>> import torch
    >>> ZeroPadding1D((2, 1))(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 13, 4])
    """

    axes = 1
    rank = 3
    supports_masking = True

    def compute_mask(self, inputs: Any, mask: Tensor | None) -> Tensor | None:
        """The mask with what is added marked as not real."""
        return None if mask is None else F.pad(mask, self._sides[2:])


class ZeroPadding2D(ZeroPadding):
    """Zeros around images: (B, H, W, C) -> (B, H', W', C); ``padding`` is a number, (h, w) or two (before, after).

    >>> import torch
    >>> ZeroPadding2D(((1, 0), (2, 2)))(torch.zeros(2, 5, 5, 4)).shape
    torch.Size([2, 6, 9, 4])
    """

    axes = 2
    rank = 4


class ZeroPadding3D(ZeroPadding):
    """Zeros around volumes: (B, D, H, W, C) -> (B, D', H', W', C).

    >>> import torch
    >>> ZeroPadding3D(1)(torch.zeros(2, 3, 4, 5, 1)).shape
    torch.Size([2, 5, 6, 7, 1])
    """

    axes = 3
    rank = 5
