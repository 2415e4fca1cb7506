"""``.arff`` files (Weka) of series: a column a step, or one relational column that holds a line for each channel.

A missing value is ``?``. Both archives pad short series with missing values at the end, which are taken off again.

Shapes: T time, C channels.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corecur.data.gathered import one_spelling
from corecur.data.series.gaps import without_tail
from corecur.data.series.plain_text import read_text
from corecur.data.series.recordings import GatheredSeries, Reading, Recording
from corecur.data.series.series_preparation import count
from corecur.errors import DataError, nearest

_ATTRIBUTE = re.compile(r"""@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+)\s+(.+)""", re.IGNORECASE)
_NUMERIC = frozenset({"numeric", "real", "integer"})


@dataclass(frozen=True)
class Attributes:
    """The columns of a file: how many numbers before the label, whether they are one relational value, the classes."""

    steps: int
    relational: bool
    label_at: int | None
    classes: tuple[str, ...] | None

    @property
    def width(self) -> int:
        """Cells in a row."""
        return (1 if self.relational else self.steps) + (self.label_at is not None)


def gather_arff(source: Path, *, split: str = "train") -> GatheredSeries:
    """Read one ``.arff`` file as one split. A row that breaks the rules is a bad series.

    Raises DataError for a file that is empty, is no text, is sparse, or has no @data line or other columns than numbers
    and one list of classes.

    >>> import tempfile
    >>> columns = "@relation a\\n@attribute a0 real\\n@attribute a1 real\\n@attribute c {up,down}\\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.arff").write_text(columns + "@data\\n1,2,up\\n2,?,down\\n")
    ...     found = gather_arff(Path(folder, "a.arff"))
    >>> [one.ravel().tolist() for one in found.parts["train"].series], found.parts["train"].labels.tolist()
    ([[1.0, 2.0], [2.0]], ['up', 'down'])
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_text(source, western=True).splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("%")]
    start = next((place for place, (_, line) in enumerate(lines) if line.casefold() == "@data"), None)
    if start is None:
        raise DataError("the file has no @data line", where=source, got=lines[0][1][:60] if lines else "comments only")
    attributes = _attributes(source, lines[:start])
    reading, channels = Reading(), 0 if attributes.relational else 1
    for line, text in lines[start + 1 :]:
        if text.startswith("{"):
            raise DataError("sparse ARFF files are not read", where=f"{source}, row {line}", do="save it as plain ARFF")
        found = _row(text, attributes)
        if not isinstance(found, str):
            series, label = found
            channels = channels or series.shape[1]
            if series.shape[1] == channels:
                reading.add(series, label, f"{split}[{len(reading.names)}]")
                continue
            found = f"{count(series.shape[1], 'dimension')}, not {channels}"
        reading.bad.append((f"{source.name}, row {line}", found))
    if not reading.names and not reading.bad:
        raise DataError("the file has a header and no series", where=source, expected="a series a line after @data")
    names = ("value",) if channels == 1 else tuple(f"dimension {number + 1}" for number in range(channels))
    return GatheredSeries("arff", {split: reading.part()}, names, attributes.classes, bad=tuple(reading.bad))


def _attributes(source: Path, lines: list[tuple[int, str]]) -> Attributes:
    kinds: list[tuple[int, str]] = []
    inside, relational = False, False
    for number, line in lines:
        lowered = line.casefold()
        if lowered.startswith("@end"):
            inside = False
        elif lowered.startswith("@attribute") and not inside:
            match = _ATTRIBUTE.match(line)
            if match is None:
                raise DataError("this is no attribute", where=f"{source}, row {number}", got=line[:60])
            kinds.append((number, match[2].strip()))
            if match[2].strip().casefold() == "relational":
                inside = relational = True
    label_at = [place for place, (_, kind) in enumerate(kinds) if kind.startswith("{")]
    others = [
        (number, kind)
        for number, kind in kinds
        if not kind.startswith("{") and kind.casefold().split()[0] not in (_NUMERIC | {"relational"})
    ]
    if others or len(label_at) > 1 or (relational and len(kinds) - len(label_at) != 1):
        number, kind = others[0] if others else kinds[label_at[0]] if label_at else kinds[0]
        raise DataError(
            "these columns are not those of series",
            where=f"{source}, row {number}",
            got=kind[:60],
            expected="a numeric column for each step (or one relational column), and one list of classes",
        )
    if not kinds or len(kinds) == len(label_at):
        raise DataError("the file has no columns of numbers", where=source)
    classes = _classes(kinds[label_at[0]][1]) if label_at else None
    return Attributes(len(kinds) - len(label_at), relational, label_at[0] if label_at else None, classes)


def _cells(text: str) -> list[str]:
    """The cells of a row; ARFF knows both quotation marks and the backslash."""
    mark = "'" if text.lstrip().startswith("'") or ("'" in text and '"' not in text) else '"'
    reader = csv.reader(io.StringIO(text, newline=""), quotechar=mark, escapechar=None, skipinitialspace=True)
    return [cell.strip() for cell in next(reader)]


def _classes(kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one_spelling(cell.strip("'\" ")) for cell in _cells(kind.strip("{} \t"))))


def _row(text: str, attributes: Attributes) -> tuple[Recording, str | None] | str:
    """One series (T, C) and its label, or what is wrong with them."""
    try:
        cells = _cells(text)
    except csv.Error as error:
        return str(error)
    if len(cells) != attributes.width:
        return f"{count(len(cells), 'value')}, not {attributes.width}"
    label = None
    if attributes.label_at is not None and attributes.classes is not None:
        label = one_spelling(cells.pop(attributes.label_at).strip("'\""))
        if label not in attributes.classes:
            guess = nearest(label, attributes.classes)
            return f"its label {label!r} is not declared" + (f" (did you mean {guess!r}?)" if guess else "")
    rows = cells[0].replace("\\n", "\n").split("\n") if attributes.relational else [",".join(cells)]
    lines = [line.split(",") for line in rows]
    if len({len(line) for line in lines}) > 1:
        return "its dimensions differ in length"
    try:
        numbers = [[np.nan if cell.strip() == "?" else float(cell) for cell in line] for line in lines]
    except ValueError as error:
        return str(error)[:60]
    return without_tail(np.array(numbers, dtype=np.float64).T), label  # (T, C)
