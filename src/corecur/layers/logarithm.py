"""Logarithm: probabilities as what a linear layer can weigh."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from corecur.errors import ConfigError
from corecur.layers.layer import Layer, LayerOptions


class Logarithm(Layer):
    """``log(max(x, floor))`` of every element.

    >>> import torch
    >>> Logarithm(floor=1e-3)(torch.tensor([[1.0, 0.0]]))
    tensor([[ 0.0000, -6.9078]])
    """

    supports_masking = True

    def __init__(self, floor: float = 1e-7, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        if isinstance(floor, bool) or not isinstance(floor, (int, float)) or not floor > 0:
            raise ConfigError(f"{self.title} needs a floor above 0", got=repr(floor))
        self.floor = floor

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp_min(self.floor).log()
