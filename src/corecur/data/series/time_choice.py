"""Which column of a table says when each row is, or which several do.

Shapes: T rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corecur.data.series.columns import Column, find_column, first_named
from corecur.data.series.time_stamps import TIME_COLUMNS, Times, are_times, numbers_as_times, parse_times
from corecur.errors import DataError
from corecur.finding import Finding, remark

# A calendar spread over columns, from the coarsest part to the finest.
_PARTS = ("year", "month", "day", "hour", "minute")
_INDEX = ("index", "unnamed: 0", "no", "row", "id")
_LOOKED_AT = 50


@dataclass(frozen=True)
class TimeChoice:
    """The times of the rows (T,) or None, the columns that are not times, and what was decided."""

    times: Times | None
    others: tuple[Column, ...]
    findings: tuple[Finding, ...] = ()


def choose_times(columns: Sequence[Column], name: str | None, *, where: object) -> TimeChoice:
    """Find the times: the column of that name, else one named so, else one of dates, else the columns year, month, ….

    Raises DataError for a column that is not there or holds something else than times.

    >>> table = [Column("Date", ["1949-01", "1949-02"], [2, 3]), Column("n", ["1", "2"], [2, 3])]
    >>> choice = choose_times(table, None, where="a.csv")
    >>> choice.times.astype("datetime64[M]").tolist()[1].month, [column.name for column in choice.others]
    (2, ['n'])
    """
    if name is not None:
        return _single(columns, find_column(columns, name, what="time", where=where), where)
    folded = {column.name.casefold(): column for column in columns}
    if "year" in folded and "month" in folded and all(folded[part].numeric for part in ("year", "month")):
        return _spread(columns, [folded[part] for part in _PARTS if part in folded], where)
    found = first_named(columns, TIME_COLUMNS)
    dated = next((column for column in columns if _is_dated(column)), None)
    if found is not None and (_is_dated(found) or dated is None) and (_is_dated(found) or _rises(found)):
        return _single(columns, found, where)
    if dated is not None:
        return _single(columns, dated, where)
    counted = [column for column in columns if column.name.casefold() in _INDEX and _is_count(column)]
    others = tuple(column for column in columns if column not in counted)
    notes = [remark("There is no time column: rows are steps, in the order they stand in.")]
    notes += [remark(f"The column {column.name!r} counts the rows and was left out.") for column in counted]
    return TimeChoice(None, others or tuple(columns), tuple(notes))


def _single(columns: Sequence[Column], column: Column, where: object) -> TimeChoice:
    others = tuple(other for other in columns if other is not column)
    if isinstance(column.cells, np.ndarray) and column.cells.dtype.kind == "M":
        missing = np.flatnonzero(np.isnat(column.cells))
        if len(missing):
            row = column.rows[int(missing[0])]
            raise DataError("a time is missing", where=f"{where}, row {row}", got=f"{len(missing):,} such rows")
        return TimeChoice(column.cells.astype("datetime64[us]"), others)
    clock = first_named(others, ("time", "hour"))
    text = column.text
    # A date in one column and the time of day in the next.
    if clock is not None and all(":" in cell or cell.count(".") == 2 for cell in clock.text[:_LOOKED_AT]):
        joined = [f"{day} {hour}" for day, hour in zip(text, clock.text, strict=True)]
        if are_times(joined[:_LOOKED_AT]):
            text, others = joined, tuple(other for other in others if other is not clock)
    return TimeChoice(parse_times(text, column.rows, name=column.name, where=where), others)


def _spread(columns: Sequence[Column], parts: Sequence[Column], where: object) -> TimeChoice:
    """Times out of the columns year, month, day, hour, minute, as far as they are there."""
    numbers = {part.name.casefold(): part.numbers(where=where) for part in parts}
    day = numbers.get("day", np.ones(len(parts[0])))
    clock = [numbers.get(part, np.zeros(len(parts[0]))) for part in ("hour", "minute")]
    wrong = (numbers["month"] < 1) | (numbers["month"] > 12) | (day < 1) | (day > 31)
    wrong |= ~np.isfinite(numbers["year"] + numbers["month"] + day + clock[0] + clock[1])
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            "the columns year, month, day and hour name no time",
            where=f"{where}, row {parts[0].rows[row]}",
            got=", ".join(f"{part.name} {part.text[row]}" for part in parts),
        )
    months = (numbers["year"].astype(np.int64) - 1970) * 12 + numbers["month"].astype(np.int64) - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]") + (day.astype(np.int64) - 1)
    minutes = (clock[0] * 60 + clock[1]).astype(np.int64).astype("timedelta64[m]")
    others = tuple(column for column in columns if column not in parts)
    note = remark(f"Times were read from the columns {', '.join(part.name for part in parts)}.")
    return TimeChoice((days + minutes).astype("datetime64[us]"), others, (note,))


def _is_dated(column: Column) -> bool:
    if isinstance(column.cells, np.ndarray):
        return bool(column.cells.dtype.kind == "M")
    return are_times([str(cell).strip() for cell in column.cells[:_LOOKED_AT]])


def _rises(column: Column) -> bool:
    """Whether a column of numbers that is called like times is one: it never falls, or it is years or epochs."""
    numbers, wrong = column.parsed()
    if wrong or np.isnan(numbers).any():
        return bool(wrong)  # text: parse_times says which cell is no time
    return bool((np.diff(numbers) > 0).all()) or numbers_as_times(numbers).dtype.kind == "M"


def _is_count(column: Column) -> bool:
    numbers, wrong = column.parsed()
    return not wrong and bool((np.diff(numbers) == 1).all())
