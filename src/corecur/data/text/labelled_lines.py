"""Text files with a label and a text on each line: ``1 a fine film``, ``__label__joy how nice``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from corecur.data.text.text_files import TextReader
from corecur.data.text.text_parts import GatheredTexts, TextPart
from corecur.errors import DataError
from corecur.finding import remark

FASTTEXT = "__label__"
_NUMBER = re.compile(r"[+-]?\d{1,3}$")
_LETTERS = re.compile(r"[^\W\d_]{2,}|[\u3040-\u30ff\u4e00-\u9fff]")
_NO_TEXT = frozenset({"nan", "inf", "na", "null", "none", "true", "false"})
_FEW = 20


def has_letters(text: str) -> bool:
    """Whether a text has a word in it: more than numbers, marks and words for missing numbers.

    >>> has_letters("how nice"), has_letters("1.5e-3 NaN 7"), has_letters("好")
    (True, False, True)
    """
    return any(word.casefold() not in _NO_TEXT for word in _LETTERS.findall(text[:2000]))


def are_labelled_lines(lines: Sequence[str]) -> bool:
    """Whether the first lines of a file each begin with a label: a number, a word before a tab, or fastText's mark.

    >>> are_labelled_lines(["1 a fine film", "0 a dull film"]), are_labelled_lines(["To be,", "or not to be"])
    (True, False)
    """
    rows = [line for line in lines if line.strip()]
    if not rows:
        return False
    if all(row.startswith(FASTTEXT) for row in rows):
        return True
    tabbed = all("\t" in row for row in rows)
    pairs = [_parted(row, tabbed=tabbed) for row in rows]
    worded = sum(has_letters(text) for _, text in pairs)
    labels = {label for label, _ in pairs}
    if worded < 0.8 * len(pairs) or len(labels) > max(2, len(pairs) / 2):
        return False
    if all(_NUMBER.match(label) for label in labels):
        return True
    if tabbed:
        return len(labels) <= max(2, len(pairs) / 4) and all(row.count("\t") == 1 for row in rows)
    # Words as labels: the same few on many lines, where running text begins its lines in ever new ways.
    return len(pairs) >= _FEW and len(labels) <= len(pairs) / 10 and max(map(len, labels)) <= 40


def _parted(row: str, *, tabbed: bool) -> tuple[str, str]:
    if tabbed:
        label, _, text = row.partition("\t")
        return label.strip(), text
    pieces = row.split(None, 1)
    return pieces[0], pieces[1] if len(pieces) > 1 else ""


def gather_lines(files: Mapping[str, Path], reader: TextReader) -> GatheredTexts:
    """Read the files of the splits; blank lines are passed over. Raises DataError where a file has no line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "set.train"); _ = file.write_text("1 fine\\n0 dull\\n")
    ...     gather_lines({"train": file}, TextReader()).parts["train"]
    TextPart(texts=['fine', 'dull'], labels=['1', '0'], names=['set.train:1', 'set.train:2'])
    """
    parts = {split: _read_lines(file, reader) for split, file in files.items()}
    return GatheredTexts("lines", {split: part for split, part in parts.items() if part is not None})


def _read_lines(file: Path, reader: TextReader) -> TextPart | None:
    whole = reader.read(file)
    if whole is None:
        return None
    rows = [(number, line) for number, line in enumerate(whole.split("\n"), 1) if line and not line.isspace()]
    if not rows:
        raise DataError("the file is empty", where=file, expected="a label and a text on each line")
    if rows[0][1].startswith(FASTTEXT):
        return _read_fasttext(file, rows, reader)
    tabbed = all("\t" in line for _, line in rows)
    pairs = [_parted(line, tabbed=tabbed) for _, line in rows]
    names = [f"{file.name}:{number}" for number, _ in rows]
    return TextPart([text for _, text in pairs], [label for label, _ in pairs], names)


def _read_fasttext(file: Path, rows: Sequence[tuple[int, str]], reader: TextReader) -> TextPart:
    texts: list[str] = []
    labels: list[str] = []
    names: list[str] = []
    several: Counter[int] = Counter()
    for number, line in rows:
        words = line.split()
        marks = [word for word in words if word.startswith(FASTTEXT)]
        if not words[0].startswith(FASTTEXT) or marks[0] == FASTTEXT:
            error = DataError(
                "a line has no label", where=f"{file}:{number}", got=line[:60], expected=f"{FASTTEXT}name text"
            )
            reader.refuse(error, place=f"{file.name}:{number}")
            continue
        several[len(marks)] += 1
        labels.append(marks[0].removeprefix(FASTTEXT))
        texts.append(" ".join(word for word in words if not word.startswith(FASTTEXT)))
        names.append(f"{file.name}:{number}")
    more = several.total() - several[1]
    if more:
        reader.notes.append(remark(f"{more:,} lines of {file.name} have several labels; the first of each was taken."))
    return TextPart(texts, labels, names)
