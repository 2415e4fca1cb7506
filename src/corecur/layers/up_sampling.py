"""UpSampling1D, UpSampling2D, UpSampling3D: each position several times, or values between positions.

B batch, S… spatial axes (T | H W | D H W), C channels.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar, Unpack

import torch.nn.functional as F
from torch import Tensor

from corecur.layers.conv import Size, channels_first, channels_last, each_axis
from corecur.layers.layer import Layer, LayerOptions
from corecur.names import Table

#: torch's modes by Keras' names.
INTERPOLATIONS: Table[str] = Table("interpolation", {"nearest": "nearest", "bilinear": "bilinear"})


class UpSampling(Layer):
    """What the layers that enlarge 1, 2 and 3 axes share."""

    axes: ClassVar[int]
    _mode = INTERPOLATIONS["nearest"]

    def __init__(self, size: Size = 2, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.size = size
        self._factors = each_axis(size, self.axes, what=f"{type(self).__name__}'s size")

    def forward(self, x: Tensor) -> Tensor:
        sizes = [size * factor for size, factor in zip(x.shape[1:-1], self._factors, strict=True)]
        return channels_last(F.interpolate(channels_first(x), sizes, mode=self._mode))  # (B, S·size…, C)

    def window(self) -> tuple[int, int | Fraction] | None:
        return 2 if self._mode == "bilinear" else 1, Fraction(1, self._factors[0])


class UpSampling1D(UpSampling):
    """Repeats each time step: (B, T, C) -> (B, T · size, C).

    >>> import torch
    >>> UpSampling1D(2)(torch.tensor([[[1.0], [2.0]]])).flatten()
    tensor([1., 1., 2., 2.])
    """

    axes = 1
    rank = 3
    supports_masking = True

    def compute_mask(self, inputs: Any, mask: Tensor | None) -> Tensor | None:
        """The mask, each step as often as its values."""
        return None if mask is None else mask.repeat_interleave(self._factors[0], dim=1)


class UpSampling2D(UpSampling):
    """Enlarges images by whole factors: (B, H, W, C) -> (B, H · size, W · size, C).

    ``interpolation`` is "nearest" or "bilinear" (half-pixel centres, as Keras).

    >>> import torch
    >>> UpSampling2D((2, 3), interpolation="bilinear")(torch.zeros(2, 7, 7, 4)).shape
    torch.Size([2, 14, 21, 4])
    """

    axes = 2
    rank = 4

    def __init__(self, size: Size = 2, *, interpolation: str = "nearest", **options: Unpack[LayerOptions]) -> None:
        super().__init__(size, **options)
        self.interpolation = interpolation
        self._mode = INTERPOLATIONS[interpolation]


class UpSampling3D(UpSampling):
    """Repeats each voxel: (B, D, H, W, C) -> (B, D · size, H · size, W · size, C).

    >>> import torch
    >>> UpSampling3D(2)(torch.zeros(2, 3, 4, 5, 1)).shape
    torch.Size([2, 6, 8, 10, 1])
    """

    axes = 3
    rank = 5
