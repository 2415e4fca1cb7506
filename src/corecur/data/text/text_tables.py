"""Tables of texts: CSV and TSV files, JSON lines and JSON lists, one sample a row."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corecur.data.gathered import SPLIT_WORDS, SPLITS
from corecur.data.text.text_columns import (
    LABEL_COLUMNS,
    SPLIT_COLUMNS,
    TEXT_COLUMNS,
    find_label_column,
    find_split_column,
    find_text_column,
    named_column,
    no_column,
)
from corecur.data.text.text_files import TextReader
from corecur.data.text.text_parts import GatheredTexts, TextPart
from corecur.errors import DataError
from corecur.finding import remark

DELIMITERS = (",", "\t", ";", "|")
JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})
_LONGEST_FIELD = 2**31 - 1
_LONGEST_HEADING = 40


@dataclass(frozen=True)
class Grid:
    """A table read: the cells of each column, and the line of the file that each row begins or ends on."""

    columns: dict[str, list[str]]
    lines: list[int]


def gather_texts(
    files: Mapping[str, Path],
    reader: TextReader,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    labelled: bool = True,
) -> GatheredTexts:
    """Read the tables of the splits; one file may hold several splits, in a column named split or subset.

    Columns that are not named are found in the training table. A held-out table without labels is left out with a
    note. Raises DataError for ragged rows, repeated headings, and tables without a text or, where ``labelled``, a
    label column.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.csv"); _ = file.write_text('label,review\\n1,"good, really"\\n0,bad\\n')
    ...     gather_texts({"train": file}, TextReader()).parts["train"]
    TextPart(texts=['good, really', 'bad'], labels=['1', '0'], names=['a.csv:2', 'a.csv:3'])
    """
    parts: dict[str, TextPart] = {}
    for split, file in files.items():
        grid = read_grid(file, reader)
        if grid is None:
            continue
        columns = grid.columns
        text = named_column(columns, text_column, what="text", where=file) if text_column else find_text_column(columns)
        if text is None:
            raise no_column(columns, what="text", where=file)
        label = None
        if labelled and not (split != "train" and label_column and label_column not in columns):
            label = label_column and named_column(columns, label_column, what="label", where=file)
            label = label or find_label_column(columns, text_column=text)
        if labelled and label is None:
            if split == "train":
                raise no_column(columns, what="label", where=file)
            reader.notes.append(
                remark(f"{file.name} has no labels: nothing can be measured on it, and it was left out.")
            )
            continue
        text_column, label_column = text, label
        names = [f"{file.name}:{line}" for line in grid.lines]
        part = TextPart(columns[text], None if label is None else columns[label], names)
        divided = _divided(part, columns, file) if len(files) == 1 else None
        parts |= {split: part} if divided is None else divided
    return GatheredTexts("table", parts)


def _divided(part: TextPart, columns: dict[str, list[str]], file: Path) -> dict[str, TextPart] | None:
    """The splits that a column speaks of, or None where there is no such column."""
    name = find_split_column(columns)
    if name is None:
        return None
    words = [SPLIT_WORDS.get(cell.strip().casefold()) for cell in columns[name]]
    if None in words:
        row = words.index(None)
        raise DataError(
            "a row is of no known split",
            where=part.names[row],
            got=repr(columns[name][row]),
            expected="train, validation or test",
        )
    if "train" not in words:
        raise DataError(
            "the table has no row of the train split", where=file, got=", ".join(sorted(set(columns[name])))
        )
    found = {}
    for split in SPLITS:
        rows = [row for row, word in enumerate(words) if word == split]
        if rows:
            labels = None if part.labels is None else [part.labels[row] for row in rows]
            found[split] = TextPart([part.texts[row] for row in rows], labels, [part.names[row] for row in rows])
    return found


def read_grid(file: Path, reader: TextReader) -> Grid | None:
    """The cells of a CSV, TSV or JSON file, or None where the file was set aside. Raises DataError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.jsonl"); _ = path.write_text('{"text": "good", "label": 1}\\n')
    ...     read_grid(path, TextReader()).columns
    {'text': ['good'], 'label': ['1']}
    """
    text = reader.read(file)
    if text is None:
        return None
    if not text.strip():
        raise DataError("the file is empty", where=file, expected="a row for each text, with its label")
    if file.suffix.casefold() in JSON_SUFFIXES:
        return json_grid(text, file, reader)
    return grid_of(text, file, reader)


def grid_of(text: str, file: Path, reader: TextReader) -> Grid:
    """The cells of CSV text; without headings the columns are called column 1, column 2, …

    >>> grid_of("3,how nice\\n1,too long\\n3,again\\n", Path("a.csv"), TextReader()).columns["column 1"]
    ['3', '1', '3']
    """
    rows = _rows(text, file)
    if not rows:
        raise DataError("the file is empty", where=file, expected="a row for each text, with its label")
    width = len(rows[0][1])
    headed = _is_header([cells for _, cells in rows[:200]])
    header = [cell.strip() for cell in rows[0][1]] if headed else [f"column {i + 1}" for i in range(width)]
    repeated = [name for name, count in Counter(map(str.casefold, header)).items() if count > 1 and name]
    if repeated:
        raise DataError(
            "two columns have one name", where=f"{file}:1", got=repeated[0], do="rename or remove one of them"
        )
    header = [name or f"column {place + 1}" for place, name in enumerate(header)]
    kept = []
    for line, cells in rows[headed:]:
        if len(cells) == width:
            kept.append((line, cells))
            continue
        error = DataError(
            "a row of the table has another number of columns",
            where=f"{file}:{line}",
            got=f"{len(cells)} columns",
            expected=f"{width}, as in the first row",
            do="put texts that hold a comma in quotation marks, or set such rows aside with --skip-bad",
        )
        reader.refuse(error, place=f"{file.name}:{line}")
    if not kept:
        raise DataError("the table has a header and no rows", where=file)
    columns = zip(*(cells for _, cells in kept), strict=True)
    return Grid(dict(zip(header, map(list, columns), strict=True)), [line for line, _ in kept])


@contextlib.contextmanager
def _any_length() -> Iterator[None]:
    """The csv module refuses cells above 128 kB; a document may be longer."""
    usual = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(usual)


def _rows(text: str, file: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line of the file it begins on."""
    delimiter = _delimiter(text, file)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows, begins = [], 1
    with _any_length():
        try:
            for cells in reader:
                if len(cells) > 1 or (cells and cells[0].strip()):
                    rows.append((begins, cells))
                begins = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"the table cannot be read: {error}", where=f"{file}:{begins}") from error
    return rows


