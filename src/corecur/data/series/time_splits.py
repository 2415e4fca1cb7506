"""Training, validation and test parts of a table: one after the other in time, so that nothing is known too early.

Shapes: T time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

import numpy as np

from corecur.data.series.time_stamps import could_be_time, parse_times
from corecur.data.series.time_table import TimeTable
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding, remark

#: How long a part is: a share of the rows (0.2), a number of rows (2880), or the date it begins with ("2017-07-01").
Part: TypeAlias = float | int | str | date | np.datetime64 | None


@dataclass(frozen=True)
class TimeSplits:
    """The rows whose values are forecast in each part, one part after the other; None where there is no such part.

    A window of validation or test may look back into the rows before its part; what it forecasts lies inside. ``notes``
    tells what of the table is not used.

    >>> TimeSplits(range(0, 7), range(7, 8), range(8, 10)).test
    range(8, 10)
    """

    train: range
    validation: range | None
    test: range | None
    notes: tuple[Finding, ...] = ()


def split_in_time(
    table: TimeTable, *, validation: Part = 0.1, test: Part = 0.2, train: int | None = None
) -> TimeSplits:
    """Cut a table in time: training rows, then validation rows, then test rows.

    A part is a share of all rows, a number of rows, the date of its first row, or None (or 0) for none. ``train`` rows
    from the start fixes the training part, and what follows the test part is not used: the usual 12, 4 and 4 months of
    ETT's hours are ``train=8640, validation=2880, test=2880``. Raises ConfigError for shares and dates that make no
    sense, DataError where the table is too short for them.

    >>> import torch
    >>> table = TimeTable(torch.zeros(17420, 1), None, ("x",), ("x",))
    >>> splits = split_in_time(table, train=8640, validation=2880, test=2880)
    >>> splits.train, splits.validation, splits.test
    (range(0, 8640), range(8640, 11520), range(11520, 14400))
    """
    rows = len(table)
    if train is not None:
        held = [_count(table, part, name) for name, part in (("validation", validation), ("test", test))]
        first, second = train, train + held[0]
        end = second + held[1]
    else:
        end = rows
        second = _start(table, test, "test", end)
        first = _start(table, validation, "validation", second)
    if not 0 < first <= second <= end <= rows:
        raise DataError(
            "the table is too short for these parts",
            where=table.title,
            got=f"{rows:,} rows",
            expected=f"training {max(first, 0):,}, validation {second - first:,}, test {end - second:,} rows",
            do="give smaller parts, or a longer table",
        )
    notes = (
        (remark(f"The last {rows - end:,} rows, from {table.time_of(end)} on, are not used."),) if end < rows else ()
    )
    return TimeSplits(
        range(first),
        range(first, second) if second > first else None,
        range(second, end) if end > second else None,
        notes,
    )


def _start(table: TimeTable, part: Part, name: str, end: int) -> int:
    """The first row of a part that ends before row ``end``."""
    when = _as_date(part, name)
    if when is None:
        return end - _count(table, part, name)
    if table.times is None or table.times.dtype.kind != "M":
        raise ConfigError(
            f"the {name} part begins with a date, and the table has none", where=table.title, got=part,
            do="give a share or a number of rows",
        )  # fmt: skip
    row = int(np.searchsorted(table.times, when))
    if not 0 < row < end:
        raise ConfigError(
            f"the {name} part cannot begin there",
            where=table.title,
            got=part,
            expected=f"a date after {table.time_of(0)} and not after {table.time_of(end - 1)}",
        )
    return row


def _count(table: TimeTable, part: Part, name: str) -> int:
    """How many rows a part has: a number of them, or a share of the table."""
    if part is None:
        return 0
    if isinstance(part, bool) or not isinstance(part, (int, float)) or part < 0:
        raise ConfigError(
            f"the {name} part is no share and no number of rows", got=repr(part), expected="0.2, 2880 or '2017-07-01'"
        )
    if part >= 1 and isinstance(part, float):
        if not part.is_integer():
            raise ConfigError(f"the {name} part is no share of the table", got=part, expected="below 1, or whole rows")
        return int(part)
    return int(part) if part >= 1 else round(len(table) * part)


_DATES: dict[type, Callable[[Any], np.datetime64]] = {
    date: lambda value: np.datetime64(value, "us"),
    datetime: lambda value: np.datetime64(value, "us"),
    np.datetime64: lambda value: value.astype("datetime64[us]"),
}


def _as_date(part: Part, name: str) -> np.datetime64 | None:
    if isinstance(part, str):
        if not could_be_time(part.strip()):
            raise ConfigError(f"the {name} part begins with no date", got=repr(part), expected="such as 2017-07-01")
        when: np.datetime64 = parse_times([part], [1], name=name, where=name)[0]
        return when
    convert = _DATES.get(type(part))
    return None if convert is None else convert(part)
