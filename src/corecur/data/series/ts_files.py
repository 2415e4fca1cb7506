"""``.ts`` files, the format of the UCR and UEA archives (sktime, tsml): a header of @ lines, then a series a line.

A line is its dimensions, parted by colons, and its label; the values of a dimension are parted by commas, a missing
one is ``?``. With ``@timestamps true`` a value is ``(time,value)``. Lengths may differ from line to line.

Shapes: T time, C channels (dimensions).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corecur.data.gathered import one_spelling
from corecur.data.series.plain_text import read_text
from corecur.data.series.recordings import GatheredSeries, Reading, Recording
from corecur.data.series.series_preparation import count
from corecur.errors import DataError, nearest
from corecur.finding import remark

_COLON = re.compile(r":(?![^()]*\))")  # dates between brackets have colons of their own
_STAMPED = re.compile(r"\(\s*(.*?)\s*,\s*([^,()]*)\)")
_NONE = frozenset({"?", "nan", "na", ""})
_SWITCH = {"true": True, "false": False}


@dataclass(frozen=True)
class Header:
    """What the @ lines of a file say; None where they are silent. Labels are None where the series have none."""

    labels: tuple[str, ...] | None
    dimensions: int | None
    equal_length: bool
    length: int | None
    stamped: bool


def gather_ts(source: Path, *, split: str = "train") -> GatheredSeries:
    """Read one ``.ts`` file as one split. A line that breaks the rules is a bad series.

    Raises DataError for a file that is empty, is no text, or has no header, @data line, or series.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.ts").write_text("@classLabel true up down\\n@data\\n1,2,?:up\\n3,2:down")
    ...     found = gather_ts(Path(folder, "a.ts"))
    >>> [one.ravel().tolist() for one in found.parts["train"].series], found.classes
    ([[1.0, 2.0, nan], [3.0, 2.0]], ('up', 'down'))
    """
    header, rows = _parts_of(source, read_text(source, western=True))
    reading, dimensions = Reading(), header.dimensions
    for line, text in rows:
        place = f"{source.name}, row {line}"
        fields = [field.strip() for field in _COLON.split(text)]
        label = one_spelling(fields.pop()) if header.labels is not None and len(fields) > 1 else None
        dimensions = dimensions or len(fields)
        found = _label_objection(header, label) or _series(fields, dimensions, header)
        if isinstance(found, str):
            reading.bad.append((place, found))
        else:
            reading.add(found, label, f"{split}[{len(reading.names)}]")
    if not reading.names and not reading.bad:
        raise DataError("the file has a header and no series", where=source, expected="a series a line after @data")
    channels = tuple(f"dimension {number + 1}" for number in range(dimensions or 1))
    if len(channels) == 1:
        channels = ("value",)
    note = remark("The times of the steps were left out: series are read step by step.")
    return GatheredSeries(
        "ts",
        {split: reading.part()},
        channels,
        header.labels,
        findings=(note,) * header.stamped,
        bad=tuple(reading.bad),
    )


def _parts_of(source: Path, text: str) -> tuple[Header, Iterator[tuple[int, str]]]:
    """The header, and the numbered lines of data."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith(("#", "%"))]
    start = next((place for place, (_, line) in enumerate(lines) if line.casefold() == "@data"), None)
    if start is None:
        raise DataError(
            "the file has no @data line",
            where=source,
            got=lines[0][1][:60] if lines else "comments only",
            expected="@ lines, @data, then a series a line",
        )
    words: dict[str, list[str]] = {}
    for number, line in lines[:start]:
        key, *values = line.split()
        if not key.startswith("@"):
            raise DataError("data before the @data line", where=f"{source}, row {number}", got=line[:60])
        words[key.casefold()] = values
    return _header(source, words), iter(lines[start + 1 :])


def _header(source: Path, words: dict[str, list[str]]) -> Header:
    if "@targetlabel" in words:
        raise DataError(
            "the labels of this file are measured values, not classes", where=source, got="@targetLabel",
            expected="@classLabel true and the class names",
        )  # fmt: skip
    declared = words.get("@classlabel", ["false"])
    has_labels = bool(declared) and _switch(source, "@classLabel", declared[:1])
    if has_labels and not declared[1:]:
        raise DataError("@classLabel is true and names no class", where=source, expected="@classLabel true up down")
    number = words.get("@dimensions", words.get("@dimension"))
    univariate = "@univariate" in words and _switch(source, "@univariate", words["@univariate"])
    equal = "@equallength" in words and _switch(source, "@equalLength", words["@equallength"])
    return Header(
        labels=tuple(dict.fromkeys(map(one_spelling, declared[1:]))) if has_labels else None,
        dimensions=_whole(source, "@dimensions", number) if number is not None else 1 if univariate else None,
        equal_length=equal,
        length=_whole(source, "@seriesLength", words["@serieslength"]) if equal and "@serieslength" in words else None,
        stamped="@timestamps" in words and _switch(source, "@timestamps", words["@timestamps"]),
    )


def _switch(source: Path, name: str, values: list[str]) -> bool:
    value = _SWITCH.get(values[0].casefold()) if values else None
    if value is None:
        raise DataError(f"{name} is neither true nor false", where=source, got=" ".join(values) or "nothing")
    return value


def _whole(source: Path, name: str, values: list[str]) -> int:
    if len(values) != 1 or not values[0].isdecimal() or int(values[0]) < 1:
        raise DataError(f"{name} is no number", where=source, got=" ".join(values) or "nothing", expected="1 or more")
    return int(values[0])


def _label_objection(header: Header, label: str | None) -> str | None:
    if header.labels is None:
        return None
    if not label:
        return "it has no label"
    if label not in header.labels:
        guess = nearest(label, header.labels)
        return f"its label {label!r} is not declared by @classLabel" + (f" (did you mean {guess!r}?)" if guess else "")
    return None


def _series(fields: list[str], dimensions: int, header: Header) -> Recording | str:
    """One series (T, C), or what is wrong with it."""
    if len(fields) != dimensions:
        return f"{count(len(fields), 'dimension')}, not {dimensions}"
    columns = []
    for number, field in enumerate(fields, 1):
        cells = [value for _, value in _STAMPED.findall(field)] if header.stamped else field.split(",")
        try:
            columns.append(_numbers(cells))
        except ValueError as error:
            return f"dimension {number}: {str(error)[:60]}"
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        return f"its dimensions differ in length: {', '.join(map(str, sorted(lengths)))}"
    if header.length is not None and lengths != {header.length}:
        return f"{count(lengths.pop(), 'step')}, not {header.length} as @seriesLength says"
    return np.stack(columns, axis=1)  # (T, C)


def _numbers(cells: list[str]) -> Recording:
    """Cells as (T,) float64; ValueError names the first that is no number."""
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        plain = [cell.strip() for cell in cells]
        return np.array([np.nan if cell.casefold() in _NONE else float(cell) for cell in plain], dtype=np.float64)
