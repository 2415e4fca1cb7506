"""How far apart the rows of a table are in time, which grid they lie on, and which times come next.

Shapes: N times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corecur.data.series.time_stamps import Times
from corecur.errors import ConfigError
from corecur.names import Table

_SECOND = 1_000_000  # microseconds
# Units of a fixed length, in microseconds, the longest first.
_FIXED = {
    "week": 7 * 86_400 * _SECOND,
    "day": 86_400 * _SECOND,
    "hour": 3_600 * _SECOND,
    "minute": 60 * _SECOND,
    "second": _SECOND,
    "microsecond": 1,
}
# Units of the calendar, in months, the longest first.
_CALENDAR = {"year": 12, "quarter": 3, "month": 1}
UNITS: Table[str] = Table(
    "unit of time",
    {unit: unit for unit in (*_CALENDAR, *_FIXED, "business day", "step")},
    aliases={"H": "hour", "D": "day", "W": "week", "M": "month", "Q": "quarter", "Y": "year", "B": "business day",
             "min": "minute", "T": "minute", "S": "second"},
)  # fmt: skip
_DAY = np.timedelta64(_FIXED["day"], "us")
# A grid that most rows do not follow is none.
_SHARE = 0.5


@dataclass(frozen=True)
class Frequency:
    """So many units of time from row to row; the unit ``step`` is a plain number, ``size`` from row to row.

    ``dataclasses.asdict`` gives its JSON form. Raises ConfigError for an unknown unit.

    >>> str(Frequency("hour")), str(Frequency("minute", 15))
    ('hour', '15 minutes')
    """

    unit: str
    count: int = 1
    size: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", UNITS[self.unit])
        if self.count < 1 or not self.size > 0:
            raise ConfigError("a frequency counts 1 unit or more", got=f"{self.count} × {self.size}")

    def __str__(self) -> str:
        return self.unit if self.count == 1 else f"{self.count} {self.unit}s"


def find_frequency(times: Times) -> Frequency | None:
    """The frequency of rising times (N,), which may have gaps; None where they follow no grid.

    >>> days = np.array(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-06"], dtype="datetime64[us]")
    >>> str(find_frequency(days))
    'day'
    """
    if len(times) < 2:
        return None
    if times.dtype.kind != "M":
        return _number_frequency(times)
    long = bool((np.diff(times) >= np.timedelta64(28, "D")).all())
    return (_calendar_frequency(times) if long else None) or _fixed_frequency(times)


def places_of(times: Times, frequency: Frequency) -> NDArray[np.int64] | None:
    """The place of each time (N,) on the grid that begins with the first; None where one lies off it.

    >>> hours = np.array(["2020-01-01T00", "2020-01-01T03"], dtype="datetime64[us]")
    >>> places_of(hours, Frequency("hour")).tolist()
    [0, 3]
    """
    if frequency.unit == "step":
        exact = (times - times[0]) / (frequency.size * frequency.count)
        places = np.rint(exact)
        return places.astype(np.int64) if bool((np.abs(exact - places) < 0.01 * np.maximum(1, places)).all()) else None
    if frequency.unit == "business day":
        days = times.astype("datetime64[D]")
        counted: NDArray[np.int64] = np.busday_count(days[0], days).astype(np.int64)
        return counted if _on_weekdays(times) else None
    if frequency.unit in _CALENDAR:
        months = _months(times)
        step = _CALENDAR[frequency.unit] * frequency.count
        return (months - months[0]) // step if bool(((months - months[0]) % step == 0).all()) else None
    gaps = (times - times[0]).astype(np.int64)
    step = _FIXED[frequency.unit] * frequency.count
    return gaps // step if bool((gaps % step == 0).all()) else None


def times_at(times: Times, frequency: Frequency, places: NDArray[np.int64]) -> Times:
    """The times at some places (M,) of the grid that ``times`` (N,) lie on, whose first has place 0.

    A day of the month that a month does not have becomes its last.

    >>> times_at(np.array(["2020-01-31"], dtype="datetime64[us]"), Frequency("month"), np.array([0, 1])).tolist()[1].day
    29
    """
    first = times[:1]
    if frequency.unit == "step":
        numbers: Times = first + places * (frequency.size * frequency.count)
        return numbers
    if frequency.unit == "business day":
        days = first.astype("datetime64[D]")
        found: Times = np.busday_offset(days, places, roll="backward").astype("datetime64[us]") + (first - days)
        return found
    if frequency.unit in _CALENDAR:
        months = first.astype("datetime64[M]") + places * (_CALENDAR[frequency.unit] * frequency.count)
        inside = (times - times.astype("datetime64[M]").astype("datetime64[us]")).max()  # from the start of a month
        last = (months + 1).astype("datetime64[us]") - _DAY + inside % _DAY  # on the last day of each month
        always_last = len(times) > 1 and bool(_is_month_end(times).all())
        found = last if always_last else np.minimum(months.astype("datetime64[us]") + inside, last)
        return found.astype("datetime64[us]")
    step = np.timedelta64(_FIXED[frequency.unit] * frequency.count, "us")
    return (first + places * step).astype("datetime64[us]")


def later_times(times: Times, frequency: Frequency, count: int) -> Times:
    """The ``count`` times after the last of ``times`` (N,).

    >>> later_times(np.array(["2020-12"], dtype="datetime64[us]"), Frequency("month"), 1).tolist()[0].year
    2021
    """
    if frequency.unit in _CALENDAR:
        # Counted from the first, so that the 31st stays the 31st where a month has one.
        places = places_of(times, frequency)
        start = len(times) - 1 if places is None else int(places[-1])
        return times_at(times, frequency, np.arange(start + 1, start + count + 1))
    return times_at(times[-1:], frequency, np.arange(1, count + 1))


def _number_frequency(times: Times) -> Frequency | None:
    steps = np.diff(times)
    size = float(np.median(steps))
    frequency = Frequency("step", 1, size) if size > 0 else None
    near = np.abs(steps - size) <= 0.01 * size
    return frequency if frequency and near.mean() >= _SHARE and places_of(times, frequency) is not None else None


def _fixed_frequency(times: Times) -> Frequency | None:
    steps = np.diff(times).astype(np.int64)
    sizes, often = np.unique(steps, return_counts=True)
    step = int(sizes[often.argmax()])
    if step == _FIXED["day"] and _on_weekdays(times) and int((steps == 3 * step).sum()) > 1:
        return Frequency("business day")
    if often.max() < _SHARE * len(steps) or (steps % step != 0).any():
        return None
    unit = next(unit for unit, size in _FIXED.items() if step % size == 0)
    return Frequency(unit, step // _FIXED[unit])


def _calendar_frequency(times: Times) -> Frequency | None:
    """Months, quarters or years between times that stand at one place of their months, or at the end of them."""
    days = (times.astype("datetime64[D]") - times.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    ends = _is_month_end(times)
    if not ((days == days.max()) | ends).all():
        return None
    steps = np.diff(_months(times))
    sizes, often = np.unique(steps, return_counts=True)
    step = int(sizes[often.argmax()])
    if step < 1 or often.max() < _SHARE * len(steps) or (steps % step != 0).any():
        return None
    unit = next(unit for unit, size in _CALENDAR.items() if step % size == 0)
    return Frequency(unit, step // _CALENDAR[unit])


def _months(times: Times) -> NDArray[np.int64]:
    months: NDArray[np.int64] = times.astype("datetime64[M]").astype(np.int64)
    return months


def _is_month_end(times: Times) -> NDArray[np.bool_]:
    days = times.astype("datetime64[D]")
    ends: NDArray[np.bool_] = (days + np.timedelta64(1, "D")).astype("datetime64[M]") != days.astype("datetime64[M]")
    return ends


def _on_weekdays(times: Times) -> bool:
    days = times.astype("datetime64[D]")
    return bool(np.is_busday(days).all()) and bool((times - days == times[0] - days[0]).all())
