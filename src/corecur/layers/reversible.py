"""WindowStatistics and ReversibleNormalization: series without their own level and spread, and answers with them again.

B batch, T time, H horizon, C channels, Q values for each step and channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Unpack

import torch
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank
from corecur.layers.symbolic import Shape, shape_of

CENTERS = ("mean", "last")


class WindowStatistics(Layer):
    """The level and the spread of each series and channel: (B, T, C) -> (B, 2, C), for ``ReversibleNormalization``.

    Row 0 is the ``center``: the mean over time, or the last value. Row 1 is ``√(variance over time + epsilon)``, or 1
    without ``scale``. With a mask only real steps count; a series without any has level 0 and spread √epsilon.

    >>> WindowStatistics(epsilon=1e-9)(torch.tensor([[[1.0], [3.0]]])).flatten()
    tensor([2., 1.])
    """

    rank = 3

    def __init__(
        self,
        center: Literal["mean", "last"] = "mean",
        *,
        scale: bool = True,
        epsilon: float = 1e-5,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        if center not in CENTERS:
            raise ConfigError("unknown center of a series", got=repr(center), expected=" or ".join(CENTERS))
        number = isinstance(epsilon, (int, float)) and not isinstance(epsilon, bool)
        if not number or not 0 < epsilon < math.inf:
            raise ConfigError("WindowStatistics needs an epsilon above 0", got=repr(epsilon))
        self.center = center
        self.scale = scale
        self.epsilon = epsilon

    def check_input(self, shape: Shape | torch.Size) -> None:
        super().check_input(shape)
        if shape[1] == 0:
            raise ShapeError(
                f"{self.title} needs a step to measure", got=tuple(shape), expected="(batch, time, channels)"
            )

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        real, count = None, x.new_tensor(x.shape[1])
        if mask is not None:
            x, real = blank(x, mask), mask.unsqueeze(-1)  # (B, T, 1)
            count = real.sum(1, keepdim=True).clamp(min=1)  # (B, 1, 1)
        mean = x.sum(1, keepdim=True) / count  # (B, 1, C)
        center = mean if self.center == "mean" else _last(x, mask)
        if not self.scale:
            return torch.cat([center, torch.ones_like(center)], 1)
        apart = x - mean if real is None else (x - mean).masked_fill(~real, 0.0)
        variance = apart.square().sum(1, keepdim=True) / count
        return torch.cat([center, (variance + self.epsilon).sqrt()], 1)  # (B, 2, C)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None) -> None:
        """None: there are no steps any more."""

    def window(self) -> None:
        return None


class ReversibleNormalization(Layer):
    """``(x - level) / spread``, or with ``reverse`` ``x · spread + level``: [(B, T, C), (B, 2, C)] -> (B, T, C).

    Level and spread come from ``WindowStatistics``. In front of a network it takes away what differs from window to
    window; behind it, with ``reverse``, it gives that back, so that a series may drift where no training went. In
    reverse the values may have further axes, such as quantiles: (B, H, C, Q). RevIN (Kim et al. 2022) is a pair of
    these with center "mean"; NLinear (Zeng et al. 2023) one with center "last" and no scale.

    >>> x = torch.tensor([[[1.0], [3.0]]])
    >>> statistics = WindowStatistics("last", scale=False)(x)
    >>> y = ReversibleNormalization()([x, statistics])
    >>> y.flatten(), ReversibleNormalization(reverse=True)([y, statistics]).flatten()
    (tensor([-2.,  0.]), tensor([1., 3.]))
    """

    def __init__(self, *, reverse: bool = False, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.reverse = reverse

    def check_input(self, shape: Shape | torch.Size) -> None:
        raise ShapeError(
            f"{self.title} takes a list of tensors",
            got=f"one tensor of shape {tuple(shape)}",
            do="write ReversibleNormalization()([x, statistics])",
        )

    def build(self, input_shape: list[Shape]) -> None:
        self._check(input_shape)

    def forward(self, inputs: Sequence[Tensor], *, mask: Sequence[Tensor | None] | None = None) -> Tensor:
        self._check([shape_of(x) for x in inputs])
        x, statistics = inputs
        if mask is not None and mask[0] is not None:
            x = blank(x, mask[0])
        level, spread = statistics[:, :1], statistics[:, 1:]  # (B, 1, C)
        further = (1,) * (x.ndim - 3)
        level, spread = (part.reshape(*part.shape, *further) for part in (level, spread))
        return x * spread + level if self.reverse else (x - level) / spread

    def compute_mask(self, inputs: Sequence[Tensor], mask: Sequence[Tensor | None] | None) -> Tensor | None:
        return None if mask is None else mask[0]

    def _check(self, shapes: list[Shape]) -> None:
        fits = len(shapes) == 2 and len(shapes[0]) >= 3 and len(shapes[1]) == 3
        if not fits or shapes[1][1] != 2 or shapes[0][2] != shapes[1][2]:
            raise ShapeError(
                f"{self.title} takes series and their statistics",
                got=" and ".join(str(tuple(shape)) for shape in shapes),
                expected="(batch, time, channels) and (batch, 2, channels)",
                do="the statistics are what WindowStatistics makes of the series",
            )


def _last(x: Tensor, mask: Tensor | None) -> Tensor:
    """The last real step of each row, (B, T, C) -> (B, 1, C); x is 0 where it is not real."""
    if mask is None:
        return x[:, -1:]
    places = torch.arange(1, x.shape[1] + 1, device=x.device) * mask  # (B, T)
    chosen = places.argmax(1)  # the first step, which is 0, where none is real
    return x[torch.arange(len(x), device=x.device), chosen].unsqueeze(1)
