"""Whether a source is a table over time, told from its first rows."""

from __future__ import annotations

import os
import re
from pathlib import Path

from corecur.data.series.columns import Column
from corecur.data.series.csv_rows import sheet_of
from corecur.data.series.plain_text import first_lines
from corecur.data.series.series_samples import SERIES_SAMPLES
from corecur.data.series.time_choice import TimeChoice, choose_times
from corecur.data.series.time_stamps import could_be_time
from corecur.errors import DataError

_SUFFIXES = (".csv", ".tsv", ".txt")
_LINES = 60
# Where a row is ragged or a time is wrong, the rows before it say what the table is.
_FEWER = (20, 6, 2)
_CLASSES = frozenset({"label", "labels", "class", "classes", "category", "activity", "split", "subset"})
# Words in a cell from which a column holds texts.
_WORDS = 4


def holds_time_table(source: str | os.PathLike[str]) -> bool:
    """Whether a path or a sample name holds values over time: a column of times and one of numbers, and no classes.

    A table that is ragged further down still counts; reading it says what is wrong.

    >>> holds_time_table("demand"), holds_time_table("waves"), holds_time_table("no such file.csv")
    (True, False, False)
    """
    if isinstance(source, str) and source in set(SERIES_SAMPLES):
        return SERIES_SAMPLES[source].task == "forecast"
    path = Path(source).expanduser()
    if path.suffix.casefold() not in _SUFFIXES or not path.is_file():
        return False
    lines = first_lines(path, _LINES)
    chosen = next((found for count in (len(lines), *_FEWER) if (found := _times_in(lines[:count], path))), None)
    if chosen is None:
        return _looks_like(lines[:2])
    if chosen.times is None or any(_says_otherwise(column) for column in chosen.others):
        return False
    return any(column.numeric for column in chosen.others)


def _times_in(lines: list[str], path: Path) -> TimeChoice | None:
    try:
        return choose_times(sheet_of("\n".join(lines), where=path).columns, None, where=path)
    except DataError:
        return None


def _looks_like(lines: list[str]) -> bool:
    """Whether the row under a header that cannot be read holds a time and a number."""
    cells = [cell.strip(' "') for cell in re.split("[,;\\t|]", lines[-1])] if len(lines) == 2 else []
    return any(map(could_be_time, cells)) and any(re.fullmatch(r"[-+]?\d+([.]\d*)?", cell) for cell in cells)


def _says_otherwise(column: Column) -> bool:
    """Whether a column makes the table one of something else: classes of rows, or texts."""
    if column.numeric:
        return False
    return column.name.casefold() in _CLASSES or any(len(cell.split()) >= _WORDS for cell in column.text)
