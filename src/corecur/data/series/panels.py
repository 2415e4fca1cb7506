"""A panel: many series in one long CSV file, a row a step, with a column that says which series a row belongs to.

Shapes: N series, T time, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from corecur.data.gathered import SPLIT_WORDS, one_spelling
from corecur.data.path_table import SPLIT_COLUMNS
from corecur.data.series.columns import Column, find_column, first_named
from corecur.data.series.csv_rows import read_sheet
from corecur.data.series.label_first import label_word
from corecur.data.series.recordings import BadSeries, GatheredSeries, SeriesPart
from corecur.data.series.time_stamps import TIME_COLUMNS, Times, parse_times
from corecur.errors import DataError
from corecur.finding import Finding, remark

ID_COLUMNS = (
    "id", "series", "series_id", "unique_id", "sample", "sample_id", "case", "case_id", "instance", "item_id", "unit",
    "sequence", "sequence_id", "subject", "recording",
)  # fmt: skip
LABEL_COLUMNS = ("label", "class", "target", "category", "activity", "y")


def gather_panel(
    source: Path, *, id: str | None = None, time: str | None = None, label: str | None = None
) -> GatheredSeries:
    """Read a panel of labelled series; the columns of ids, times and labels are named, or found by their names.

    Without a time column rows are steps in the order of the file. A split column makes splits. All other columns are
    channels. Raises DataError for missing columns, a column that is no number, a series with two labels or splits, a
    time that stands twice in a series; a table without labels is read as series without labels.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.csv").write_text("id,time,x,label\\na,1,5,up\\na,0,4,up\\nb,0,7,down\\n")
    ...     part = gather_panel(Path(folder, "a.csv")).parts["train"]
    >>> [one.ravel().tolist() for one in part.series], part.labels.tolist(), part.names
    ([[4.0, 5.0], [7.0]], ['up', 'down'], ['a', 'b'])
    """
    sheet = read_sheet(source)
    columns = sheet.columns
    ids = _chosen(columns, id, ID_COLUMNS, "id", source)
    times = _chosen(columns, time, TIME_COLUMNS, "time", source)
    labels = _chosen(columns, label, LABEL_COLUMNS, "label", source)
    splits = first_named(columns, SPLIT_COLUMNS)
    if ids is None:
        raise DataError(
            "the table has no column that says which series a row belongs to",
            where=source,
            got="columns " + ", ".join(column.name for column in columns[:20]),
            expected="one named " + ", ".join(ID_COLUMNS[:5]) + ", …",
            do="rename the column; for one long series to forecast, train the task forecasting",
        )
    special = {column.name for column in (ids, times, labels, splits) if column is not None}
    channels = [column for column in columns if column.name not in special]
    if not channels:
        raise DataError("the table has no column of values", where=source, got=", ".join(c.name for c in columns))
    values = np.stack([column.numbers(where=source) for column in channels], axis=1)  # (rows, C)
    when = None if times is None else parse_times(times.text, times.rows, name=times.name, where=source)
    places: dict[str, list[int]] = {}
    for place, name in enumerate(ids.text):
        places.setdefault(name, []).append(place)
    if "" in places:
        raise DataError("a row has no id", where=f"{source}, row {ids.rows[places[''][0]]}", do="fill it in")
    order = {name: _in_order(rows, when, ids, times, source) for name, rows in places.items()}
    unsorted = sum(order[name] != rows for name, rows in places.items())
    empty = [column.name for place, column in enumerate(channels) if np.isnan(values[:, place]).all()]
    findings = [
        *sheet.findings,
        *map(_without_value, empty),
    ]
    findings += [
        remark(
            f"The rows of {unsorted:,} series were not in the order of their times, and were sorted.", kind="time-order"
        )
    ] * bool(unsorted)
    findings += [remark("There is no time column: rows are steps in the order of the file.")] * (times is None)
    word_of = {name: _one(labels, rows, name, source) for name, rows in places.items()} if labels is not None else {}
    split_of = {name: _split(splits, rows, name, source) for name, rows in places.items()}
    parts, bad = {}, list[BadSeries]()
    for split in dict.fromkeys(split_of.values()):
        names = [name for name in places if split_of[name] == split]
        unlabelled = [name for name in names if labels is not None and not word_of[name]]
        bad += [(f"series {name!r}", "it has no label") for name in unlabelled]
        names = [name for name in names if name not in set(unlabelled)]
        words = None if labels is None else np.array([word_of[name] for name in names], dtype=np.str_)
        parts[split] = SeriesPart([values[order[name]] for name in names], words, names)
    if "train" not in parts:
        raise DataError("the table has no row of the train split", where=source, got=", ".join(parts))
    named = tuple(column.name for column in channels)
    return GatheredSeries("panel", parts, named, findings=tuple(findings), bad=tuple(bad))


def _without_value(name: str) -> Finding:
    return Finding("no-value", f"The column {name!r} has no value at all: it says nothing.", remedy="remove it")


def _chosen(
    columns: Sequence[Column], name: str | None, usual: Sequence[str], what: str, source: Path
) -> Column | None:
    return first_named(columns, usual) if name is None else find_column(columns, name, what=what, where=source)


def _in_order(rows: list[int], when: Times | None, ids: Column, times: Column | None, source: Path) -> list[int]:
    """The rows of one series by their times; raises DataError for a time that stands twice."""
    if when is None or times is None:
        return rows
    ordered = sorted(rows, key=lambda row: when[row])
    for before, after in zip(ordered, ordered[1:], strict=False):
        if when[before] == when[after]:
            raise DataError(
                f"a time stands twice in the series {ids.text[after]!r}",
                where=f"{source}, rows {times.rows[before]} and {times.rows[after]}",
                got=times.text[after],
                do="keep one of the rows, or give the series ids of their own",
            )
    return ordered


def _one(column: Column, rows: list[int], name: str, source: Path) -> str:
    """The one label of a series."""
    words = {row: label_word(one_spelling(column.text[row])) or "" for row in rows}
    other = next((row for row in rows if words[row] != words[rows[0]]), None)
    if other is not None:
        raise DataError(
            f"the series {name!r} has two values in the column {column.name!r}",
            where=f"{source}, row {column.rows[other]}",
            got=f"{words[rows[0]]!r} and {words[other]!r}",
            expected="one for each series",
            do="give each piece with one label an id of its own",
        )
    return words[rows[0]]


def _split(column: Column | None, rows: list[int], name: str, source: Path) -> str:
    if column is None:
        return "train"
    word = _one(column, rows, name, source).casefold()
    if word not in SPLIT_WORDS:
        raise DataError(
            "a row is of no known split",
            where=f"{source}, row {column.rows[rows[0]]}", got=repr(word), expected="train, validation or test",
        )  # fmt: skip
    return SPLIT_WORDS[word]
