"""Flatten, Reshape, Permute: the same values in another shape.

B batch; of public (B, H, W, C) tensors these are views wherever torch can make one.
"""

from __future__ import annotations

import math
from typing import Any, Unpack

import torch
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.symbolic import Shape, shape_of


class Flatten(Layer):
    """Everything but the batch axis in one axis: (B, …) -> (B, product).

    >>> Flatten()(torch.zeros(2, 7, 7, 8)).shape
    torch.Size([2, 392])
    """

    def __init__(self, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)


class Reshape(Layer):
    """Another shape after the batch axis; one size may be -1: (B, …) -> (B, *target_shape).

    A mask goes on where the time axis stays as it is.

    >>> Reshape((4, -1))(torch.zeros(2, 12)).shape
    torch.Size([2, 4, 3])
    """

    def __init__(self, target_shape: tuple[int, ...], **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        sizes = tuple(target_shape)
        whole = all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
        if not whole or any(size < -1 for size in sizes) or sizes.count(-1) > 1:
            raise ConfigError(
                "Reshape cannot make this shape", got=target_shape, expected="whole numbers, at most one of them -1"
            )
        self.target_shape = target_shape
        self._known = math.prod(size for size in sizes if size != -1)
        self._open = sizes.index(-1) if -1 in sizes else None
        self._sizes = list(sizes)

    def forward(self, x: Tensor) -> Tensor:
        sizes, total = self._sizes, math.prod(x.shape[1:])
        if self._open is not None and self._known:
            sizes = sizes.copy()
            sizes[self._open] = total // self._known  # torch cannot find it for an empty batch
        if math.prod(sizes) != total:
            raise ShapeError(
                f"{self.title} cannot make {tuple(self._sizes)} of {total} values",
                got=shape_of(x),
                expected=f"{'' if self._open is None else 'a multiple of '}{self._known} values in each sample",
            )
        return x.reshape(x.shape[0], *sizes)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """The mask where time is still the first axis after the batch."""
        first = self._sizes[0] if self._sizes else None
        if first == -1 and self._known:
            first = math.prod(inputs.shape[1:]) // self._known
        return mask if first == inputs.shape[1] else super().compute_mask(inputs, mask)


class Permute(Layer):
    """Other order of the axes after the batch axis, counted from 1: a view.

    A mask goes on where time stays first.

    >>> Permute((2, 1))(torch.zeros(2, 10, 64)).shape
    torch.Size([2, 64, 10])
    """

    def __init__(self, dims: tuple[int, ...], **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        order = tuple(dims)
        if sorted(order) != list(range(1, len(order) + 1)):
            raise ConfigError(
                "Permute needs every axis once", got=dims, expected="the numbers from 1, the batch axis not counted"
            )
        self.dims = dims
        self._order = (0, *order)

    def check_input(self, shape: Shape | torch.Size) -> None:
        super().check_input(shape)
        if len(shape) != len(self._order):
            raise ShapeError(
                f"{self.title} orders {len(self._order)} axes, the batch axis included",
                got=tuple(shape),
                do="name every axis but the batch in dims",
            )

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self._order)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """The mask where time stays the first axis after the batch."""
        return mask if self._order[1:2] == (1,) else super().compute_mask(inputs, mask)
