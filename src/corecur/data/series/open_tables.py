"""From anything that holds values over time to tables: CSV files, panels, NumPy's files, data frames, arrays, samples.

Shapes: T time, C columns.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corecur.data.file_bytes import source_path
from corecur.data.image_arrays import to_array
from corecur.data.numpy_files import read_npy, read_npz
from corecur.data.series.columns import Column, find_column, first_named
from corecur.data.series.csv_rows import read_sheet, sheet_of
from corecur.data.series.panels import ID_COLUMNS
from corecur.data.series.regular_rows import RawRows, regular_table
from corecur.data.series.series_samples import SERIES_SAMPLES
from corecur.data.series.time_choice import choose_times
from corecur.data.series.time_table import TimeTable
from corecur.errors import DataError, nearest
from corecur.finding import Finding, remark

SUFFIXES = (".csv", ".tsv", ".txt")
GROUP_COLUMNS = (
    *ID_COLUMNS,
    "store",
    "item",
    "product",
    "country",
    "region",
    "city",
    "station",
    "sensor",
    "symbol",
    "ticker",
)
_STANDARD_INPUT = "standard input"
_ARRAYS = ("values", "data", "x", "y", "series")


@dataclass(frozen=True)
class Columns:
    """A table in columns: where it is from, and what is odd about its form."""

    origin: str
    columns: Sequence[Column]
    findings: tuple[Finding, ...] = ()


def load_tables(
    source: Any,
    *,
    time: str | None = None,
    targets: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    id: str | None = None,
    fill_gaps: bool = True,
) -> tuple[TimeTable, ...]:
    """Read values over time, one table for each series: from a path, a sample name, a data frame, a dict, an array.

    A CSV file has a time column (``time``, or found by its name or its dates; without one rows are steps) and columns
    of numbers. ``columns`` are those to use (all numeric ones), ``targets`` those of them to forecast (all). ``id``
    names the column that tells the series of a panel apart (found by its name where times repeat). ``.npz`` holds
    ``values`` (T,) or (T, C) and may hold ``times`` and ``names``. Samples are ``demand`` and ``passengers``; ``-`` is
    a CSV text on standard input. What becomes of unsorted rows, gaps and missing values: `regular_table`.

    Raises DataError for what cannot be learned from: ragged rows, repeated names, no numbers, a named column that is
    not there or is no number, infinite numbers, repeated times.

    >>> (table,) = load_tables("demand", targets="load")
    >>> table.values.shape, str(table.frequency), table.names, table.targets
    (torch.Size([4320, 2]), 'hour', ('load', 'temperature'), ('load',))
    """
    found = columns_of(source)
    asked = [targets] if isinstance(targets, str) else targets
    left = [find_column(found.columns, id, what="id", where=found.origin).name] if id is not None else []
    chosen = choose_times([column for column in found.columns if column.name not in left], time, where=found.origin)
    notes = [*found.findings, *chosen.findings]
    ids = find_column(found.columns, id, what="id", where=found.origin) if id is not None else None
    if ids is None and chosen.times is not None and len(np.unique(chosen.times)) < len(chosen.times):
        ids = first_named(chosen.others, [name for name in GROUP_COLUMNS if name not in (asked or ())])
        if ids is not None:
            notes.append(
                remark(f"Times repeat: the rows are those of several series, told apart by the column {ids.name!r}.")
            )
    others = [column for column in chosen.others if ids is None or column.name != ids.name]
    used = _value_columns(others, columns, asked, found.origin, notes)
    names = tuple(column.name for column in used)
    values = np.stack([column.numbers(where=found.origin) for column in used], axis=1)  # (T, C)
    numbers = used[0].rows
    groups: dict[str, list[int]] = {}
    for place, word in enumerate([""] * len(values) if ids is None else ids.text):
        groups.setdefault(word, []).append(place)
    return tuple(
        regular_table(
            RawRows(
                values[rows],
                None if chosen.times is None else chosen.times[rows],
                names,
                [numbers[row] for row in rows],
                found.origin,
                word,
            ),
            asked or names,
            findings=notes,
            fill_gaps=fill_gaps,
        )
        for word, rows in groups.items()
    )


def load_table(
    source: Any,
    *,
    time: str | None = None,
    targets: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    fill_gaps: bool = True,
) -> TimeTable:
    """Read one series of values over time, as `load_tables` does. Raises DataError for a panel of several.

    >>> load_table({"month": ["2020-01", "2020-02", "2020-03"], "sales": [3, 4, 5]}).names
    ('sales',)
    """
    tables = load_tables(source, time=time, targets=targets, columns=columns, fill_gaps=fill_gaps)
    if len(tables) > 1:
        raise DataError(
            "the table holds several series",
            where=tables[0].origin,
            got=f"{len(tables):,}: "
            + ", ".join(table.name for table in tables[:5])
            + (" …" if len(tables) > 5 else ""),
            do="read them with load_tables",
        )
    return tables[0]


def columns_of(source: Any) -> Columns:
    """The columns of a source of values over time, as they stand there; raises DataError like `load_tables`.

    >>> [column.name for column in columns_of({"day": ["2020-01-01"], "x": [1]}).columns]
    ['day', 'x']
    """
    if isinstance(source, (str, os.PathLike)):
        return _columns_in(source)
    if isinstance(source, Mapping):
        return Columns("arrays", _of_mapping(source))
    if hasattr(source, "columns") and hasattr(source, "index"):  # a data frame
        named = {str(name): np.asarray(source[name]) for name in source.columns}
        index = np.asarray(source.index)
        dated = index.dtype.kind == "M"
        return Columns("data frame", _of_mapping({**({"time": index} if dated else {}), **named}))
    return Columns("arrays", _of_array(to_array(source, what="series"), None, "arrays"))


def _columns_in(source: str | os.PathLike[str]) -> Columns:
    if isinstance(source, str) and source in SERIES_SAMPLES:
        sample = SERIES_SAMPLES[source]
        made = sample.make() if sample.task == "forecast" else None
        if not isinstance(made, tuple):
            raise DataError("this sample is series in classes: there is nothing to forecast", got=source)
        return Columns(source, made)
    path = source_path(source)
    if str(path) == "-":
        sheet = sheet_of(sys.stdin.read(), where=_STANDARD_INPUT)
        return Columns(_STANDARD_INPUT, sheet.columns, sheet.findings)
    if not path.is_file():
        beside = os.listdir(path.parent) if path.parent.is_dir() else []
        guess = nearest(path.name, beside)
        what = "this is a folder, not a table" if path.is_dir() else "no such file"
        do = f"did you mean {path.with_name(guess)}?" if guess and not path.is_dir() else "give a CSV file"
        raise DataError(what, where=path, do=do)
    if path.suffix.casefold() == ".npy":
        return Columns(str(path), _of_array(read_npy(path), None, path))
    if path.suffix.casefold() == ".npz":
        arrays = read_npz(path)
        name = next((name for name in _ARRAYS if name in arrays), None)
        if name is None:
            raise DataError("the file has no array of values", where=path, got=", ".join(arrays), expected="values")
        names = [str(one) for one in arrays["names"].ravel().tolist()] if "names" in arrays else None
        columns = _of_array(arrays[name], names, path)
        times = arrays.get("times", arrays.get("time"))
        if times is not None:
            columns = [*_of_mapping({"time": times}), *columns]
        return Columns(str(path), _same_length(columns, path))
    if path.suffix.casefold() not in SUFFIXES:
        raise DataError("this kind of file holds no table", where=path, expected="a CSV file, .npz or .npy")
    sheet = read_sheet(path)
    return Columns(str(path), sheet.columns, sheet.findings)


def _of_mapping(table: Mapping[Any, Any]) -> list[Column]:
    columns = []
    for name, value in table.items():
        array = np.asarray(value) if not hasattr(value, "detach") else to_array(value, what=str(name))
        if array.ndim != 1:
            raise DataError(
                "a column is no list of numbers",
                where=f"column {str(name)!r}",
                got=f"shape {array.shape}",
                expected="(T,)",
            )
        cells: Any = array.astype("datetime64[us]") if array.dtype.kind == "M" else array
        if array.dtype.kind not in "fiubM":
            cells = ["" if cell is None else str(cell) for cell in array.tolist()]
        columns.append(Column(str(name), cells, range(1, len(array) + 1)))
    return _same_length(columns, "arrays")


def _of_array(array: np.ndarray[Any, Any], names: Sequence[str] | None, where: object) -> list[Column]:
    table = array[:, None] if array.ndim == 1 else array  # (T, C)
    if table.ndim != 2 or 0 in table.shape or table.dtype.kind not in "fiub":
        raise DataError(
            "the array is no table of values over time", where=where, got=f"{array.dtype} {array.shape}",
            expected="numbers (time,) or (time, columns)",
        )  # fmt: skip
    width = table.shape[1]
    if names is None:
        names = ["value"] if width == 1 else [f"column {number + 1}" for number in range(width)]
    if len(names) != width:
        raise DataError("columns and names differ in number", where=where, got=f"{width} columns, {len(names)} names")
    rows = range(1, len(table) + 1)
    return [Column(name, table[:, place], rows) for place, name in enumerate(names)]


def _same_length(columns: list[Column], where: object) -> list[Column]:
    lengths = {column.name: len(column) for column in columns}
    if len(set(lengths.values())) != 1 or not all(lengths.values()):
        raise DataError(
            "the columns differ in length, or are empty" if lengths else "there is no column",
            where=where, got=", ".join(f"{name} {length}" for name, length in list(lengths.items())[:5]) or None,
        )  # fmt: skip
    return columns


def _value_columns(
    columns: Sequence[Column],
    asked: Sequence[str] | None,
    targets: Sequence[str] | None,
    origin: str,
    notes: list[Finding],
) -> list[Column]:
    """The columns to use: those asked for, else all of numbers; targets are always among them."""
    wanted = [find_column(columns, name, what="target", where=origin) for name in targets or ()]
    if asked is not None:
        used = [find_column(columns, name, what="value", where=origin) for name in asked]
        return used + [column for column in wanted if column not in used]
    used = [column for column in columns if column.numeric or column in wanted]
    left = [column for column in columns if column not in used]
    if left:
        shown = ", ".join(f"{column.name!r} (row {column.rows[0]}: {column.text[0][:20]!r})" for column in left[:5])
        notes.append(remark(f"Columns that are not numeric were left out: {shown}{' …' if len(left) > 5 else ''}."))
    if not used:
        raise DataError(
            "the table has no column of numbers",
            where=origin,
            got="columns " + ", ".join(column.name for column in columns[:20]),
            expected="a time column and one column of numbers at least",
        )
    return used
