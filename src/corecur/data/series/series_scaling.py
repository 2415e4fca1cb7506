"""Series to network inputs: mean 0 and standard deviation 1, channel by channel or series by series.

Shapes: N samples, B batch, T time, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from corecur.data.series.series_set import SeriesSet
from corecur.errors import ConfigError, DataError, ShapeError

#: By channel over the training data, by series and channel over its own steps, or not at all.
ScalingKind = Literal["channel", "series", "none"]

# What float32 can hold: series beyond are none that a network was trained on.
_LARGEST, _SMALLEST_STD = torch.finfo(torch.float32).max, torch.finfo(torch.float32).tiny


class SeriesScaling(BaseModel):
    """``(x - mean) / std``; a channel, or a series, that never changes becomes 0.

    ``mean`` and ``std`` (C) are those of the training data for the kind ``channel``; for ``series`` each series has its
    own, over its real steps, and they stay empty. ``model_dump`` gives the JSON form. Padded steps become 0.

    >>> scaling = SeriesScaling(kind="channel", mean=(2.0,), std=(4.0,))
    >>> scaling(torch.tensor([[[6.0], [2.0]]])).flatten()
    tensor([1., 0.])
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: ScalingKind = "channel"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> SeriesScaling:
        right = len(self.mean) == len(self.std) and (len(self.mean) > 0) == (self.kind == "channel")
        within = all(abs(value) <= _LARGEST for value in self.mean + self.std)
        if not right or not within or any(value < _SMALLEST_STD for value in self.std):
            raise ConfigError(
                "this is no scaling of series",
                got=f"kind {self.kind!r}, mean {self.mean}, std {self.std}",
                expected="a mean and a positive std for every channel where the kind is 'channel', else none",
            )
        return self

    def __call__(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scaled values of the shape and dtype given: (B, T, C) with mask (B, T) or None, or (T, C) by channel.

        Raises ShapeError for another number of channels.
        """
        if self.kind == "channel":
            mean, std = self._moments(values)
            scaled = ((values.double() - mean) / std).to(values.dtype)
        elif self.kind == "series":
            mean, std = series_moments(values, mask)  # (B, 1, C)
            scaled = ((values.double() - mean) / std).to(values.dtype)
        else:
            scaled = values
        return scaled if mask is None else scaled.masked_fill(~mask[..., None], 0.0)

    def inverse(self, scaled: Tensor, channels: Sequence[int] | None = None) -> Tensor:
        """The values that were scaled by channel, (…, C) or, of some ``channels``, (…, their number).

        >>> SeriesScaling(mean=(2.0, 0.0), std=(4.0, 1.0)).inverse(torch.tensor([[1.0]]), [0])
        tensor([[6.]])
        """
        if self.kind == "none":
            return scaled
        mean, std = self._moments(scaled, channels)
        return (scaled.double() * std + mean).to(scaled.dtype)

    def _moments(self, values: Tensor, channels: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        if self.kind != "channel":
            raise ConfigError("only a scaling by channel knows what was scaled", got=self.kind)
        places = range(len(self.mean)) if channels is None else channels
        if values.shape[-1] != len(places):
            raise ShapeError("the series have the wrong number of channels", got=values.shape[-1], expected=len(places))
        mean, std = ([numbers[place] for place in places] for numbers in (self.mean, self.std))
        return values.new_tensor(mean, dtype=torch.float64), values.new_tensor(std, dtype=torch.float64)


def fit_scaling(series: SeriesSet, kind: ScalingKind = "channel") -> SeriesScaling:
    """The scaling of training series: by channel over all their real steps, population standard deviation.

    Raises DataError where there is no step.

    >>> fit_scaling(SeriesSet(torch.tensor([[[1.0], [3.0]]]), None, None, ("a",)))
    SeriesScaling(kind='channel', mean=(2.0,), std=(1.0,))
    """
    if kind != "channel":
        return SeriesScaling(kind=kind)
    real = series.values.flatten(0, 1) if series.mask is None else series.values[series.mask]  # (steps, C)
    return fit_table_scaling(real)


def fit_table_scaling(values: Tensor) -> SeriesScaling:
    """The scaling of rows (T, C), those of the training part alone, column by column.

    >>> fit_table_scaling(torch.tensor([[5.0, 1.0], [5.0, 3.0]]))
    SeriesScaling(kind='channel', mean=(5.0, 2.0), std=(1.0, 1.0))
    """
    if values.dim() != 2 or len(values) == 0:
        raise DataError("there is no row to fit the scaling to", got=f"shape {tuple(values.shape)}")
    mean, std = _moments(values.double(), torch.full_like(values[:, :1], 1.0, dtype=torch.float64), 0, values.dtype)
    return SeriesScaling(mean=tuple(mean[0].tolist()), std=tuple(std[0].tolist()))


def series_moments(values: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each series and channel over its real steps: (B, T, C) -> two (B, 1, C) float64.

    Where a channel never changes its deviation is given as 1, and where no step is real so is its mean as 0.

    >>> mean, std = series_moments(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([[True, True, False]]))
    >>> mean.item(), std.item()
    (2.0, 1.0)
    """
    if mask is None:
        real = torch.ones_like(values[..., :1], dtype=torch.float64)
    else:
        real = mask[..., None].double()  # (B, T, 1)
        values = values.masked_fill(~mask[..., None], 0.0)
    return _moments(values.double(), real, 1, values.dtype)


def _moments(values: Tensor, real: Tensor, axis: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and deviation along ``axis`` of the values where ``real`` is 1, in two passes, so that nothing cancels."""
    count = real.sum(axis, keepdim=True).clamp(min=1)
    mean = (values * real).sum(axis, keepdim=True) / count
    apart = (values - mean) * real
    std = (apart.square().sum(axis, keepdim=True) / count).sqrt()
    # What a rounding of equal values leaves is no spread.
    noise = 4 * torch.finfo(dtype if dtype.is_floating_point else torch.float32).eps * mean.abs()
    return mean, torch.where(std <= noise, torch.ones_like(std), std)
