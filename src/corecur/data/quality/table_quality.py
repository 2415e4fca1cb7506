"""What is wrong or odd about tables over time: cells, times, gaps, columns that say nothing or too much.

Shapes: T rows, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corecur.data.quality.repeats import lines, refused
from corecur.data.series.columns import Column, first_named
from corecur.data.series.frequency import find_frequency, places_of
from corecur.data.series.gaps import missing_runs
from corecur.data.series.open_tables import GROUP_COLUMNS, columns_of
from corecur.data.series.time_choice import choose_times
from corecur.data.series.time_stamps import Times
from corecur.data.series.time_table import time_words
from corecur.errors import DataError
from corecur.finding import Finding, Level

_MANY_MISSING, _LONG_GAP = 0.3, 24
# Values, up to this share of all, beyond a gap of so many times the range of all others.
_GAP, _ALONE = 2.0, 0.05
# A value that repeats so often, where the column hardly ever repeats one, is a sensor that was stuck.
_STUCK, _STUCK_SHARE, _CHANGES = 30, 8.0, 0.9
# A column that follows from another up to this share of its standard deviation; rows that one may run ahead.
_EXACT, _AHEAD, _SOME = 1e-3, 48, 300


@dataclass(frozen=True)
class _Group:
    """The rows of one series of a table, in the order of the file: places, times and the series' name."""

    name: str
    rows: NDArray[np.int64]
    times: Times | None

    def called(self, words: str) -> str:
        return f"{self.name}: {words}" if self.name else words


def table_findings(source: object, *, targets: Sequence[str] = ()) -> tuple[list[Finding], int]:
    """Findings on a table over time, as it stands there, and how many rows were looked at; DataError where it is none.

    >>> table = {"day": ["2020-01-01", "2020-01-02", "2020-01-04", "2020-01-03"], "x": [1, 2, 3, 4], "y": [5, 5, 5, 5]}
    >>> [found.kind for found in table_findings(table)[0]]
    ['constant-column', 'time-order']
    """
    found = columns_of(source)
    findings: list[Finding] = []
    try:
        chosen = choose_times(found.columns, None, where=found.origin)
        times, others = chosen.times, list(chosen.others)
    except DataError as error:
        findings.append(refused(error, "time"))
        times, others = None, list(found.columns)
    groups, others = _groups(times, others)
    rows = others[0].rows if others else []
    numeric, more = _cells(others)
    findings += more
    values = {column.name: column.parsed()[0] for column in numeric}
    findings += _values(numeric, values, groups)
    findings += [finding for group in groups for finding in _times(group, rows)]
    findings += _telling(values, groups, targets) if numeric else []
    return findings, len(found.columns[0]) if found.columns else 0


def _groups(times: Times | None, columns: list[Column]) -> tuple[list[_Group], list[Column]]:
    count = len(columns[0]) if columns else 0
    whole = [_Group("", np.arange(count), times)]
    if times is None or len(np.unique(times)) == len(times):
        return whole, columns
    ids = first_named(columns, GROUP_COLUMNS)
    if ids is None:
        return whole, columns
    words = np.array(ids.text)
    groups = [
        _Group(str(word), np.flatnonzero(words == word), times[words == word]) for word in dict.fromkeys(ids.text)
    ]
    return groups, [column for column in columns if column is not ids]


def _cells(columns: Sequence[Column]) -> tuple[list[Column], list[Finding]]:
    """The columns of numbers, and cells and columns that are none."""
    numeric, wrong, empty, words = [], [], [], []
    for column in columns:
        numbers, odd = column.parsed()
        if column.numeric:
            numeric.append(column)
            wrong += [f"{column.name!r}, row {column.rows[k]}: {column.text[k][:20]!r}" for k in odd]
            wrong += [
                f"{column.name!r}, row {column.rows[int(k)]}: infinite" for k in np.flatnonzero(np.isinf(numbers))
            ]
        elif not odd:
            empty.append(column.name)
        else:
            words.append(column)
    findings = []
    if wrong:
        verdict = f"{len(wrong):,} {'cell is' if len(wrong) == 1 else 'cells are'} no number in a column of numbers."
        findings.append(Finding("not-numeric", verdict, lines(wrong), "mend them, or leave them empty", "problem"))
    if empty:
        verdict = f"{len(empty):,} {'column has' if len(empty) == 1 else 'columns have'} no value at all."
        findings.append(Finding("no-value", verdict, tuple(empty), "remove them", "warning"))
    same = [f"{column.name!r}: {column.text[0]!r}" for column in words if len(set(column.text)) == 1]
    if same:
        verdict = f"{len(same):,} columns of words hold one word in every row."
        findings.append(Finding("constant-column", verdict, tuple(same), "remove them", "note"))
    return numeric, findings


