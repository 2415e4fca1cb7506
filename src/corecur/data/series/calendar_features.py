"""Where in the day, the week and the year a row is, as numbers a network can use: known for the future too.

Shapes: T time, F features.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.data.series.frequency import Frequency
from corecur.data.series.time_stamps import Times
from corecur.errors import ConfigError
from corecur.names import Table

_DAY, _HOUR = np.timedelta64(1, "D"), np.timedelta64(1, "h")


def _hour(times: Times) -> NDArray[np.float64]:
    turn: NDArray[np.float64] = (times - times.astype("datetime64[D]")) / _DAY
    return turn


def _weekday(times: Times) -> NDArray[np.float64]:
    # 1970-01-01 was a Thursday; 0 is Monday.
    days: NDArray[np.int64] = (times.astype("datetime64[D]").astype(np.int64) + 3) % 7
    return days / 7


def _month(times: Times) -> NDArray[np.float64]:
    months: NDArray[np.int64] = times.astype("datetime64[M]").astype(np.int64) % 12
    return months / 12


def _day_of_year(times: Times) -> NDArray[np.float64]:
    days: NDArray[np.int64] = (
        times.astype("datetime64[D]") - times.astype("datetime64[Y]").astype("datetime64[D]")
    ).astype(np.int64)
    return days / 365.25


def _minute(times: Times) -> NDArray[np.float64]:
    turn: NDArray[np.float64] = (times - times.astype("datetime64[h]")) / _HOUR
    return turn


# Each position in a cycle, as a part of a turn.
CYCLES: Table[Callable[[Times], NDArray[np.float64]]] = Table(
    "calendar feature",
    {"minute": _minute, "hour": _hour, "weekday": _weekday, "month": _month, "day_of_year": _day_of_year},
)
# The cycles that change from row to row and repeat, by the unit of the frequency.
_USUAL = {
    "microsecond": ("minute", "hour", "weekday"),
    "second": ("minute", "hour", "weekday"),
    "minute": ("minute", "hour", "weekday", "day_of_year"),
    "hour": ("hour", "weekday", "day_of_year"),
    "day": ("weekday", "day_of_year"),
    "business day": ("weekday", "day_of_year"),
    "week": ("day_of_year",),
    "month": ("month",),
    "quarter": ("month",),
}


def usual_cycles(frequency: Frequency | None) -> tuple[str, ...]:
    """The calendar features that say something at a frequency; none for years, plain numbers and irregular times.

    >>> usual_cycles(Frequency("hour")), usual_cycles(Frequency("month"))
    (('hour', 'weekday', 'day_of_year'), ('month',))
    """
    return () if frequency is None else _USUAL.get(frequency.unit, ())


def calendar_features(times: Times, cycles: tuple[str, ...]) -> Tensor:
    """Sine and cosine of where each time (T,) is in each cycle: (T, 2 · cycles) float32.

    A day begins with midnight, a week with Monday, a year with January. Raises ConfigError for an unknown cycle, and
    for times that are plain numbers.

    >>> noon = np.array(["2024-01-01T12"], dtype="datetime64[us]")
    >>> calendar_features(noon, ("hour",)).round().tolist()
    [[0.0, -1.0]]
    """
    if times.dtype.kind != "M" and cycles:
        raise ConfigError("calendar features need dates", got="times that are plain numbers")
    columns = [torch.empty(len(times), 0)]
    for cycle in cycles:
        turn = torch.from_numpy(2 * np.pi * CYCLES[cycle](times))  # (T,) float64
        columns.append(torch.stack([turn.sin(), turn.cos()], dim=1).float())  # (T, 2)
    return torch.cat(columns, dim=1)
