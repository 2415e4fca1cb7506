"""TimeDistributed: a layer applied to every step of a sequence, with the same weights.

B batch, T time, R real steps of the batch.
"""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import of_real_steps
from corecur.layers.symbolic import shape_of


class TimeDistributed(Layer):
    """``layer`` on each step alone: (B, T, …) -> (B, T, …'), whatever it makes of (B, …).

    Steps that a mask leaves out never reach the layer, and give zeros; the mask goes on. State names are those of the
    layer with ``layer.`` before.

    >>> from corecur.layers.conv import Conv2D
    >>> TimeDistributed(Conv2D(4, 3))(torch.zeros(2, 5, 8, 8, 1)).shape
    torch.Size([2, 5, 6, 6, 4])
    """

    supports_masking = True

    def __init__(self, layer: nn.Module, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        if not isinstance(layer, nn.Module):
            raise ConfigError("TimeDistributed takes a layer", got=repr(layer), do="TimeDistributed(Dense(8))")
        self.layer = layer

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if x.ndim < 3:
            raise ShapeError(f"{self.title} takes sequences", got=shape_of(x), expected="(batch, time, features, …)")
        if mask is None or x.is_meta:
            return torch.unflatten(
                self._of_each(x.flatten(0, 1)), 0, x.shape[:2]
            )  # (B, T, …) -> (B·T, …) -> (B, T, …')
        return of_real_steps(self._of_each, x, mask)

    def _of_each(self, steps: Tensor) -> Tensor:
        output: Any = self.layer(steps)
        if not isinstance(output, Tensor):
            raise ShapeError(
                f"{self.title} takes a layer with one output",
                got=type(output).__name__,
                do="leave out return_state and return_attention_scores",
            )
        return output

    def window(self) -> tuple[int, int]:
        return 1, 1
