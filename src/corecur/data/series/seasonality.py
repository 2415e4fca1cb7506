"""After how many rows a season repeats: by the calendar where there is one, else by what the values show.

Shapes: T time, C columns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from corecur.data.series.frequency import Frequency

# How many of each unit make a season, the shortest season first: a day, a week, a year.
_SEASONS = {
    "second": (60, 3600, 86400),
    "minute": (60, 1440, 10080),
    "hour": (24, 168),
    "day": (7, 365),
    "business day": (5, 260),
    "week": (52,),
    "month": (12,),
    "quarter": (4,),
}
# The least correlation of a season with itself that is called one, the part of the highest that is as good (a season
# also returns after two and three of them), and the fewest seasons that show it.
_LEAST, _NEAR, _TURNS = 0.3, 0.8, 2


def seasonal_period(frequency: Frequency | None, values: Tensor | None = None) -> int:
    """Rows from season to season: 24 for hours, 7 for days, 12 for months, 4 for quarters, 52 for weeks; 1 for none.

    Where the calendar gives none, it is the lag at which ``values`` (T,) or (T, C), without their line, resemble
    themselves most.

    >>> wave = torch.sin(torch.arange(100) * 2 * torch.pi / 9)
    >>> seasonal_period(Frequency("hour")), seasonal_period(Frequency("minute", 15)), seasonal_period(None, wave)
    (24, 96, 9)
    """
    if frequency is not None and frequency.unit in _SEASONS:
        seasons = _SEASONS[frequency.unit]
        if frequency.unit == "minute":
            seasons = seasons[1:] if frequency.count > 1 else seasons[1:2]
        whole = [season // frequency.count for season in seasons if season % frequency.count == 0]
        return next((period for period in whole if period > 1), 1)
    return 1 if values is None else period_of(values)


def period_of(values: Tensor) -> int:
    """The lag with the highest autocorrelation of detrended values (T,) or (T, C), 1 where none is above 0.3.

    >>> period_of(torch.arange(50.0))
    1
    """
    table = (values[:, None] if values.dim() == 1 else values).double()  # (T, C)
    rows = len(table)
    if rows < 2 * _TURNS:
        return 1
    correlation = _autocorrelation(_without_line(table))  # (T // 2 + 1,)
    inner = correlation[1:-1]
    # A season is a peak, so that slow drift, which falls from lag 0 on, is none; the first of equals is the season.
    peaks = (inner > correlation[:-2]) & (inner >= correlation[2:])
    peaks &= torch.arange(1, len(inner) + 1) >= 2
    if not bool(peaks.any()):
        return 1
    highest = float(inner[peaks].max())
    if not highest > _LEAST:
        return 1
    near = peaks & (inner >= _NEAR * highest)
    return int(near.nonzero()[0]) + 1


def _without_line(table: Tensor) -> Tensor:
    """Each column without its least-squares line: (T, C)."""
    steps = torch.arange(len(table), dtype=torch.float64)[:, None]
    steps = steps - steps.mean()
    centred = table - table.mean(0)
    return centred - steps * (steps * centred).sum(0) / steps.square().sum()


def _autocorrelation(table: Tensor) -> Tensor:
    """Mean over the columns of the correlation at each lag up to half the rows: (T, C) -> (T // 2 + 1,)."""
    rows = len(table)
    size = 2 ** math.ceil(math.log2(2 * rows))
    power = torch.fft.rfft(table, n=size, dim=0).abs().square()
    raw = torch.fft.irfft(power, n=size, dim=0)[: rows // _TURNS + 1]  # (T // 2 + 1, C)
    spread = raw[:1]
    lags = torch.arange(len(raw), dtype=torch.float64)[:, None]
    # A longer lag has fewer pairs, which is no less likeness.
    scaled = raw * rows / (rows - lags)
    noise = torch.finfo(torch.float64).eps * rows * table.abs().amax(0).square()
    return torch.where(spread > noise, scaled / spread.clamp(min=1e-300), torch.zeros_like(raw)).mean(1)
