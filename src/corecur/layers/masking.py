"""Masking: steps that hold one value alone are padding.

B batch, T time, C channels.
"""

from __future__ import annotations

import math
from typing import Any, Unpack

from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank, with_mask
from corecur.layers.symbolic import Shape, shape_of


class Masking(Layer):
    """Marks the steps of (B, T, C…) whose values all are ``mask_value`` as not real, and sets them to 0.

    >>> import torch
    >>> y = Masking(-1.0)(torch.tensor([[[2.0], [-1.0]]]))
    >>> y.flatten(), y.mask
    (tensor([2., 0.]), tensor([[ True, False]]))
    """

    def __init__(self, mask_value: float = 0.0, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        number = isinstance(mask_value, (int, float)) and not isinstance(mask_value, bool)
        if not number or not math.isfinite(mask_value):
            raise ConfigError("Masking needs a finite number as mask_value", got=repr(mask_value))
        self.mask_value = mask_value

    def check_input(self, shape: Shape | Any) -> None:
        super().check_input(shape)
        if len(shape) < 3:
            raise ShapeError(f"{self.title} takes sequences", got=tuple(shape), expected="(batch, time, features, …)")

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        found = self.compute_mask(x, mask)
        return with_mask(blank(x, found), found)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        """Where any value of a step is another than ``mask_value``."""
        if inputs.ndim < 3:
            raise ShapeError(f"{self.title} takes sequences", got=shape_of(inputs))
        found = (inputs != self.mask_value).flatten(2).any(-1)  # (B, T, C…) -> (B, T)
        return found if mask is None else found & mask
