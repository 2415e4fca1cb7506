"""Pooling: the maximum or the average of windows, or of everything along the spatial axes.

B batch, S… spatial axes (T | H W | D H W), C channels.
Public tensors are (B, S…, C); torch pools the same memory seen as (B, C, S…).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, ClassVar, Literal, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.conv import Size, channels_first, channels_last, each_axis, same_padding
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank
from corecur.layers.symbolic import shape_of
from corecur.layers.window_mask import window_mask


def pool_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Padding on both sides for ``padding="same"``, and the outputs to drop from the front.

    With ``ceil_mode`` torch looks past the end by itself, so equal padding on both sides gives ``ceil(size / stride)``
    outputs. Only an even window with stride 1 needs an unequal padding: there one output too many is made and dropped.

    >>> pool_padding(7, 2, 2), pool_padding(7, 3, 1), pool_padding(7, 2, 1)
    ((0, 0), (1, 0), (1, 1))
    """
    before, after = same_padding(size, window, stride, 1)
    return (after, 1) if after > before and stride == 1 else (before, 0)


def average_volumes(
    x: Tensor,
    size: tuple[int, ...],
    strides: tuple[int, ...],
    padding: tuple[int, ...] = (0, 0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average pooling of (B, C, D, H, W) as two poolings of images: within the slices, then from slice to slice.

    torch's own refuses windows larger than the padded input and takes several times as long on channels-last memory.

    >>> average_volumes(torch.ones(2, 3, 4, 6, 8), (2, 2, 2), (2, 2, 2)).shape
    torch.Size([2, 3, 2, 3, 4])
    """
    slices = x.transpose(1, 2).flatten(0, 1)  # (B, C, D, H, W) -> (B·D, C, H, W)
    y = F.avg_pool2d(slices, size[1:], strides[1:], padding[1:], ceil_mode, count_include_pad)
    channels, height, width = y.shape[1:]
    y = y.reshape(x.shape[0], x.shape[2], channels, height * width).transpose(1, 2)  # -> (B, C, D, H'·W')
    y = F.avg_pool2d(y, (size[0], 1), (strides[0], 1), (padding[0], 0), ceil_mode, count_include_pad)
    return y.reshape(*y.shape[:3], height, width)  # (B, C, D', H'·W') -> (B, C, D', H', W')


class Pooling(Layer):
    """What the pooling layers over 1, 2 and 3 axes share."""

    axes: ClassVar[int]
    pool: ClassVar[Callable[..., Tensor]]
    #: torch's arguments after the padding, for windows that look past the ends.
    past_the_end: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        pool_size: Size = 2,
        strides: Size | None = None,
        padding: Literal["valid", "same"] = "valid",
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        kind = type(self).__name__
        if padding not in ("valid", "same"):
            raise ConfigError(f"{kind} has no padding {padding!r}", expected="'valid' or 'same'")
        self.pool_size = pool_size
        self.strides = strides
        self.padding = padding
        self._size = each_axis(pool_size, self.axes, what=f"{kind}'s pool_size")
        self._strides = self._size if strides is None else each_axis(strides, self.axes, what=f"{kind}'s strides")
        self._valid = padding == "valid"

    def forward(self, x: Tensor) -> Tensor:
        x = channels_first(x)  # (B, S…, C) -> (B, C, S…)
        y = self._pool_inside(x) if self._valid else self._pool_same(x)
        return channels_last(y)  # (B, C, S'…) -> (B, S'…, C)

    def window(self) -> tuple[int, int | Fraction] | None:
        return self._size[0], self._strides[0]

    def _pool_inside(self, x: Tensor) -> Tensor:
        for axis, size in enumerate(self._size):
            if x.shape[2 + axis] < size:
                raise ShapeError(
                    f"{self.title}: the window covers {size} positions, the input has {x.shape[2 + axis]}",
                    got=shape_of(channels_last(x)),
                    expected=f"at least {size} along every spatial axis",
                    do='use padding="same", a smaller pool_size, or fewer pooling layers before it',
                )
        return type(self).pool(x, self._size, self._strides)

    def _pool_same(self, x: Tensor) -> Tensor:
        found = [pool_padding(*along) for along in zip(x.shape[2:], self._size, self._strides, strict=True)]
        y = type(self).pool(x, self._size, self._strides, tuple(p for p, _ in found), *self.past_the_end)
        for axis, (_, drop) in enumerate(found):
            if drop:
                y = y.narrow(2 + axis, drop, y.shape[2 + axis] - drop)
        return y


class PoolingOverTime(Pooling):
    """What the poolings of sequences share: steps that a mask leaves out neither win nor count."""

    axes = 1
    rank = 3

    def compute_mask(self, inputs: Any, mask: Tensor | None) -> Tensor | None:
        """The mask of the windows."""
        return None if mask is None else window_mask(mask, self._size[0], self._strides[0], self.padding)


class MaxPooling1D(PoolingOverTime):
    """The largest value of each window of time: (B, T, C) -> (B, T', C).

    Of the steps that a mask leaves in; 0 where a window has none. Which outputs are real, ``window_mask`` says.

    >>> MaxPooling1D(2)(torch.tensor([[[1.0], [3.0], [2.0], [0.0]]])).flatten()
    tensor([3., 2.])
    """

    pool = staticmethod(torch.max_pool1d)
    past_the_end = (1, True)  # dilation, ceil_mode

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return super().forward(x)
        y = super().forward(blank(x, mask, torch.finfo(x.dtype).min))
        return y.masked_fill(y == torch.finfo(x.dtype).min, 0.0)


class MaxPooling2D(Pooling):
    """The largest value of each window of an image: (B, H, W, C) -> (B, H', W', C).

    >>> MaxPooling2D((2, 2))(torch.zeros(2, 28, 28, 8)).shape
    torch.Size([2, 14, 14, 8])
    """

    axes = 2
    rank = 4
    pool = staticmethod(torch.max_pool2d)
    past_the_end = (1, True)


class MaxPooling3D(Pooling):
    """The largest value of each window of a volume: (B, D, H, W, C) -> (B, D', H', W', C).

    >>> MaxPooling3D(2)(torch.zeros(2, 4, 6, 8, 3)).shape
    torch.Size([2, 2, 3, 4, 3])
    """

    axes = 3
    rank = 5
    pool = staticmethod(torch.max_pool3d)
    past_the_end = (1, True)


class AveragePooling1D(PoolingOverTime):
    """The mean of each window of time: (B, T, C) -> (B, T', C); padding does not count.

    Neither do steps that a mask leaves out; a window of nothing else gives 0.

    >>> AveragePooling1D(2, padding="same")(torch.tensor([[[1.0], [3.0], [5.0]]])).flatten()
    tensor([2., 5.])
    """

    pool = staticmethod(torch.avg_pool1d)
    past_the_end = (True, False)  # ceil_mode, count_include_pad

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return super().forward(x)
        share = super().forward(mask.to(x.dtype).unsqueeze(-1))  # (B, T, 1) -> (B, T', 1): how many of each window
        return super().forward(blank(x, mask)) / share.masked_fill(share == 0, 1.0)


class AveragePooling2D(Pooling):
    """The mean of each window of an image: (B, H, W, C) -> (B, H', W', C); padding does not count.

    >>> AveragePooling2D(2)(torch.zeros(2, 28, 28, 8)).shape
    torch.Size([2, 14, 14, 8])
    """

    axes = 2
    rank = 4
    pool = staticmethod(F.avg_pool2d)
    past_the_end = (True, False)


class AveragePooling3D(Pooling):
    """The mean of each window of a volume: (B, D, H, W, C) -> (B, D', H', W', C); padding does not count.

    >>> AveragePooling3D(2)(torch.zeros(2, 4, 6, 8, 3)).shape
    torch.Size([2, 2, 3, 4, 3])
    """

    axes = 3
    rank = 5
    pool = staticmethod(average_volumes)
    past_the_end = (True, False)


class GlobalPooling(Layer):
    """What the global pooling layers share."""

    axes: ClassVar[int]

    def __init__(self, *, keepdims: bool = False, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.keepdims = keepdims
        self._spatial = tuple(range(1, 1 + self.axes))

    def window(self) -> tuple[int, int | Fraction] | None:
        return None


class GlobalMax(GlobalPooling):
    """The largest value of each channel; of equal values, one takes the gradient, as in ``MaxPooling``."""

    pool: ClassVar[Callable[..., tuple[Tensor, Tensor]]]

    def forward(self, x: Tensor) -> Tensor:
        # amax would do; its backward, which shares the gradient between equal values, takes four times as long
        y = type(self).pool(channels_first(x), (1,) * self.axes)[0]  # (B, S…, C) -> (B, C, 1…)
        return channels_last(y) if self.keepdims else y.flatten(1)


class GlobalAverage(GlobalPooling):
    """The mean of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self._spatial, self.keepdims)  # (B, S…, C) -> (B, C) or (B, 1…, C)


class GlobalMaxPooling1D(GlobalMax):
    """The largest value of each channel over time: (B, T, C) -> (B, C).

    Of the steps that a mask leaves in; a sequence without any gives zeros.

    >>> GlobalMaxPooling1D()(torch.tensor([[[1.0], [3.0], [2.0]]]))
    tensor([[3.]])
    """

    axes = 1
    rank = 3
    pool = staticmethod(torch.adaptive_max_pool1d)

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if x.shape[1] == 0:
            return x.sum(1, self.keepdims)  # of nothing: zeros
        if mask is None:
            return super().forward(x)
        y = super().forward(blank(x, mask, torch.finfo(x.dtype).min))
        return blank(y, mask.any(1))


class GlobalMaxPooling2D(GlobalMax):
    """The largest value of each channel of an image: (B, H, W, C) -> (B, C).

    >>> GlobalMaxPooling2D(keepdims=True)(torch.zeros(2, 7, 7, 8)).shape
    torch.Size([2, 1, 1, 8])
    """

    axes = 2
    rank = 4
    pool = staticmethod(torch._C._nn.adaptive_max_pool2d)


class GlobalMaxPooling3D(GlobalMax):
    """The largest value of each channel of a volume: (B, D, H, W, C) -> (B, C).

    >>> GlobalMaxPooling3D()(torch.zeros(2, 3, 4, 5, 8)).shape
    torch.Size([2, 8])
    """

    axes = 3
    rank = 5
    pool = staticmethod(torch._C._nn.adaptive_max_pool3d)


class GlobalAveragePooling1D(GlobalAverage):
    """The mean of each channel over time: (B, T, C) -> (B, C).

    Over the steps that a mask leaves in; a sequence without any gives zeros.

    >>> GlobalAveragePooling1D()(torch.tensor([[[1.0], [3.0], [2.0]]]))
    tensor([[2.]])
    """

    axes = 1
    rank = 3

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        if x.shape[1] == 0:
            return x.sum(1, self.keepdims)  # of nothing: zeros
        if mask is None:
            return super().forward(x)
        count = mask.sum(1).clamp(min=1).to(x.dtype)  # (B,)
        count = count.view(-1, 1, 1) if self.keepdims else count.unsqueeze(1)
        return blank(x, mask).sum(1, self.keepdims) / count


class GlobalAveragePooling2D(GlobalAverage):
    """The mean of each channel of an image: (B, H, W, C) -> (B, C).

    >>> GlobalAveragePooling2D()(torch.zeros(2, 7, 7, 8)).shape
    torch.Size([2, 8])
    """

    axes = 2
    rank = 4


class GlobalAveragePooling3D(GlobalAverage):
    """The mean of each channel of a volume: (B, D, H, W, C) -> (B, C).

    >>> GlobalAveragePooling3D()(torch.zeros(2, 3, 4, 5, 8)).shape
    torch.Size([2, 8])
    """

    axes = 3
    rank = 5
