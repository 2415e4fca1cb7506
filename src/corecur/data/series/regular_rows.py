"""Raw rows made regular: sorted by time, no time twice, gaps filled by rows, missing values by the last before them.

Shapes: T rows as given, G rows of the grid, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from corecur.data.series.frequency import find_frequency, places_of, times_at
from corecur.data.series.gaps import fill_forward, missing_runs
from corecur.data.series.time_stamps import Times
from corecur.data.series.time_table import TimeTable, time_words
from corecur.errors import DataError
from corecur.finding import Finding, remark

_NAMED = 5
# Rows cut off at the start, and rows put in, as a share of the rows given: beyond it the table is not what it seems.
_MOST = 0.5


@dataclass(frozen=True)
class RawRows:
    """Rows of a table as they stand in the source: values (T, C) with NaN, times (T,) or None, each row's number."""

    values: NDArray[np.float64]
    times: Times | None
    names: tuple[str, ...]
    numbers: Sequence[int]
    origin: str
    name: str = ""

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self.origin}, series {self.name!r}" if self.name else self.origin


def regular_table(
    raw: RawRows, targets: Sequence[str], *, findings: Sequence[Finding] = (), fill_gaps: bool = True
) -> TimeTable:
    """The table that a forecaster learns from; everything done to the rows is told in its findings.

    Rows are sorted by time. A time that stands twice is refused. Where most rows follow a grid, the rows missing in it
    are put in; every missing value repeats the last one before it, so that nothing is known before its time, and the
    rows before a column's first value are left out. With ``fill_gaps=False`` rows stay as they are. Raises DataError
    for a column without values, a repeated time, gaps longer than the table, a column that begins too late.

    >>> days = np.array(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-05"], dtype="datetime64[us]")
    >>> raw = RawRows(np.array([[1.0], [2.0], [3.0], [5.0]]), days, ("x",), range(2, 6), "a.csv")
    >>> table = regular_table(raw, ["x"])
    >>> table.values.ravel().tolist(), str(table.frequency)
    ([1.0, 2.0, 3.0, 3.0, 5.0], 'day')
    """
    notes = list(findings)
    values, times = _sorted(raw, notes)
    _refuse_empty(values, raw)
    frequency = None if times is None else find_frequency(times)
    if times is not None and frequency is not None and fill_gaps:
        places = places_of(times, frequency)
        if places is not None and int(places[-1]) + 1 > len(places):
            values = _with_rows(raw, values, times, places, str(frequency), notes)
            grid = times_at(times, frequency, np.arange(len(values)))
            grid[places] = times
            times = grid
    elif times is not None and frequency is None and len(times) > 2:
        notes.append(remark("The times follow no regular grid: rows are taken as steps, whatever lies between them."))
    missing = np.isnan(values)  # (G, C)
    filled = fill_forward(values)
    start = int(np.isnan(filled).any(1).sum())  # a column's NaN stay only before its first value
    _cut_start(raw, missing, start, notes)
    _tell_missing(missing[start:], raw.names, None if times is None else times[start:], start, notes)
    kept = missing[start:]
    return TimeTable(
        values=torch.from_numpy(np.ascontiguousarray(filled[start:])),
        times=None if times is None else times[start:],
        names=raw.names,
        targets=tuple(targets),
        frequency=frequency,
        origin=raw.origin,
        name=raw.name,
        made_up=torch.from_numpy(np.ascontiguousarray(kept)) if kept.any() else None,
        findings=tuple(notes),
    )


