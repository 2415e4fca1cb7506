"""Named columns of a table, and their cells as numbers.

Shapes: N rows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.data.check import MISSING_WORDS
from corecur.errors import DataError, nearest

#: How tables spell a value that is not there.
MISSING = MISSING_WORDS | {"", "?", "-", "--", "."}


@dataclass(frozen=True)
class Column:
    """A column: its cells as text or an array (N,), and the row of the source that each stands in."""

    name: str
    cells: Sequence[str] | NDArray[Any]
    rows: Sequence[int]
    decimal_comma: bool = False

    def __len__(self) -> int:
        return len(self.cells)

    @functools.cached_property
    def text(self) -> list[str]:
        """The cells as text."""
        return [str(cell).strip() for cell in self.cells]

    def parsed(self) -> tuple[NDArray[np.float64], list[int]]:
        """The cells as (N,) float64, NaN where one is missing, and the places of those that are no numbers.

        >>> Column("x", ["1", "", "a"], [2, 3, 4]).parsed()
        (array([ 1., nan, nan]), [2])
        """
        if isinstance(self.cells, np.ndarray) and self.cells.dtype.kind in "fiub":
            return self.cells.astype(np.float64), []
        text = self.text
        if self.decimal_comma:
            text = [cell.replace(",", ".") for cell in text]
        try:
            return np.array(text, dtype=np.float64), []
        except ValueError:
            numbers, wrong = np.full(len(text), np.nan), []
        for place, cell in enumerate(text):
            try:
                numbers[place] = float(cell)
            except ValueError:
                if cell.casefold() not in MISSING:
                    wrong.append(place)
        return numbers, wrong

    @property
    def numeric(self) -> bool:
        """Whether more than half of the cells that are there are numbers, and one at least."""
        numbers, wrong = self.parsed()
        return int(np.isfinite(numbers).sum()) > len(wrong)

    def numbers(self, *, where: object) -> NDArray[np.float64]:
        """The cells as (N,) float64, NaN where one is missing; raises DataError that names the first wrong one.

        >>> Column("x", ["1", "NA"], [2, 3]).numbers(where="a.csv").tolist()
        [1.0, nan]
        """
        numbers, wrong = self.parsed()
        if wrong:
            cell = str(self.cells[wrong[0]])
            comma = cell.replace(",", "").replace(".", "").strip("-+ ").isdecimal()
            others = f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
            raise DataError(
                f"the column {self.name!r} is not numeric",
                where=f"{where}, row {self.rows[wrong[0]]}",
                got=f"{cell[:40]!r}{others}",
                expected="a number, or an empty cell where it is missing",
                do="write numbers as 1234.5" if comma else "mend the cell, or leave the column out",
            )
        infinite = np.flatnonzero(np.isinf(numbers))
        if len(infinite):
            raise DataError(
                f"the column {self.name!r} has infinite numbers",
                where=f"{where}, row {self.rows[int(infinite[0])]}",
                got=f"{len(infinite):,} of {len(numbers):,} cells",
                do="leave these cells empty, so that they count as missing, or mend them",
            )
        return numbers


def find_column(columns: Sequence[Column], name: str, *, what: str, where: object) -> Column:
    """The column of that name; raises DataError that lists the others, with the nearest.

    >>> find_column([Column("x", ["1"], [2])], "X", what="value", where="a.csv").name
    'x'
    """
    known = {column.name: column for column in columns}
    folded = {column.name.casefold(): column for column in columns}
    found = known.get(name) or folded.get(name.casefold())
    if found is None:
        guess = nearest(name, known)
        raise DataError(
            f"the table has no {what} column {name!r}",
            where=where,
            got="columns " + ", ".join(list(known)[:20]) + (" …" if len(known) > 20 else ""),
            do=f"did you mean {guess!r}?" if guess else "name one of these columns",
        )
    return found


def first_named(columns: Sequence[Column], names: Sequence[str]) -> Column | None:
    """The first column that has one of these names, in the order of the names.

    >>> first_named([Column("Date", ["1"], [2])], ["time", "date"]).name
    'Date'
    """
    folded = {column.name.casefold(): column for column in columns}
    return next((folded[name] for name in names if name in folded), None)
