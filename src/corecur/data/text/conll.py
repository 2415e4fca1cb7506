"""CoNLL files: a word and its tag on each line, a blank line between sentences; and CoNLL-U, with ten columns.

CoNLL-U: https://universaldependencies.org/format.html. Lines of a comment, of a word range (1-2) and of an empty node
(1.1) are no words of the sentence; the tag is the universal part of speech.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from corecur.data.text.tagged_sets import TaggedSet
from corecur.data.text.text_files import TextReader
from corecur.errors import DataError

_BIO = re.compile(r"O$|[BIESLU][-_]\S+$")
_DOCUMENT = "-DOCSTART-"
_FORM, _UPOS, _COLUMNS = 1, 3, 10


def conll_kind(lines: Sequence[str]) -> str | None:
    """``conllu``, ``conll`` or None, by the first lines of a file.

    >>> conll_kind(["EU\\tB-ORG", "rejects\\tO", "", "Peter\\tB-PER"]), conll_kind(["To be, or", "not to be"])
    ('conll', None)
    """
    rows = [line for line in lines if line.strip() and not line.startswith(("#", _DOCUMENT))]
    if not rows:
        return None
    if all(row.count("\t") == _COLUMNS - 1 and row[0].isdigit() for row in rows):
        return "conllu"
    cells = [_cells(row) for row in rows]
    widths = {len(found) for found in cells}
    if len(widths) != 1 or widths == {1}:
        return None
    bio = all(_BIO.match(found[-1]) for found in cells)
    return "conll" if bio and any(not line.strip() for line in lines) else None


def read_conll(file: Path, reader: TextReader) -> TaggedSet | None:
    """The sentences of a CoNLL file: word in the first column, tag in the last. Raises DataError with the line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.conll"); _ = path.write_text("EU B-ORG\\nrejects O\\n\\nPeter B-PER\\n")
    ...     read_conll(path, TextReader()).sentences
    (('EU', 'rejects'), ('Peter',))
    """
    return _read(file, reader, _word_of_conll)


def read_conllu(file: Path, reader: TextReader) -> TaggedSet | None:
    """The sentences of a CoNLL-U file with their universal parts of speech. Raises DataError with the line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.conllu"); _ = path.write_text("1\\tGo\\tgo\\tVERB" + "\\t_" * 6 + "\\n")
    ...     read_conllu(path, TextReader()).tags
    (('VERB',),)
    """
    return _read(file, reader, _word_of_conllu)


def _cells(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _word_of_conll(line: str, where: str) -> tuple[str, str] | None:
    if line.startswith(_DOCUMENT):
        return None
    cells = _cells(line)
    if len(cells) < 2:
        raise DataError(
            "a word has no tag", where=where, got=line[:60], expected="the word, a tab or a space, and its tag"
        )
    word, tag = cells[0].strip(), cells[-1].strip()
    if not word or not tag:
        raise DataError("a word or its tag is empty", where=where, got=repr(line[:60]), expected="word and tag")
    return word, tag


def _word_of_conllu(line: str, where: str) -> tuple[str, str] | None:
    if line.startswith("#"):
        return None
    cells = line.split("\t")
    if len(cells) != _COLUMNS:
        raise DataError(
            "a line has another number of columns",
            where=where,
            got=f"{len(cells)} columns",
            expected="10, parted by tabs",
        )
    if not cells[0].isdigit():
        if re.match(r"\d+[-.]\d+$", cells[0]):
            return None
        raise DataError("a word has no number", where=where, got=cells[0][:20], expected="1, 2-3 or 2.1")
    if not cells[_FORM].strip() or not cells[_UPOS].strip():
        raise DataError("a word or its tag is empty", where=where, got=repr(line[:60]), expected="FORM and UPOS")
    return cells[_FORM], cells[_UPOS]


def _sentences(lines: Sequence[str]) -> Iterator[list[int]]:
    """The places of the lines of each sentence."""
    found: list[int] = []
    for place, line in enumerate(lines):
        if line.strip():
            found.append(place)
        elif found:
            yield found
            found = []
    if found:
        yield found


def _read(file: Path, reader: TextReader, word_of: Callable[[str, str], tuple[str, str] | None]) -> TaggedSet | None:
    text = reader.read(file)
    if text is None:
        return None
    lines = text.split("\n")
    sentences, tags, names = [], [], []
    for places in _sentences(lines):
        try:
            pairs = [pair for place in places if (pair := word_of(lines[place], f"{file}:{place + 1}")) is not None]
        except DataError as error:
            reader.refuse(error, place=f"{file.name}:{places[0] + 1}")
            continue
        if pairs:
            sentences.append(tuple(word for word, _ in pairs))
            tags.append(tuple(tag for _, tag in pairs))
            names.append(f"{file.name}:{places[0] + 1}")
    if not sentences:
        raise DataError("the file holds no sentence", where=file, expected="a word and its tag on each line")
    return TaggedSet(tuple(sentences), tuple(tags), tuple(names))
