"""Cropping1D, Cropping2D, Cropping3D: the spatial axes without their ends.

B batch, S… spatial axes (T | H W | D H W), C channels.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from torch import Tensor

from corecur.errors import ShapeError
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.symbolic import shape_of
from corecur.layers.zero_padding import Sides, each_side


class Cropping(Layer):
    """What the layers that cut along 1, 2 and 3 axes share; the output is a view."""

    axes: ClassVar[int]

    def __init__(self, cropping: Sides = 1, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.cropping = cropping
        self._sides = each_side(cropping, self.axes, what=f"{type(self).__name__}'s cropping")

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for axis, (before, after) in enumerate(self._sides, start=1):
            left = x.shape[axis] - before - after
            if left < 1:
                raise ShapeError(
                    f"{self.title} would leave nothing of an axis of {x.shape[axis]} positions",
                    got=shape_of(x),
                    expected=f"more than {before + after}",
                )
            y = y.narrow(axis, before, left)
        return y  # (B, S - before - after…, C)


class Cropping1D(Cropping):
    """Cuts both ends of time: (B, T, C) -> (B, T', C); ``cropping`` is a number or (before, after).

    >>> import torch
    >>> Cropping1D((2, 1))(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 7, 4])
    """

    axes = 1
    rank = 3
    supports_masking = True

    def compute_mask(self, inputs: Any, mask: Tensor | None) -> Tensor | None:
        """The mask cut in the same way."""
        before, after = self._sides[0]
        return None if mask is None else mask[:, before : mask.shape[1] - after]


class Cropping2D(Cropping):
    """Cuts the border of images: (B, H, W, C) -> (B, H', W', C); ``cropping`` as ``ZeroPadding2D``'s ``padding``.

    >>> import torch
    >>> Cropping2D(((1, 0), (2, 2)))(torch.zeros(2, 5, 9, 4)).shape
    torch.Size([2, 4, 5, 4])
    """

    axes = 2
    rank = 4

    def __init__(self, cropping: Sides = 0, **options: Unpack[LayerOptions]) -> None:
        super().__init__(cropping, **options)


class Cropping3D(Cropping):
    """Cuts the border of volumes: (B, D, H, W, C) -> (B, D', H', W', C).

    >>> import torch
    >>> Cropping3D(1)(torch.zeros(2, 3, 4, 5, 1)).shape
    torch.Size([2, 1, 2, 3, 1])
    """

    axes = 3
    rank = 5
