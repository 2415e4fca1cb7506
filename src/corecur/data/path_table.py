"""A CSV file that names a picture and its label in each row.

Shapes: N rows.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corecur.data.file_bytes import read_bytes
from corecur.data.gathered import SPLIT_WORDS, SPLITS, Gathered, Part, one_spelling
from corecur.errors import DataError
from corecur.finding import Finding

PATH_COLUMNS = ("path", "file", "filename", "image")
LABEL_COLUMNS = ("label", "class", "target", "category")
SPLIT_COLUMNS = ("split", "subset")
DELIMITERS = (",", "\t", ";")
_LONGEST_CELL = 1 << 17
_COPIES = 32  # its cells, rows and paths


@dataclass(frozen=True)
class Row:
    """One row of the file: its line number, the picture, its label and its split."""

    line: int
    path: str
    label: str
    split: str


def gather_table(source: Path) -> Gathered:
    """Read a table of paths (relative to the file, or absolute) and labels, with an optional split column.

    The columns are found by name: path, file, filename or image; label, class, target or category; split or subset.
    Without such names they are the first two, and where the first cell of the file is itself a picture there is no
    header. Missing pictures are bad files; anything wrong with the table raises DataError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "a.png").touch()
    ...     _ = Path(folder, "labels.csv").write_text("path,label\\na.png,cat\\n")
    ...     gather_table(Path(folder, "labels.csv")).parts["train"].names
    ['a.png']
    """
    rows = _read_rows(source)
    bad: list[tuple[Path, str]] = []
    kept: dict[str, list[Row]] = {}
    for row in rows:
        if os.path.isfile(source.parent / row.path):
            kept.setdefault(row.split, []).append(row)
        else:
            what = "not a file" if os.path.exists(source.parent / row.path) else "no such file"
            bad.append((source.parent / row.path, f"{what} (row {row.line})"))
    if bad and not kept:
        raise DataError(
            "none of the pictures in the table exists",
            where=f"{source}, row {rows[0].line}",
            got=rows[0].path,
            expected=f"paths relative to {source.parent}, or absolute ones",
            do="move the CSV file to the folder its paths start from",
        )
    if "train" not in kept:
        raise DataError("the table has no row of the train split", where=source, got=", ".join(sorted(kept)))
    parts = {split: _part(source, kept[split]) for split in SPLITS if split in kept}
    return Gathered("csv", parts, findings=_repeated(rows), bad=tuple(bad))


def _part(source: Path, rows: Sequence[Row]) -> Part:
    return Part(
        [source.parent / row.path for row in rows], np.array([row.label for row in rows]), [row.path for row in rows]
    )


def _repeated(rows: Sequence[Row]) -> tuple[Finding, ...]:
    counts = Counter(row.path for row in rows)
    repeated = [path for path, count in counts.items() if count > 1]
    if not repeated:
        return ()
    verdict = f"{len(repeated):,} pictures stand in the table more than once (the first: {repeated[0]})."
    return (Finding("copies", verdict, tuple(repeated), "keep one row for each picture"),)


def _read_rows(source: Path) -> list[Row]:
    lines = _read_cells(source)
    if not lines:
        raise DataError("the table is empty", where=source, expected="a row for each picture: path,label")
    header = [cell.strip().casefold() for cell in lines[0][1]]
    if len(header) < 2:
        raise DataError(
            "the table has one column",
            where=source,
            got=lines[0][1][0][:80],
            expected="a path and a label in each row, parted by a comma, a semicolon or a tab",
        )
    # A file that names a picture in its first cell has no header.
    has_header = not os.path.isfile(source.parent / lines[0][1][0].strip())
    path_at, label_at, split_at = _columns(source, header) if has_header else (0, 1, None)
    rows = [_row(source, line, cells, path_at, label_at, split_at, len(header)) for line, cells in lines[has_header:]]
    if not rows:
        raise DataError("the table has a header and no rows", where=source)
    return rows


def _read_cells(source: Path) -> list[tuple[int, list[str]]]:
    """The lines of a CSV file that are not blank, each with its number."""
    try:
        text = read_bytes(source, copies=_COPIES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("the table is not UTF-8 text", where=source, do="save it again as “CSV UTF-8”") from error
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    usual = csv.field_size_limit(_LONGEST_CELL)  # of the whole process, and other libraries change it
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise DataError(f"the table cannot be read: {error}", where=f"{source}, row {reader.line_num}") from error
    finally:
        csv.field_size_limit(usual)


def _columns(source: Path, header: list[str]) -> tuple[int, int, int | None]:
    """Positions of the path, label and split columns."""
    repeated = [name for name, count in Counter(header).items() if count > 1 and name]
    if repeated:
        raise DataError("two columns have one name", where=source, got=repeated[0], do="rename or remove one of them")
    path_at, label_at, split_at = (_find(header, names) for names in (PATH_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS))
    if path_at is None and label_at is None:
        return 0, 1, split_at
    if path_at is None or label_at is None:
        what, names = ("path", PATH_COLUMNS) if path_at is None else ("label", LABEL_COLUMNS)
        raise DataError(
            f"the table has no {what} column",
            where=source,
            got="columns " + ", ".join(header),
            expected="one named " + ", ".join(names),
            do="rename the column",
        )
    return path_at, label_at, split_at


def _find(header: list[str], names: tuple[str, ...]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _row(
    source: Path, line: int, cells: list[str], path_at: int, label_at: int, split_at: int | None, width: int
) -> Row:
    where = f"{source}, row {line}"
    if len(cells) != width:
        raise DataError(
            "a row of the table has another number of columns",
            where=where,
            got=f"{len(cells)} cells",
            expected=f"{width}, as in the first row",
            do="put cells that hold a comma in quotation marks",
        )
    path, label = cells[path_at].strip(), one_spelling(cells[label_at].strip())
    if not path or not label:
        raise DataError(
            f"a row has no {'path' if not path else 'label'}", where=where, do="fill it in, or remove the row"
        )
    word = "train" if split_at is None else cells[split_at].strip()
    split = SPLIT_WORDS.get(word.casefold())
    if split is None:
        raise DataError("a row is of no known split", where=where, got=repr(word), expected="train, validation or test")
    return Row(line, path, label, split)