def _values(
    columns: Sequence[Column], values: dict[str, NDArray[np.float64]], groups: Sequence[_Group]
) -> list[Finding]:
    constant, missing, far, stuck = [], [], [], []
    grave: Level = "note"
    for column in columns:
        numbers = np.where(np.isfinite(values[column.name]), values[column.name], np.nan)
        there = numbers[np.isfinite(numbers)]
        if len(there) > 1 and np.ptp(there) == 0:
            constant.append(f"{column.name!r} is {there[0]:g} in every row")
            continue
        gaps = [gap for group in groups for gap in missing_runs(np.isnan(numbers[group.rows]))]
        lost, longest = len(numbers) - len(there), max((stop - start for start, stop in gaps), default=0)
        if lost:
            share = lost / len(numbers)
            missing.append(f"{column.name!r}: {lost:,} of {len(numbers):,}, the longest run {longest:,} rows")
            if share > _MANY_MISSING or longest >= max(_LONG_GAP, 0.02 * len(numbers)):
                grave = "warning"
        far += [f"{column.name!r}, row {column.rows[k]}: {numbers[k]:g} (others {low:g} to {high:g})"
                for k, low, high in _alone(numbers)]  # fmt: skip
        for group in groups:
            stuck += [group.called(f"{column.name!r}, rows {column.rows[int(group.rows[a])]} to "
                                   f"{column.rows[int(group.rows[b - 1])]}: {numbers[group.rows[a]]:g}")
                      for a, b in _stuck(numbers[group.rows])]  # fmt: skip
    findings = []
    if constant:
        verdict = f"{len(constant):,} {'column' if len(constant) == 1 else 'columns'} without any change: nothing said."
        findings.append(Finding("constant-column", verdict, lines(constant), "leave them out"))
    if missing:
        verdict = (
            f"{len(missing):,} {'column has' if len(missing) == 1 else 'columns have'} missing values; a training "
        )
        verdict += "repeats the last value before them."
        findings.append(Finding("missing-values", verdict, lines(missing), "fill them from the source", grave))
    if far:
        verdict = f"{len(far):,} {'value lies' if len(far) == 1 else 'values lie'} far outside all others."
        findings.append(Finding("outlier", verdict, lines(far), "correct them, or leave the cells empty if they are "
                                "errors or stand for a missing value"))  # fmt: skip
    if stuck:
        verdict = "A column that hardly ever repeats a value stays at one for long: a sensor that was stuck?"
        findings.append(Finding("stuck", verdict, lines(stuck), "leave these cells empty"))
    return findings


def _alone(numbers: NDArray[np.float64]) -> list[tuple[int, float, float]]:
    """Places of values beyond a wide gap from all others, with the range of these."""
    order = np.argsort(numbers)
    order = order[np.isfinite(numbers[order])]
    ranked, most = numbers[order], max(3, int(_ALONE * len(order)))
    low, high = 0, len(order)
    for _ in range(2):  # what is alone above may hide what is alone below
        for count in range(min(most, high - low - 8), 0, -1):
            width = ranked[high - count - 1] - ranked[low]
            if width > 0 and ranked[high - count] - ranked[high - count - 1] > _GAP * width:
                high -= count
                break
        for count in range(min(most, high - low - 8), 0, -1):
            width = ranked[high - 1] - ranked[low + count]
            if width > 0 and ranked[low + count] - ranked[low + count - 1] > _GAP * width:
                low += count
                break
    if low == 0 and high == len(order):
        return []
    found = np.concatenate([order[:low], order[high:]])
    return [(int(k), float(ranked[low]), float(ranked[high - 1])) for k in np.sort(found)]


