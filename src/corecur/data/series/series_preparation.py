"""How any series becomes a sample: its channels, its gaps filled, padded on the right to the longest of its batch.

Shapes: N series, T time, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from corecur.data.memory import available_memory
from corecur.data.series.gaps import fill_linear
from corecur.data.series.recordings import Recording
from corecur.errors import DataError

_LARGEST = float(np.finfo(np.float32).max)


class SeriesPreparation(BaseModel):
    """The names of a model's channels and their training means, which stand for a channel that is wholly missing.

    ``model_dump`` gives its JSON form. A missing value becomes the line between the real values around it, at the ends
    the nearest real value.

    >>> preparation = SeriesPreparation(channels=("x",), means=(0.0,))
    >>> values, mask = preparation.padded([np.array([[1.0], [np.nan], [3.0]]), np.array([[5.0]])])
    >>> values[..., 0].tolist(), mask.tolist()
    ([[1.0, 2.0, 3.0], [5.0, 0.0, 0.0]], [[True, True, True], [True, False, False]])
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    channels: tuple[str, ...]
    means: tuple[float, ...]

    def objection(self, series: Recording) -> str | None:
        """Why a series (T, C) cannot be used, or None."""
        if series.shape[1] != len(self.channels):
            return f"{count(series.shape[1], 'channel')}, not {len(self.channels)}"
        return objection(series)

    def padded(self, series: Sequence[Recording]) -> tuple[Tensor, Tensor | None]:
        """Series without objection as values (N, T, C) float32 and a mask (N, T), None where all have one length.

        Raises DataError where they do not fit in memory together.
        """
        means = np.array(self.means, dtype=np.float64)
        lengths = np.array([len(one) for one in series], dtype=np.int64)  # (N,)
        longest = int(lengths.max(initial=0))
        _refuse_too_large(len(series), longest, len(self.channels))
        values = np.zeros((len(series), longest, len(self.channels)), dtype=np.float32)  # (N, T, C)
        for row, one in enumerate(series):
            values[row, : len(one)] = fill_linear(one, means)
        if (lengths == longest).all():
            return torch.from_numpy(values), None
        mask = np.arange(longest) < lengths[:, None]  # (N, T)
        return torch.from_numpy(values), torch.from_numpy(mask)


def fit_preparation(series: Sequence[Recording], channels: Sequence[str]) -> SeriesPreparation:
    """The preparation of a model that learns from ``series``: every channel's mean over their real values.

    >>> fit_preparation([np.array([[1.0], [np.nan], [3.0]])], ["x"]).means
    (2.0,)
    """
    total, real = np.zeros(len(channels)), np.zeros(len(channels), dtype=np.int64)
    for one in series:
        total += np.nansum(one, axis=0)
        real += (~np.isnan(one)).sum(0)
    return SeriesPreparation(channels=tuple(channels), means=tuple((total / real.clip(1)).tolist()))


def objection(series: NDArray[np.float64]) -> str | None:
    """Why a series (T, C) of any channels cannot be used, or None.

    >>> objection(np.array([[1.0], [np.inf]]))
    'step 2 is infinite'
    """
    if len(series) == 0:
        return "it is empty"
    missing = np.isnan(series)
    if missing.all():
        return "every value is missing"
    wrong = np.argwhere(~missing & ~(np.abs(series) <= _LARGEST))
    if len(wrong):
        step, channel = wrong[0].tolist()
        number = series[step, channel]
        what = "is infinite" if math.isinf(number) else f"is too large ({number:g})"
        return f"step {step + 1}{f' of channel {channel + 1}' if series.shape[1] > 1 else ''} {what}"
    return None


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "channel"), count(1200, "channel")
    ('1 channel', '1,200 channels')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _refuse_too_large(samples: int, longest: int, channels: int) -> None:
    size, room = samples * longest * channels * 4, available_memory()
    if size > 0.8 * room:
        raise DataError(
            "the series, padded to the longest of them, do not fit in memory",
            got=f"{samples:,} series of up to {longest:,} steps: {size / 2**30:,.1f} GiB",
            expected=f"at most {0.8 * room / 2**30:,.1f} GiB",
            do="cut the longest series, or keep every second or tenth step",
        )
