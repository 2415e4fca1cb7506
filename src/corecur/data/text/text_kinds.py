"""Which kind of text source a path is, told cheaply from names and first lines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from corecur.data.class_folders import list_folder
from corecur.data.file_bytes import source_path
from corecur.data.text.conll import conll_kind
from corecur.data.text.labelled_lines import are_labelled_lines, has_letters
from corecur.data.text.split_files import data_files
from corecur.data.text.text_columns import find_label_column, find_text_column
from corecur.data.text.text_files import TextReader, decode_text
from corecur.data.text.text_folders import TEXT_SUFFIXES, is_text_file, is_text_folder
from corecur.data.text.text_tables import JSON_SUFFIXES, Grid, grid_of, json_grid, read_grid
from corecur.errors import DataError
from corecur.names import Table

TEXT_SAMPLES: Table[str] = Table("text sample", {"pydoc": "Python's own documentation texts, by topic"})
_TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
_CONLL_SUFFIXES = frozenset({".conll", ".iob", ".iob2", ".bio", ".bioes"})
# Other files of text: no suffix, .txt, or a word that says which part of a set it is (set.train, set.all).
_PLAIN = TEXT_SUFFIXES | {".all", ".train", ".dev", ".valid", ".test", ".annotated", ".data", ".utf8"}
_BYTES = 2**16
_JSON_AT_MOST = 64 * 2**20
_FOLDERS_DEEP = 2


def text_kind(source: str | os.PathLike[str]) -> str | None:
    """The kind of text source a path or name is, or None where it is none.

    ``folder`` (class folders of text files), ``table`` (CSV, TSV, JSON lines of texts and labels), ``lines`` (a label
    and a text on each), ``corpus`` (plain text, lists of poems), ``conll``, ``conllu``, ``sample``. A folder is what
    its files are; a name without a file (``data/TREC`` beside ``data/TREC.train.all``) is what the files are whose
    names begin so. Pictures, tables of numbers and time series are None. Raises DataError for a folder that may not
    be read.

    >>> text_kind("pydoc"), text_kind("no such thing")
    ('sample', None)
    """
    if isinstance(source, str) and source in TEXT_SAMPLES:
        return "sample"
    if not os.fspath(source):
        return None
    path = source_path(source)
    if path.is_file():
        return _kind_of_file(path)
    if path.is_dir() and list_folder(path).folders and is_text_folder(path):
        return "folder"
    return _kind_of_files(path, data_files(path), _FOLDERS_DEEP)


def _kind_of_files(path: Path, files: Sequence[Path], deep: int) -> str | None:
    """The one kind that the files of a folder have; a folder with anything else in it is none."""
    if not files:
        folders = list_folder(path).folders if path.is_dir() and deep else ()
        kinds = {_kind_of_files(folder, data_files(folder), deep - 1) for folder in folders[:4]}
        return "corpus" if kinds == {"corpus"} else None
    tagged = [file for file in files if file.suffix.casefold() in {".conllu", *_CONLL_SUFFIXES}]
    tables = [file for file in files if file.suffix.casefold() in _TABLE_SUFFIXES | {".jsonl", ".ndjson"}]
    chosen = tagged or tables or list(files)
    if not tagged and not tables and any(not _may_be_text(file) for file in files):
        return None
    kinds = {_kind_of_file(file) for file in chosen[:3]}
    return kinds.pop() if len(kinds) == 1 else None


def _may_be_text(file: Path) -> bool:
    suffix = file.suffix.casefold()
    return suffix in _PLAIN or suffix in JSON_SUFFIXES or is_text_file(file)


def _kind_of_file(file: Path) -> str | None:
    suffix = file.suffix.casefold()
    if suffix in _TABLE_SUFFIXES or suffix in JSON_SUFFIXES:
        return _kind_of_table(file)
    if suffix not in _PLAIN | _CONLL_SUFFIXES | {".conllu"} and not is_text_file(file):
        return None
    start = _start(file)
    if start is None:
        return None
    lines = start.split("\n")
    found = conll_kind(lines)
    if found is not None or suffix == ".conllu" or suffix in _CONLL_SUFFIXES:
        return found or ("conllu" if suffix == ".conllu" else "conll")
    if are_labelled_lines(lines):
        return "lines"
    worded = [has_letters(line) for line in lines if line.strip()]
    return "corpus" if worded and sum(worded) >= len(worded) / 2 else None


def _start(file: Path) -> str | None:
    """The first whole lines of a file, or None where they are no text."""
    try:
        if not file.is_file():  # a pipe would block
            return None
        with file.open("rb") as opened:
            data = opened.read(_BYTES)
        end = data.rfind(b"\n") if len(data) == _BYTES else -1
        whole = data[: end + 1] if end >= 0 else data
        if len(data) == _BYTES and end < 0:  # one line without an end: cut between characters
            return whole.decode("utf-8", errors="ignore")
        return decode_text(whole, where=file)[0]
    except (OSError, DataError):
        return None


def _kind_of_table(file: Path) -> str | None:
    """``table`` where a column holds texts; a JSON list of texts without labels, or of poems, is a ``corpus``."""
    whole = file.suffix.casefold() == ".json"
    try:
        grid = _whole_grid(file) if whole else _first_rows(file)
    except DataError:
        return None
    if grid is None:
        return None
    text_column = find_text_column(grid.columns)
    if whole and "paragraphs" in grid.columns:
        return "corpus"
    if text_column is None:
        return None
    return "corpus" if whole and find_label_column(grid.columns, text_column=text_column) is None else "table"


def _whole_grid(file: Path) -> Grid | None:
    """JSON cannot be read in part."""
    return read_grid(file, TextReader(skip_bad=True)) if file.stat().st_size <= _JSON_AT_MOST else None


def _first_rows(file: Path) -> Grid | None:
    start = _start(file)
    if start is None:
        return None
    read = json_grid if file.suffix.casefold() in JSON_SUFFIXES else grid_of
    return read(start, file, TextReader(skip_bad=True))
