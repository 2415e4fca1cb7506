"""A CSV file as columns of text: comma, tab, semicolon or bar; with a header or without one."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from corecur.data.series.columns import MISSING, Column
from corecur.data.series.plain_text import read_text
from corecur.data.series.time_stamps import could_be_time
from corecur.errors import DataError
from corecur.finding import Finding, remark

DELIMITERS = (",", "\t", ";", "|")


@dataclass(frozen=True)
class Sheet:
    """A table in a file: its columns, and whether its first row names them."""

    columns: tuple[Column, ...]
    named: bool

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is odd about its form.

        >>> Sheet((), named=True).findings
        ()
        """
        names = ", ".join(column.name for column in self.columns[:3]) + (" …" if len(self.columns) > 3 else "")
        return () if self.named else (remark(f"The table has no header; its columns are called {names}."),)


def read_sheet(source: Path) -> Sheet:
    """Read a CSV file. Rows count from 1, the header included.

    Raises DataError for a file that is empty or no text, a row with another number of cells, two columns of one name,
    a header without rows.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.csv").write_text("day,sales\\n2020-01-01,3\\n2020-01-02,4\\n")
    ...     [column.name for column in read_sheet(Path(folder, "a.csv")).columns]
    ['day', 'sales']
    """
    return sheet_of(read_text(source), where=source)


def sheet_of(text: str, *, where: object) -> Sheet:
    """The table in a CSV text; raises DataError like `read_sheet`.

    >>> sheet_of("1,2\\n3,4", where="standard input").named
    False
    """
    lines = _lines(text, where)
    width = len(lines[0][1])
    for row, cells in lines:
        if len(cells) != width:
            raise DataError(
                "a row of the table has another number of columns",
                where=f"{where}, row {row}",
                got=f"{len(cells)} cells",
                expected=f"{width}, as in the first row",
                do="put cells that hold the separator in quotation marks, or mend the row",
            )
    named = _is_header([cell.strip() for cell in lines[0][1]])
    body = lines[1:] if named else lines
    if not body:
        raise DataError("the table has a header and no rows", where=where)
    rows = [row for row, _ in body]
    columns = [[line[place] for _, line in body] for place in range(width)]
    names = [name.strip() for name in lines[0][1]] if named else [f"column {number + 1}" for number in range(width)]
    kept = [place for place, name in enumerate(names) if name or any(cell.strip() for cell in columns[place])]
    _refuse_repeated(Counter(names[place] for place in kept), where)
    comma = ";" in text[:2000] and _delimiter(text) == ";"
    return Sheet(tuple(Column(names[place] or "index", columns[place], rows, comma) for place in kept), named)


def _lines(text: str, where: object) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, each with its number."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise DataError(f"the table cannot be read: {error}", where=f"{where}, row {reader.line_num}") from error
    if not lines:
        raise DataError("the file is empty", where=where, expected="a row of names, then rows of values")
    return lines


def _delimiter(text: str) -> str:
    first = text.lstrip("\r\n").partition("\n")[0]
    return max(DELIMITERS, key=first.count)


def _is_header(cells: list[str]) -> bool:
    """Whether a first row is names: it is data where every cell is a number, a time or missing, and one is a number."""
    counted = cells[1:] if not cells[0] else cells
    if len(counted) > 1 and counted == [str(number) for number in range(len(counted))]:
        return True  # the names that pandas gives: 0, 1, 2, …
    return not (any(map(_is_number, cells)) and all(_is_value(cell) for cell in cells))


def _is_value(cell: str) -> bool:
    return _is_number(cell) or cell.casefold() in MISSING or could_be_time(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _refuse_repeated(names: Iterable[str] | Counter[str], where: object) -> None:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise DataError(
            "two columns have one name", where=where, got=repr(repeated[0]), do="rename or remove one of them"
        )
