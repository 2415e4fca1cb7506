"""Dropout, SpatialDropout1D/2D/3D, GaussianDropout, GaussianNoise: noise in training, nothing otherwise.

B batch, S… spatial axes (T | H W | D H W), C channels. All noise comes from torch's generator of the device.
"""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.symbolic import shape_of

_LEVELS = 1 << 16  # what the 16 random bits of one decision tell apart


def drop(x: Tensor, rate: float, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """``x`` with a share ``rate`` of its values zero and the others enlarged to the same mean.

    One decision is made for each position of ``shape`` (which broadcasts to that of ``x``). On a CPU torch draws them
    one by one from 53 random bits each; 16 bits a decision take a fifth of the time. The rate is then a multiple of
    1/65536, and the factor is that rate's own.

    >>> drop(torch.ones(1000), 0.5, (1000,)).unique()
    tensor([0., 2.])
    """
    if x.device.type != "cpu":
        return x * torch.dropout(x.new_ones(shape), rate, True)
    count = math.prod(shape)
    kept = min(max(round((1 - rate) * _LEVELS), 1), _LEVELS - 1)
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(1 << 63), None)  # four decisions in each
    keep = words.view(torch.int16)[:count].view(shape) < kept - _LEVELS // 2
    return x * keep.mul(_LEVELS / kept)


def check_rate(rate: object, kind: str) -> float:
    """The rate, where it is one."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
        raise ConfigError(f"{kind} needs a rate", got=repr(rate), expected="a number from 0 up to, not including, 1")
    return float(rate)


class Dropout(Layer):
    """Zeroes a share ``rate`` of the values and enlarges the others by ``1 / (1 - rate)`` (Srivastava et al. 2014).

    ``noise_shape`` has 1 where one decision holds for a whole axis, and None or the size elsewhere.

    >>> Dropout(0.5).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    supports_masking = True

    def __init__(
        self, rate: float, *, noise_shape: tuple[int | None, ...] | None = None, **options: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**options)
        self.rate = rate
        self.noise_shape = noise_shape
        self._rate = check_rate(rate, type(self).__name__)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self._rate == 0:
            return x
        return drop(x, self._rate, x.shape if self.noise_shape is None else self._decisions(x))

    def _decisions(self, x: Tensor) -> tuple[int, ...]:
        wanted = tuple(self.noise_shape or ())
        if len(wanted) != x.ndim or any(n not in (None, 1, size) for n, size in zip(wanted, x.shape, strict=True)):
            raise ShapeError(
                f"{self.title}: noise_shape does not fit the input",
                got=shape_of(x),
                expected=f"a shape that {wanted} broadcasts to",
            )
        return tuple(size if n is None else n for n, size in zip(wanted, x.shape, strict=True))


class SpatialDropout(Layer):
    """Zeroes whole channels of a sample (Tompson et al. 2015)."""

    supports_masking = True

    def __init__(self, rate: float, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.rate = rate
        self._rate = check_rate(rate, type(self).__name__)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self._rate == 0:
            return x
        return drop(x, self._rate, (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1]))


class SpatialDropout1D(SpatialDropout):
    """Dropout of whole channels of sequences (B, T, C).

    >>> SpatialDropout1D(0.5)(torch.ones(2, 10, 4)).shape
    torch.Size([2, 10, 4])
    """

    rank = 3


class SpatialDropout2D(SpatialDropout):
    """Dropout of whole channels of images (B, H, W, C).

    >>> SpatialDropout2D(0.5)(torch.ones(2, 7, 7, 4)).shape
    torch.Size([2, 7, 7, 4])
    """

    rank = 4


class SpatialDropout3D(SpatialDropout):
    """Dropout of whole channels of volumes (B, D, H, W, C).

    >>> SpatialDropout3D(0.5)(torch.ones(2, 3, 4, 5, 4)).shape
    torch.Size([2, 3, 4, 5, 4])
    """

    rank = 5


class GaussianDropout(Layer):
    """Multiplies by noise of mean 1 and variance ``rate / (1 - rate)``, that of ``Dropout``.

    >>> GaussianDropout(0.5).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    supports_masking = True

    def __init__(self, rate: float, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        self.rate = rate
        rate = check_rate(rate, type(self).__name__)
        self._stddev = math.sqrt(rate / (1 - rate))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self._stddev == 0:
            return x
        return x * torch.randn_like(x).mul_(self._stddev).add_(1.0)


class GaussianNoise(Layer):
    """Adds noise of mean 0 and standard deviation ``stddev``.

    >>> GaussianNoise(0.1).eval()(torch.ones(1, 3))
    tensor([[1., 1., 1.]])
    """

    supports_masking = True

    def __init__(self, stddev: float, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        if isinstance(stddev, bool) or not isinstance(stddev, (int, float)) or not 0 <= stddev < math.inf:
            raise ConfigError("GaussianNoise needs a standard deviation", got=repr(stddev), expected="a number from 0")
        self.stddev = stddev

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.stddev == 0:
            return x
        return torch.add(x, torch.randn_like(x), alpha=self.stddev)