def _stuck(numbers: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Stretches of one value, far longer than any other such stretch of a column that else changes from row to row."""
    same = np.diff(numbers) == 0
    if len(same) < 2 * _STUCK or np.ptp(numbers[np.isfinite(numbers)]) == 0:
        return []
    edges = np.diff(np.concatenate([[0], same.astype(int), [0]]))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) + 1
    lengths = stops - starts
    long = lengths >= _STUCK
    usual = max(float(np.quantile(lengths[~long], 0.9)) if (~long).any() else 1.0, 2.0)
    long &= lengths >= _STUCK_SHARE * usual
    others = len(same) - int((lengths[long] - 1).sum())
    if not long.any() or int((lengths[~long] - 1).sum()) > (1 - _CHANGES) * others or long.sum() > 5:
        return []
    return [(int(a), int(b)) for a, b in zip(starts[long], stops[long], strict=True)]


def _times(group: _Group, rows: Sequence[int]) -> list[Finding]:
    times = group.times
    if times is None or len(times) < 3:
        return []
    findings = []
    order = np.argsort(times, kind="stable")
    back = np.flatnonzero(times[1:] < times[:-1])
    if len(back):
        evidence = lines(
            group.called(
                f"row {rows[int(group.rows[k + 1])]} ({time_words(times, int(k + 1))}) after "
                f"row {rows[int(group.rows[k])]} ({time_words(times, int(k))})"
            )
            for k in back
        )
        whole = len(back) == len(times) - 1
        verdict = "The rows run backwards in time." if whole else "The rows are not in the order of their times."
        findings.append(Finding("time-order", verdict, evidence[:1] if whole else evidence, "sort the table by time",
                                "note" if whole else "warning"))  # fmt: skip
    ranked = times[order]
    twice = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(twice):
        evidence = lines(group.called(f"{time_words(ranked, int(k))}: rows {rows[int(group.rows[order[k]])]} and "
                                      f"{rows[int(group.rows[order[k + 1]])]}") for k in twice)  # fmt: skip
        verdict = f"{len(twice):,} {'time stands' if len(twice) == 1 else 'times stand'} in the table more than once."
        remedy = "keep one row for each time; if these are several series, name the column that tells them apart"
        findings.append(Finding("time-twice", verdict, evidence, remedy, "problem"))
    once = ranked[np.concatenate([[True], ranked[1:] != ranked[:-1]])]
    frequency = find_frequency(once) if len(once) > 2 else None
    places = None if frequency is None else places_of(once, frequency)
    if places is None:
        verdict = "The times follow no regular grid: rows are taken as steps, whatever lies between them."
        return [*findings, Finding("irregular", verdict, (group.name,) if group.name else (), level="note")]
    jumps = np.flatnonzero(np.diff(places) > 1)
    if len(jumps):
        lost = int(np.diff(places)[jumps].sum()) - len(jumps)
        verdict = f"{lost:,} {'row is' if lost == 1 else 'rows are'} missing (one each {frequency})."
        evidence = lines(group.called(f"{int(places[k + 1] - places[k]) - 1:,} between {time_words(once, int(k))} and "
                                      f"{time_words(once, int(k + 1))}") for k in jumps)  # fmt: skip
        findings.append(Finding("time-gaps", verdict, evidence, "fill the gaps from the source"))
    return findings


def _telling(values: dict[str, NDArray[np.float64]], groups: Sequence[_Group], targets: Sequence[str]) -> list[Finding]:
    """Columns that are others in disguise: copies, and columns that run ahead of another."""
    rows = groups[0].rows if groups[0].times is None else groups[0].rows[np.argsort(groups[0].times, kind="stable")]
    columns = {name: np.where(np.isfinite(numbers), numbers, np.nan)[rows] for name, numbers in values.items()}
    columns = {name: column for name, column in columns.items()
               if np.isfinite(column).mean() > 0.5 and np.nanstd(column) > 0}  # fmt: skip
    names, copies, leads, counters = list(columns), [], [], []
    for place, name in enumerate(names):
        steps = np.diff(columns[name])
        if len(steps) > 8 and np.isfinite(steps).all() and np.ptp(steps) == 0 and abs(steps[0]) == 1:
            counters.append(f"{name!r}")
            continue
        for other in names[:place]:
            if f"{other!r}" in counters:
                continue
            if _left_over(columns[name], columns[other]) < _EXACT:
                copies.append(f"{name!r} follows from {other!r}")
            else:
                leads += _ahead(name, other, columns) + _ahead(other, name, columns)
    told = [line for line in leads if not targets or any(repr(target) in line for target in targets)]
    findings = []
    if counters:
        verdict = "A column only counts the rows."
        findings.append(Finding("counter", verdict, tuple(counters), "leave it out", "note"))
    if copies:
        verdict = "A column is another one in other units: it gives that one away, or says nothing new."
        findings.append(Finding("leak-column", verdict, lines(copies), "leave one of them out"))
    if told:
        verdict = "A column knows another one before its time: forecasts would be made from the answer."
        findings.append(Finding("leak-future", verdict, lines(told), "leave it out, or shift it to when it is known"))
    return findings


def _ahead(name: str, other: str, columns: dict[str, NDArray[np.float64]]) -> list[str]:
    """A line where ``name`` at a row is ``other`` at a later one."""
    one, two = columns[name], columns[other]
    for lead in range(1, min(_AHEAD, len(one) // 4) + 1):
        some = slice(lead, min(len(one), lead + _SOME))  # most columns differ within a few rows
        if _left_over(one[: some.stop - lead], two[some]) > _EXACT * 20:
            continue
        if _left_over(one[: len(one) - lead], two[lead:]) < _EXACT:
            if _left_over(two[: len(two) - lead], two[lead:]) < 10 * _EXACT:
                return []  # the other repeats itself: nothing is given away
            return [f"{name!r} is {other!r} {lead} row{'s' * (lead > 1)} ahead"]
    return []


def _left_over(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The share of the spread of ``a`` that a linear function of ``b`` leaves unexplained."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 12:
        return 1.0
    a, b = a[both] - a[both].mean(), b[both] - b[both].mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    if size == 0:
        return 1.0
    return float(np.sqrt(max(0.0, 1 - (float(a @ b) / size) ** 2)))