def _sorted(raw: RawRows, notes: list[Finding]) -> tuple[NDArray[np.float64], Times | None]:
    """Rows in the order of their times; raises DataError naming a time that stands twice."""
    if raw.times is None:
        return raw.values, None
    order = np.argsort(raw.times, kind="stable")
    times = raw.times[order]
    twice = np.flatnonzero(times[1:] == times[:-1])
    if len(twice):
        first, second = (raw.numbers[int(order[twice[0] + shift])] for shift in (0, 1))
        raise DataError(
            "a time stands twice in the table",
            where=f"{raw.where}, rows {first} and {second}",
            got=f"{time_words(times, int(twice[0]))}, and {len(twice):,} such pairs in all",
            expected="one row for each time",
            do="remove or average the repeated rows; if the table holds several series, name the column that tells "
            "them apart (id=…, or --series-column); if the clock was set back, write times in UTC",
        )
    moved = int((order != np.arange(len(order))).sum())
    if moved:
        notes.append(
            remark(
                f"The rows were not in the order of their times ({moved:,} stood elsewhere) and were sorted.",
                kind="time-order",
            )
        )
    return raw.values[order], times


def _refuse_empty(values: NDArray[np.float64], raw: RawRows) -> None:
    empty = [name for place, name in enumerate(raw.names) if np.isnan(values[:, place]).all()]
    if empty:
        raise DataError(
            "a column has no value", where=raw.where, got=", ".join(map(repr, empty[:_NAMED])),
            do="leave it out: name the columns to use",
        )  # fmt: skip


def _with_rows(
    raw: RawRows,
    values: NDArray[np.float64],
    times: Times,
    places: NDArray[np.int64],
    frequency: str,
    notes: list[Finding],
) -> NDArray[np.float64]:
    """Rows of NaN put in where the grid has a time and the table has none."""
    length, gaps = int(places[-1]) + 1, np.diff(places)
    added, at = length - len(places), int(gaps.argmax())
    widest = f"{int(gaps[at]) - 1:,} rows between {time_words(times, at)} and {time_words(times, at + 1)}"
    if added > max(_MOST * len(places), _NAMED):
        raise DataError(
            f"more rows are missing than can be made up (one each {frequency})",
            where=raw.where,
            got=f"{len(places):,} rows there, {added:,} missing; the longest gap: {widest}",
            expected=f"at most {_MOST:.0%} as many missing as there are",
            do="use the part before or after the gap, or pass fill_gaps=False to take the rows as steps",
        )
    grid = np.full((length, values.shape[1]), np.nan)  # (G, C)
    grid[places] = values
    notes.append(
        remark(
            f"{added:,} rows are missing in the grid (one each {frequency}) and were put in; the longest gap: {widest}."
        )
    )
    return grid


def _cut_start(raw: RawRows, missing: NDArray[np.bool_], start: int, notes: list[Finding]) -> None:
    if not start:
        return
    first = (~missing).argmax(0)  # (C,) the row of each column's first value
    late = raw.names[int(first.argmax())]
    if start > _MOST * len(missing):
        raise DataError(
            f"the column {late!r} begins too late",
            where=raw.where,
            got=f"no value in the first {start:,} of {len(missing):,} rows",
            do="leave the column out: name the columns to use",
        )
    notes.append(remark(f"The first {start:,} rows were left out: {late!r} has no value there, and nothing before it."))


def _tell_missing(
    missing: NDArray[np.bool_], names: Sequence[str], times: Times | None, start: int, notes: list[Finding]
) -> None:
    """A sentence on all gaps, and one that names the longest."""
    if not missing.any():
        return
    runs = [(stop - first, name, first, stop - 1) for place, name in enumerate(names)
            for first, stop in missing_runs(missing[:, place])]  # fmt: skip
    total, worst = int(missing.sum()), sorted(runs, key=lambda run: -run[0])[:_NAMED]

    def when(row: int) -> str:
        return f"row {start + row + 1}" if times is None else time_words(times, row)

    shown = "; ".join(
        f"{name}, {when(first)}" + (f" to {when(last)} ({length:,})" if length > 1 else "")
        for length, name, first, last in worst
    )
    more = f" and {len(runs) - _NAMED:,} more" if len(runs) > _NAMED else ""
    notes.append(remark(f"{total:,} missing values repeat the last one before them: {shown}{more}."))
