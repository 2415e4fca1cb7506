"""OrderedQuantiles: outputs that never cross.

Q quantiles.
"""

from __future__ import annotations

from typing import Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.symbolic import Shape


class OrderedQuantiles(Layer):
    """The last axis as rising values: the one at ``middle`` stays, each step away from it adds a softplus.

    ::

        y_m = x_m,   y_(k+1) = y_k + softplus(x_(k+1)) for k ≥ m,   y_(k-1) = y_k - softplus(x_(k-1)) for k ≤ m

    ``middle`` None is the one in the middle (of an even number, the lower): (…, Q) -> (…, Q).

    >>> OrderedQuantiles()(torch.tensor([[0.0, 5.0, -9.0]])).round(decimals=2)
    tensor([[4.3100, 5.0000, 5.0000]])
    """

    supports_masking = True

    def __init__(self, middle: int | None = None, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        if middle is not None and (isinstance(middle, bool) or not isinstance(middle, int) or middle < 0):
            raise ConfigError(
                "OrderedQuantiles needs the place of the middle quantile", got=repr(middle), expected="0, 1, …"
            )
        self.middle = middle

    def check_input(self, shape: Shape | torch.Size) -> None:
        super().check_input(shape)
        count = shape[-1]
        if self.middle is not None and count is not None and self.middle >= count:
            raise ShapeError(
                f"{self.title} has its middle at place {self.middle}", got=f"{count} quantiles, {tuple(shape)}"
            )

    def forward(self, x: Tensor) -> Tensor:
        middle = (x.shape[-1] - 1) // 2 if self.middle is None else self.middle
        below, center, above = torch.split(x, [middle, 1, x.shape[-1] - middle - 1], -1)
        up = F.softplus(above).cumsum(-1)
        down = F.softplus(below).flip(-1).cumsum(-1).flip(-1)
        return torch.cat([center - down, center, center + up], -1)  # (…, Q)
