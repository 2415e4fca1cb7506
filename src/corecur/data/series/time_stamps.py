"""Written times as points in time: ISO dates, other orders of day and month, months, quarters, years, epoch numbers.

A time zone is turned into UTC. Points in time are datetime64[us]; plain numbers stay numbers.

Shapes: N times.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corecur.errors import DataError

#: (N,) datetime64[us], or float64 where times are plain numbers.
Times: TypeAlias = NDArray[Any]

TIME_COLUMNS = (
    "timestamp", "datetime", "date_time", "date time", "date", "ds", "time", "day", "month", "week", "quarter",
    "period", "year", "t", "utc", "日期", "时间",
)  # fmt: skip

_CLOCK = (
    r"(?:[T ,]\s*(?P<hour>\d{1,2})(?:[:.](?P<minute>\d\d)(?:[:.](?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?)?"
    r"\s*(?P<half>[AaPp][Mm])?\s*(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?)?"
)
_YEAR, _MONTH, _DAY = r"(?P<year>\d{4})", r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})"
_WORD, _SHORT = r"(?P<word>[A-Za-z]{3,9})\.?", r"(?P<year>\d{4}|\d\d)"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Format:
    """One way to write a time: its name, and the pattern that takes it apart."""

    name: str
    pattern: re.Pattern[str]


def _format(name: str, pattern: str) -> Format:
    return Format(name, re.compile(pattern))


# The first format that fits every cell is the format of the column. With points between them the day comes first.
FORMATS = (
    _format("year-month-day", rf"{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}{_CLOCK}"),
    _format("year-month", rf"{_YEAR}[-/M]{_MONTH}"),
    _format("year-quarter", rf"{_YEAR}[- ]?Q(?P<quarter>[1-4])"),
    _format("month/day/year", rf"{_MONTH}[-/]{_DAY}[-/]{_SHORT}{_CLOCK}"),
    _format("day/month/year", rf"{_DAY}[-/.]{_MONTH}[-/.]{_SHORT}{_CLOCK}"),
    _format("month/year", rf"{_MONTH}/{_YEAR}"),
    _format("day month year", rf"{_DAY}[- ]{_WORD}[- ,]+{_SHORT}{_CLOCK}"),
    _format("month day, year", rf"{_WORD}[- ]{_DAY},?\s+{_YEAR}{_CLOCK}"),
    _format("month year", rf"{_WORD}[- ]{_SHORT}"),
    _format("year month", rf"{_YEAR}[- ]{_WORD}"),
    _format("year month day", rf"{_YEAR}年{_MONTH}月(?:{_DAY}日)?{_CLOCK}"),
)
_COMPACT = re.compile(rf"{_YEAR}(?P<month>\d\d)(?P<day>\d\d)")
_MONTH_FIRST, _DAY_FIRST = FORMATS[3], FORMATS[4]
_UNITS = (("s", 1e8, 1e11), ("ms", 1e11, 1e14), ("us", 1e14, 1e17), ("ns", 1e17, 1e20))


def could_be_time(cell: str) -> bool:
    """Whether a cell is written as a time, and not as a mere number.

    >>> could_be_time("1949-01"), could_be_time("2016-07-01 00:00:00"), could_be_time("1949"), could_be_time("cat")
    (True, True, False, False)
    """
    return any(_point(format_, cell) is not None for format_ in FORMATS)


def are_times(cells: Sequence[str]) -> bool:
    """Whether every cell is written as a time, in one format.

    >>> are_times(["1949-01", "1949-02"]), are_times(["1949-01", "cat"])
    (True, False)
    """
    return len(cells) > 0 and any(all(_point(format_, cell) is not None for cell in cells) for format_ in FORMATS)


def parse_times(cells: Sequence[str], rows: Sequence[int], *, name: str, where: object) -> Times:
    """The times of a column: (N,) datetime64[us], or float64 where they are numbers that stand for no date.

    Numbers of four digits are years, of eight YYYYMMDD, and large ones seconds, milli-, micro- or nanoseconds since
    1970. Raises DataError for a cell that is no time, for a missing one, and where day and month cannot be told apart.

    >>> parse_times(["1949-01", "1949-02"], [2, 3], name="Date", where="a.csv").astype("datetime64[D]").tolist()
    [datetime.date(1949, 1, 1), datetime.date(1949, 2, 1)]
    """
    text = [str(cell).strip() for cell in cells]
    try:
        return _numbers_as_times(text, np.array(text, dtype=np.float64), rows, name, where)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
    candidates: dict[str, list[datetime]] = {}
    for format_ in (one for one in FORMATS if _point(one, text[0]) is not None):
        points = [_point(format_, cell) for cell in text]
        if all(point is not None for point in points):
            candidates[format_.name] = [point for point in points if point is not None]
    if not candidates:
        raise _no_time(text, rows, name, where)
    names = list(candidates)
    if names[:2] == [_MONTH_FIRST.name, _DAY_FIRST.name] and candidates[names[0]] != candidates[names[1]]:
        names = [_told_apart(candidates, text, name, where)]
    return np.array(candidates[names[0]], dtype="datetime64[us]")


def numbers_as_times(numbers: NDArray[np.float64]) -> Times:
    """Numbers as points in time where their size says so: years, YYYYMMDD, epochs; otherwise the numbers.

    >>> numbers_as_times(np.array([0.0, 3600.0]) + 1.5e9).tolist()
    [datetime.datetime(2017, 7, 14, 2, 40), datetime.datetime(2017, 7, 14, 3, 40)]
    """
    whole = bool((numbers == np.floor(numbers)).all())
    low, high = float(numbers.min()), float(numbers.max())
    if whole and low >= 1500 and high <= 2200:
        return (numbers.astype(np.int64) - 1970).astype("datetime64[Y]").astype("datetime64[us]")
    if whole and low >= 15_000_101 and high <= 22_001_231:
        points = [_built(match) for match in (_COMPACT.fullmatch(str(int(number))) for number in numbers) if match]
        if len(points) == len(numbers) and None not in points:
            return np.array(points, dtype="datetime64[us]")
    for unit, least, most in _UNITS:
        if least <= low and high < most:
            scale = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}[unit]
            return np.rint(numbers * scale).astype(np.int64).astype("datetime64[us]")
    return numbers


def _numbers_as_times(
    text: Sequence[str], numbers: NDArray[np.float64], rows: Sequence[int], name: str, where: object
) -> Times:
    if not np.isfinite(numbers).all():
        raise _no_time(text, rows, name, where, place=int(np.argmax(~np.isfinite(numbers))))
    return numbers_as_times(numbers)


def _no_time(text: Sequence[str], rows: Sequence[int], name: str, where: object, place: int | None = None) -> DataError:
    """The error for a column of times: it names the first cell that the most fitting format does not fit."""
    if place is None:
        best = max(FORMATS, key=lambda format_: sum(_point(format_, cell) is not None for cell in text))
        place = next(i for i, cell in enumerate(text) if _point(best, cell) is None)
    return DataError(
        f"a cell of the time column {name!r} is no time, or not written as the others are",
        where=f"{where}, row {rows[place]}",
        got=repr(text[place][:40]) if text[place] else "an empty cell",
        expected="dates such as 2024-05-31, 2024-05-31 18:00:00 or 2024-05, or numbers",
        do="mend the cell, remove the row, or name another column (time=…, or --time-column)",
    )


def _told_apart(candidates: dict[str, list[datetime]], text: Sequence[str], name: str, where: object) -> str:
    """Which of day and month comes first: the order in which more of the times rise."""
    rising = {
        order: sum(after > before for before, after in zip(points, points[1:], strict=False))
        for order, points in candidates.items()
        if order in (_MONTH_FIRST.name, _DAY_FIRST.name)
    }
    if len(set(rising.values())) == 1:
        raise DataError(
            "day and month cannot be told apart",
            where=f"{where}, column {name!r}",
            got=repr(text[0]),
            do="write dates as 2024-05-31",
        )
    return max(rising, key=lambda order: rising[order])


def _point(format_: Format, cell: str) -> datetime | None:
    match = format_.pattern.fullmatch(cell)
    return None if match is None else _built(match)


def _built(match: re.Match[str]) -> datetime | None:
    """The point in time that a match describes, or None where there is no such day or hour."""
    parts = match.groupdict()
    year, month = int(parts["year"]), int(parts.get("month") or 1)
    if year < 100:
        year += 1900 if year >= 70 else 2000
    if parts.get("word"):
        if parts["word"][:3].casefold() not in _MONTHS:
            return None
        month = _MONTHS.index(parts["word"][:3].casefold()) + 1
    if parts.get("quarter"):
        month = 3 * int(parts["quarter"]) - 2
    hour = int(parts.get("hour") or 0)
    if parts.get("half"):
        hour = hour % 12 + (12 if parts["half"].casefold() == "pm" else 0)
    fraction = int((parts.get("fraction") or "0").ljust(6, "0")[:6])
    clock = (hour, int(parts.get("minute") or 0), int(parts.get("second") or 0), fraction)
    try:
        point = datetime(year, month, int(parts.get("day") or 1), *clock)
    except ValueError:
        return None
    return _utc(point, parts.get("zone"))


def _utc(point: datetime, zone: str | None) -> datetime:
    if zone in (None, "Z", "UTC"):
        return point
    digits = zone.replace(":", "")
    offset = timedelta(hours=int(digits[1:3]), minutes=int(digits[3:5]))
    aware = point.replace(tzinfo=timezone(offset if digits[0] == "+" else -offset))
    return aware.astimezone(UTC).replace(tzinfo=None)
