"""UCR's ``.tsv`` and ``.txt`` files: a series a line, its label first, then its values; no header.

Values are parted by tabs, commas or blanks. Short series end in NaN, which is taken off again.

Shapes: T time.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from corecur.data.series.gaps import without_tail
from corecur.data.series.plain_text import first_lines, read_text
from corecur.data.series.recordings import GatheredSeries, Reading
from corecur.data.series.series_preparation import count
from corecur.errors import DataError

SEPARATOR = re.compile(r"[,;\t]|\s+")
_NONE = frozenset({"", "?", "nan", "na"})


def gather_label_first(source: Path, *, split: str = "train") -> GatheredSeries:
    """Read one file as one split. A line that breaks the rules is a bad series.

    Raises DataError for a file that is empty or no text, or whose lines have one value or none after the label.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.tsv").write_text("1\\t0.5\\t0.7\\n-1\\t0.1\\tNaN\\n")
    ...     part = gather_label_first(Path(folder, "a.tsv")).parts["train"]
    >>> part.labels.tolist(), [one.ravel().tolist() for one in part.series]
    (['1', '-1'], [[0.5, 0.7], [0.1]])
    """
    reading, width = Reading(), 0
    for line, text in enumerate(read_text(source).splitlines(), 1):
        if not text.strip():
            continue
        cells = [cell.strip() for cell in SEPARATOR.split(text.strip())]
        width = width or len(cells)
        place = f"{source.name}, row {line}"
        if width < 3:
            raise DataError(
                "the lines are too short to be series",
                where=f"{source}, row {line}",
                got=text.strip()[:60],
                expected="a label and its values in each line, parted by tabs",
            )
        if len(cells) != width:
            reading.bad.append((place, f"{count(len(cells), 'value')}, not {width} as in the first row"))
            continue
        try:
            numbers = [np.nan if cell.casefold() in _NONE else float(cell) for cell in cells[1:]]
        except ValueError as error:
            reading.bad.append((place, str(error)[:60]))
            continue
        label = label_word(cells[0])
        if label is None:
            reading.bad.append((place, "it has no label"))
        else:
            series = without_tail(np.array(numbers, dtype=np.float64)[:, None])  # (T, 1)
            reading.add(series, label, f"{split}[{len(reading.names)}]")
    return GatheredSeries("tsv", {split: reading.part()}, ("value",), bad=tuple(reading.bad))


def is_label_first(path: Path) -> bool:
    """Whether the first lines of a file are each a label and numbers, the same number of them.

    A first column of numbers that always rise counts the rows or is a time, and no label.

    >>> is_label_first(Path("no such file"))
    False
    """
    rows = [SEPARATOR.split(line.strip()) for line in first_lines(path, 50)]
    if not rows or len({len(row) for row in rows}) > 1 or len(rows[0]) < 3:
        return False
    if not all(_is_number(cell) for row in rows for cell in row[1:]):
        return False
    first = [float(row[0]) for row in rows if _is_number(row[0]) and row[0].casefold() not in _NONE]
    return len(first) < max(3, len(rows)) or any(after <= before for before, after in pairwise(first))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.casefold() in _NONE
    return True


def label_word(cell: str) -> str | None:
    """A label as it is called: ``1.0000000e+00`` is class ``1``; None where there is none.

    >>> label_word("1.0000000e+00"), label_word("walk"), label_word("?")
    ('1', 'walk', None)
    """
    if cell.casefold() in _NONE:
        return None
    try:
        number = float(cell)
    except ValueError:
        return cell
    return str(int(number)) if number.is_integer() else cell
