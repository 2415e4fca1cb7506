"""Rescaling: ``x · scale + offset``, for raw pixels inside a model.

B batch, C channels.
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from corecur.layers.layer import Layer, LayerOptions

Factor = float | tuple[float, ...]


class Rescaling(Layer):
    """``x · scale + offset``, each a number or one for each channel; whole numbers become float32.

    >>> import torch
    >>> Rescaling(1 / 127.5, offset=-1)(torch.tensor([[0, 255]], dtype=torch.uint8))
    tensor([[-1.,  1.]])
    """

    supports_masking = True

    def __init__(self, scale: Factor, offset: Factor = 0.0, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.scale = scale
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            x = x.float()
        y = x * self._factor(self.scale, x)
        return y if self.offset == 0 else y.add_(self._factor(self.offset, x))

    def _factor(self, factor: Factor, like: Tensor) -> Tensor | float:
        return factor if isinstance(factor, (int, float)) else like.new_tensor(factor)
