"""A folder with one folder of CSV files for each class: a file is a series, a row a step, a column a channel.

Shapes: T time, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from corecur.data.class_folders import list_folder
from corecur.data.gathered import SPLIT_WORDS, one_spelling
from corecur.data.series.columns import Column
from corecur.data.series.csv_rows import read_sheet
from corecur.data.series.plain_text import first_lines
from corecur.data.series.recordings import GatheredSeries, Reading, Recording
from corecur.data.series.time_stamps import TIME_COLUMNS, are_times
from corecur.errors import DataError
from corecur.finding import remark

SUFFIXES = (".csv", ".tsv", ".txt")
WANTED = "one folder per class with CSV files in it: motions/walk/1.csv, motions/run/2.csv, …"
_CELLS = str.maketrans({"\t": ",", ";": ",", "|": ","})


@dataclass
class _Folders:
    """What is known about the channels so far, and what was left out."""

    channels: tuple[str, ...] | None = None
    left_out: set[str] = field(default_factory=set)


def is_csv_classes(path: Path) -> bool:
    """Whether a folder, or the train folder in it, holds class folders with tables of numbers in them.

    >>> is_csv_classes(Path("no such folder"))
    False
    """
    if not path.is_dir():
        return False
    split = _splits(path)
    folders = list_folder(split["train"] if split else path).folders
    full = [folder for folder in folders if any(folder.iterdir())]
    return len(folders) > 1 and bool(full) and all(_first_are_tables(folder) for folder in full[:5])


def gather_csv_classes(source: Path) -> GatheredSeries:
    """Read a folder of class folders of CSV files, with or without train, validation and test folders around them.

    Columns that hold times are left out. Raises DataError where the folder holds no class folders or no CSV files; a
    file that cannot be read, or has other columns than the first, is a bad series.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("up/1.csv", "down/1.csv"):
    ...         file = Path(folder, name); file.parent.mkdir(); _ = file.write_text("x,y\\n1,2\\n3,4\\n5,6\\n")
    ...     found = gather_csv_classes(Path(folder))
    >>> found.channels, found.parts["train"].names, found.parts["train"].series[0].shape
    (('x', 'y'), ['down/1.csv', 'up/1.csv'], (3, 2))
    """
    splits = _splits(source) or {"train": source}
    folders, parts, bad = _Folders(), {}, []
    for split, folder in sorted(splits.items(), key=lambda item: item[0] != "train"):
        reading = _read_classes(folder, source, folders)
        parts[split] = reading.part()
        bad += reading.bad
    left = ", ".join(sorted(folders.left_out))
    findings = (remark(f"Columns that are no values of the series were left out: {left}."),) if left else ()
    return GatheredSeries("series-folder", parts, folders.channels, findings=findings, bad=tuple(bad))


def read_recording(path: Path, channels: Sequence[str] | None = None) -> tuple[Recording, tuple[str, ...], list[str]]:
    """One CSV file as a series (T, C), the names of its channels, and the columns left out (times, an index).

    ``channels`` asks for these columns, in this order. Raises DataError for a file that is no table of numbers.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.csv").write_text("time,x\\n0,1.5\\n1,2.5\\n")
    ...     series, names, left = read_recording(Path(folder, "a.csv"))
    >>> series.tolist(), names, left
    ([[1.5], [2.5]], ('x',), ['time'])
    """
    columns = read_sheet(path).columns
    if channels is not None and {column.name for column in columns} >= set(channels):
        columns = tuple(next(column for column in columns if column.name == name) for name in channels)
        left: list[str] = []
    else:
        left = [column.name for column in columns if len(columns) > 1 and _is_time(column)]
        columns = tuple(column for column in columns if column.name not in left)
    numbers = [column.numbers(where=path) for column in columns]
    return np.stack(numbers, axis=1), tuple(column.name for column in columns), left


def _is_time(column: Column) -> bool:
    return column.name.casefold() in (*TIME_COLUMNS, "index", "unnamed: 0") or are_times(column.text[:20])


def _first_are_tables(folder: Path) -> bool:
    """Whether one of the first files of a folder, which may have bad ones among them, is a table of numbers."""
    listing = list_folder(folder)
    files = [path for path in listing.others if path.suffix.casefold() in SUFFIXES]
    return not listing.pictures and any(map(_is_table, files[:3]))


def _is_table(file: Path) -> bool:
    """Whether a file is rows of numbers below a header (or none)."""
    rows = [line.translate(_CELLS).split(",") for line in first_lines(file, 4)][1:]
    cells = [cell.strip() for row in rows for cell in row]
    numbers = sum(cell.replace(".", "").replace("-", "").replace("e", "").isdecimal() for cell in cells)
    return len(rows) > 1 and len({len(row) for row in rows}) == 1 and numbers * 2 > len(cells)


def _splits(source: Path) -> dict[str, Path] | None:
    """Folder of each split, or None where the folders are classes."""
    folders = list_folder(source).folders
    named = {SPLIT_WORDS[folder.name.casefold()]: folder for folder in folders if folder.name.casefold() in SPLIT_WORDS}
    if "train" in named and len(named) == len(folders) and list_folder(named["train"]).folders:
        return named
    return None


def _read_classes(folder: Path, source: Path, folders: _Folders) -> Reading:
    reading = Reading()
    for class_folder in list_folder(folder).folders:
        label = one_spelling(class_folder.name)
        files = [path for path in list_folder(class_folder).others if path.suffix.casefold() in SUFFIXES]
        if not files:
            raise DataError("a class folder holds no CSV file", where=class_folder, expected=WANTED)
        for path in files:
            name = one_spelling(path.relative_to(source).as_posix())
            try:
                series, channels, left = read_recording(path, folders.channels)
            except DataError as error:
                reading.bad.append((name, "; ".join(line.strip() for line in str(error).splitlines())))
                continue
            folders.channels = folders.channels or channels
            folders.left_out |= set(left)
            if len(channels) == len(folders.channels):
                reading.add(series, label, name)
            else:
                expected = ", ".join(folders.channels)
                reading.bad.append((name, f"columns {', '.join(channels)}, not {expected} as in the first file"))
    if not reading.names and not reading.bad:
        raise DataError("the folder holds no class folders", where=folder, expected=WANTED)
    return reading