def _delimiter(text: str, file: Path) -> str:
    """The character that parts the first lines into the same number of cells, two or more; the file's suffix first."""
    if file.suffix.casefold() == ".tsv":
        return "\t"
    start = text[: 2**16].lstrip("\n")
    first = start.partition("\n")[0]
    with _any_length():
        widths = {
            mark: [len(cells) for cells, _ in zip(_csv_rows(start, mark), range(20), strict=False)]
            for mark in DELIMITERS
        }
    even = [mark for mark, found in widths.items() if found and found[0] > 1 and set(found[:-1] or found) == {found[0]}]
    return even[0] if len(even) == 1 else max(even or DELIMITERS, key=first.count)


def _csv_rows(start: str, mark: str) -> Iterator[list[str]]:
    return (cells for cells in csv.reader(io.StringIO(start, newline=""), delimiter=mark) if cells)


def _is_header(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns: a known name, or short different words that no later row repeats."""
    first = [cell.strip() for cell in rows[0]]
    folded = {cell.casefold() for cell in first}
    if folded & {*TEXT_COLUMNS, *LABEL_COLUMNS, *SPLIT_COLUMNS} and len(rows) > 1:
        return True
    if any(not cell or len(cell) > _LONGEST_HEADING or _is_number(cell) for cell in first):
        return False
    later = [{row[place].strip() for row in rows[1:] if place < len(row)} for place in range(len(first))]
    return not any(cell in cells for cell, cells in zip(first, later, strict=True))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def json_grid(text: str, file: Path, reader: TextReader) -> Grid:
    """The values of JSON text, a list of objects or an object a line, as columns named by the keys of the first.

    >>> json_grid('{"text": "good"}', Path("a.jsonl"), TextReader()).lines
    [1]
    """
    whole = file.suffix.casefold() == ".json" and text.lstrip().startswith("[")
    rows: list[tuple[int, dict[str, Any]]] = []
    found = enumerate(_json_list(text, file), 1) if whole else _json_lines(text, file, reader)
    for number, row in found:
        if isinstance(row, dict):
            rows.append((number, row))
            continue
        place = f"{file}:{number}"
        reader.refuse(
            DataError("a row is no JSON object", where=place, expected='{"text": …, "label": …}'), place=place
        )
    if not rows:
        raise DataError("the file has no rows", where=file)
    header = list(rows[0][1])
    kept = []
    for number, row in rows:
        if row.keys() >= set(header):
            kept.append((number, row))
            continue
        missing = next(name for name in header if name not in row)
        error = DataError("a row has not the keys of the first one", where=f"{file}:{number}", got=f"no {missing!r}")
        reader.refuse(error, place=f"{file.name}:{number}")
    columns = {name: [cell_text(row[name]) for _, row in kept] for name in header}
    return Grid(columns, [number for number, _ in kept])


def _json_list(text: str, file: Path) -> list[Any]:
    try:
        found: list[Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the file is no JSON: {error}", where=file) from error
    return found


def _json_lines(text: str, file: Path, reader: TextReader) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            place = f"{file}:{number}"
            reader.refuse(DataError(f"a line is no JSON: {error}", where=place, got=line[:60]), place=place)


def cell_text(value: Any) -> str:
    """A value of a row as text: None and NaN are empty, whole floats are whole numbers, lists of texts are lines.

    >>> cell_text(2.0), cell_text(None), cell_text(["a", "b"]), cell_text(True)
    ('2', '', 'a\\nb', 'true')
    """
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list) and all(isinstance(piece, str) for piece in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
