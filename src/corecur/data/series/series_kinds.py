"""What series a path is for, told from names and first lines alone: classification, forecast, or neither."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from corecur.data.numpy_files import array_headers
from corecur.data.path_table import PATH_COLUMNS
from corecur.data.pictures import SUFFIXES
from corecur.data.series.columns import Column, first_named
from corecur.data.series.csv_class_folders import is_csv_classes
from corecur.data.series.csv_rows import sheet_of
from corecur.data.series.label_first import is_label_first
from corecur.data.series.panels import ID_COLUMNS, LABEL_COLUMNS
from corecur.data.series.plain_text import first_lines
from corecur.data.series.problem_files import is_problem_folder
from corecur.data.series.series_arrays import PAIRS, labels_beside
from corecur.data.series.series_samples import SERIES_SAMPLES
from corecur.data.series.signal_folders import is_signal_folder
from corecur.data.series.time_stamps import TIME_COLUMNS, could_be_time
from corecur.errors import DataError

_ROWS = 50
# Columns whose cells are sentences, whatever else the table holds.
_TEXT_COLUMNS = frozenset({"text", "sentence", "review", "comment", "document", "body", "content", "message", "tweet"})
_WORDS = re.compile(r"[^\W\d_]{2,}")


def series_kind(source: str | os.PathLike[str]) -> str | None:
    """``"classification"``, ``"forecast"`` or None, for a path or a sample name; reads no more than first lines.

    Classification: ``.ts``, ``.arff``, UCR's ``.tsv``, folders of NAME_TRAIN and NAME_TEST, folders of classes of CSV
    files, UCI's signals, panels with ids and labels, arrays of series with labels. Forecast: tables with times and
    numbers, arrays of values over time. Pictures, texts and tables of either are None.

    >>> series_kind("waves"), series_kind("demand"), series_kind("no such file.csv")
    ('classification', 'forecast', None)
    """
    if isinstance(source, str) and source in SERIES_SAMPLES:
        return SERIES_SAMPLES[source].task
    path = Path(source).expanduser()
    if path.is_dir():
        folders = (is_signal_folder, is_problem_folder, is_csv_classes)
        return "classification" if any(recognises(path) for recognises in folders) else None
    if not path.is_file():
        return None
    suffix = path.suffix.casefold()
    if suffix in (".ts", ".arff"):
        return _header_kind(path)
    if suffix in (".npz", ".npy"):
        return _array_kind(path)
    if suffix in (".csv", ".tsv", ".txt"):
        return _table_kind(path)
    return None


def _header_kind(path: Path) -> str | None:
    """A ``.ts`` file may be a video or a program; a series begins with @ lines, after comments."""
    lines = [line.strip() for line in first_lines(path, 1000) if not line.strip().startswith(("#", "%"))]
    return "classification" if lines and lines[0].startswith("@") else None


def _table_kind(path: Path) -> str | None:
    if path.suffix.casefold() != ".csv" and is_label_first(path):
        return "classification"
    lines = first_lines(path, _ROWS)
    try:
        columns = sheet_of("\n".join(lines), where=path).columns if lines else ()
    except DataError:
        return None
    names = {column.name.casefold() for column in columns}
    if names & (set(PATH_COLUMNS) | _TEXT_COLUMNS) or any(_is_prose(column) for column in columns):
        return None
    numeric = [column for column in columns if column.numeric]
    times = first_named(columns, TIME_COLUMNS)
    dated = [column for column in columns if all(could_be_time(cell) for cell in column.text[:_ROWS])]
    ids, labels = first_named(columns, ID_COLUMNS), first_named(columns, LABEL_COLUMNS)
    special = {column.name for column in (ids, labels, times, *dated) if column is not None}
    values = [column for column in numeric if column.name not in special]
    is_timed = bool(dated) or (times is not None and times.numeric)
    others = [column for column in numeric if column not in dated and column is not times]
    if ids is not None and labels is not None and values and _labels_series(ids, labels):
        return "classification"
    spread = {"year", "month"} <= names and len(numeric) > 2
    return "forecast" if spread or (is_timed and others) else None


def _is_prose(column: Column) -> bool:
    """Whether cells are texts or files of pictures: several words, Chinese characters, or a picture's suffix."""
    cells = column.text[:_ROWS]
    texts = sum(len(_WORDS.findall(cell)) > 3 or len(cell) > 60 for cell in cells)
    pictures = sum(Path(cell).suffix.casefold() in SUFFIXES for cell in cells if len(cell) < 1000)
    return pictures > 0 or texts * 5 > len(cells)


def _labels_series(ids: Column, labels: Column) -> bool:
    """Whether ids stand in several rows, as those of series do, each with one label: values to forecast change."""
    pairs = set(zip(ids.text, labels.text, strict=True))
    return len({name for name, _ in pairs}) == len(pairs) < len(ids)


def _array_kind(path: Path) -> str | None:
    """By the shapes in the headers: series are (N, T) or (N, T, C) with labels; bytes and squares are pictures."""
    try:
        headers = array_headers(path)
    except DataError:
        return None
    if path.suffix.casefold() == ".npy":
        shape, dtype = headers[""]
        if labels_beside(path) is not None:
            return "classification" if _like_series(shape, dtype) else None
        return "forecast" if _like_table(shape, dtype) else None
    for series, labels in PAIRS["train"]:
        if series in headers and labels in headers:
            return "classification" if _like_series(*headers[series]) else None
    values = next((headers[name] for name in ("values", "data", "series") if name in headers), None)
    return "forecast" if values is not None and _like_table(*values) else None


def _like_series(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    if dtype == np.uint8 or dtype.kind not in "fi":
        return False
    return len(shape) == 2 or (len(shape) == 3 and shape[1] != shape[2])


def _like_table(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "fi" and dtype != np.uint8 and (len(shape) == 1 or (len(shape) == 2 and shape[0] > shape[1]))
