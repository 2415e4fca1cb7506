"""From anything that holds labelled texts to text sets: recognise the kind, gather, check.

Shapes: N samples.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corecur.data.check import class_findings, missing_findings, refuse_classes
from corecur.data.decoding import Progress
from corecur.data.gathered import class_numbers, natural_key, one_spelling
from corecur.data.text.labelled_lines import gather_lines
from corecur.data.text.pydoc_sample import gather_pydoc
from corecur.data.text.repeated_texts import repeated_findings
from corecur.data.text.split_files import data_files, one_file_a_split
from corecur.data.text.text_files import AUTO, TextReader
from corecur.data.text.text_folders import WANTED, gather_text_folder, is_text_file
from corecur.data.text.text_kinds import TEXT_SAMPLES, text_kind
from corecur.data.text.text_parts import GatheredTexts, TextPart
from corecur.data.text.text_sets import TextSet, TextSource
from corecur.data.text.text_tables import gather_texts
from corecur.data.text.text_values import gather_values
from corecur.errors import ConfigError, DataError, nearest
from corecur.finding import Finding, remark

LONGEST_TEXT = 1_000_000
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson"})
KNOWN = (
    f"{WANTED}; a CSV, TSV or JSON-lines file with a text and a label column; a file with a label and a text on each "
    "line; the sample pydoc"
)


@dataclass
class _Reading:
    """How a source is read, and what was found odd on the way."""

    text_column: str | None
    label_column: str | None
    longest_text: int
    reader: TextReader
    labelled: bool = True
    keep_empty: bool = False
    notes: list[Finding] = field(default_factory=list)

    def gather(self, source: Any, labels: Any = None) -> tuple[str, GatheredTexts]:
        """Name of the source, and what it holds."""
        columns: dict[str, Any] = {"text_column": self.text_column, "label_column": self.label_column}
        if not isinstance(source, (str, os.PathLike)):
            return "texts", gather_values(source, labels, labelled=self.labelled, **columns)
        if labels is not None:
            raise ConfigError("labels go with texts in Python; this source has its own", got=source)
        kind = text_kind(source)
        path = Path(source).expanduser()
        if kind == "sample":
            return os.fspath(source), gather_pydoc()
        if kind is None and path.is_file() and (self.text_column or path.suffix.casefold() in TABLE_SUFFIXES):
            kind = "table"  # which then says what is wrong with it
        if kind == "folder":
            return os.fspath(source), gather_text_folder(path, self.reader)
        if kind in ("table", "lines"):
            files, left_out = one_file_a_split(path, _of_kind(data_files(path), kind))
            if left_out:
                names = ", ".join(file.name for file in left_out[:5])
                self.reader.notes.append(remark(f"{len(left_out):,} files that name no split were left out ({names})."))
            if kind == "lines":
                return os.fspath(source), gather_lines(files, self.reader)
            return os.fspath(source), gather_texts(files, self.reader, labelled=self.labelled, **columns)
        raise _no_labelled_texts(source, path, kind)

    def text_set(self, part: TextPart, classes: Sequence[str] | None, *, split: str, where: str) -> TextSet:
        """A split with its class numbers; texts without a word set aside, very long ones cut."""
        rows = [row for row, text in enumerate(part.texts) if self.keep_empty or (text and not text.isspace())]
        empty = len(part) - len(rows)
        labels = None if part.labels is None else [one_spelling(part.labels[row].strip()) for row in rows]
        names = tuple(part.names[row] for row in rows)
        if labels is not None and "" in labels:
            labels, rows, names = self._labelled(labels, rows, names)
        if empty:
            self.notes.append(remark(f"{empty:,} of {len(part):,} {split} texts are empty and were set aside."))
        if not rows:
            raise DataError(f"the {split} split has no text", where=where, got=f"{len(part):,} texts, all empty or bad")
        longest = self.longest_text
        long = sum(len(part.texts[row]) > longest for row in rows)
        if long:
            self.notes.append(remark(f"{long:,} {split} texts were cut to their first {longest:,} characters."))
        texts = tuple(part.texts[row][:longest] for row in rows)
        if labels is None or classes is None:
            return TextSet(texts, None, names)
        return TextSet(texts, torch.from_numpy(class_numbers(np.array(labels), classes, where=where)), names)

    def _labelled(
        self, labels: list[str], rows: list[int], names: tuple[str, ...]
    ) -> tuple[list[str], list[int], tuple[str, ...]]:
        first = names[labels.index("")]
        error = DataError(
            "a text has no label",
            where=first,
            got=f"{labels.count('')} such rows",
            expected="a label in every row",
            do="fill it in, remove the row, or set such rows aside with --skip-bad",
        )
        self.reader.refuse(error, place=first)
        kept = [place for place, label in enumerate(labels) if label]
        self.notes.append(remark(f"{len(labels) - len(kept):,} texts without a label were set aside."))
        return [labels[p] for p in kept], [rows[p] for p in kept], tuple(names[p] for p in kept)


def load_texts(
    source: Any,
    labels: Any = None,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str = AUTO,
    skip_bad: bool = False,
    validation: Any = None,
    test: Any = None,
    longest_text: int = LONGEST_TEXT,
    progress: Progress | None = None,
) -> TextSource:
    """Read labelled texts from a path, the sample ``pydoc`` or Python values.

    ``source`` is a folder of class folders of text files; a CSV, TSV or JSON-lines file, or a folder with one each for
    train, validation and test; a file with a label and a text on each line (also fastText's), or a folder of them, or
    the common beginning of their names (``data/TREC`` for ``TREC.train.all`` and ``TREC.test.all``); texts with
    ``labels``; (texts, labels); ((train texts, labels), (test texts, labels)); a mapping of columns or a data frame.
    ``text_column`` and ``label_column`` name columns that are not found by themselves. ``encoding`` auto is UTF-8, or
    Windows-1252 with a finding. ``validation`` and ``test`` are sources of their own. A split the source does not have
    stays None. Classes are the training labels in natural order.

    Empty texts are set aside and texts beyond ``longest_text`` characters cut, both with a finding. Everything else
    that cannot be learned from raises DataError; with ``skip_bad`` bad files and rows are set aside, with a finding.

    >>> found = load_texts(["good", "fine", "bad", "dull"], ["+", "+", "-", "-"])
    >>> found.classes, found.train.labels.tolist()
    (('+', '-'), [0, 0, 1, 1])
    """
    if longest_text < 1:
        raise ConfigError("texts would be cut to nothing", got=longest_text, expected="1 character or more")
    reading = _Reading(text_column, label_column, longest_text, TextReader(encoding, skip_bad))
    origin, gathered = reading.gather(source, labels)
    parts = dict(gathered.parts)
    for split, extra in (("validation", validation), ("test", test)):
        if extra is not None:
            if split in parts:
                reading.notes.append(
                    remark(f"The source's own {split} split ({len(parts[split]):,} texts) gave way to another.")
                )
            parts[split] = _only_part(reading.gather(extra)[1], split, str(extra) if isinstance(extra, str) else split)
    if "train" not in parts:
        raise DataError("there is nothing to train on", where=origin, got=", ".join(parts) or "bad files only")
    train = parts["train"]
    found = {
        one_spelling(label.strip()) for label, text in zip(train.labels or (), train.texts, strict=True) if text.strip()
    }
    classes = gathered.classes or tuple(sorted(found - {""}, key=natural_key))
    sets = {split: reading.text_set(part, classes, split=split, where=origin) for split, part in parts.items()}
    if progress is not None:
        total = sum(map(len, sets.values()))
        progress(total, total)
    refuse_classes(_numbers(sets["train"]), classes, where=origin, noun="text")
    findings = [*reading.reader.findings(), *reading.notes, *_set_findings(sets, classes)]
    return TextSource(
        origin, gathered.kind, classes, sets["train"], sets.get("validation"), sets.get("test"), tuple(findings)
    )


def gather_labelled(
    source: Any, reader: TextReader, *, text_column: str | None = None, label_column: str | None = None
) -> tuple[str, GatheredTexts]:
    """Name of a source of labelled texts, and what it holds, as it stands there; raises DataError like `load_texts`.

    >>> gather_labelled((["good", ""], ["+", "-"]), TextReader())[1].parts["train"].texts
    ['good', '']
    """
    return _Reading(text_column, label_column, LONGEST_TEXT, reader).gather(source)


def load_text_split(
    source: Any,
    labels: Any = None,
    *,
    classes: Sequence[str],
    split: str = "test",
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str = AUTO,
    skip_bad: bool = False,
    longest_text: int = LONGEST_TEXT,
) -> tuple[TextSet, tuple[Finding, ...]]:
    """Read one labelled split for a model that knows its ``classes``; the source's own, or all of it where it has one.

    Raises DataError like `load_texts`, and for a label that is no class.

    >>> texts, _ = load_text_split(["bad"], ["-"], classes=("+", "-"))
    >>> texts.labels.tolist(), texts.names
    ([1], ('test[0]',))
    """
    reading = _Reading(text_column, label_column, longest_text, TextReader(encoding, skip_bad))
    origin, gathered = reading.gather(source, labels)
    texts = reading.text_set(_only_part(gathered, split, origin), classes, split=split, where=origin)
    missing = missing_findings(_numbers(texts), classes, split=split, noun="text")
    return texts, (*reading.reader.findings(), *reading.notes, *missing)


def load_unlabelled(
    source: Any,
    *,
    text_column: str | None = None,
    encoding: str = AUTO,
    skip_bad: bool = False,
    longest_text: int = LONGEST_TEXT,
    lines: bool = False,
    keep_empty: bool = False,
) -> tuple[TextSet, tuple[Finding, ...]]:
    """Texts to answer for: a text file (one text), a folder of them, a table's text column, or texts in Python.

    With ``lines`` every line of a text file is a text. A str is a path; pass ``[text]`` for a text itself. Empty texts
    are set aside, unless ``keep_empty``, and long ones cut, with a finding. Raises DataError.

    >>> load_unlabelled(["how nice"])[0].names
    ('text[0]',)
    """
    reader = TextReader(encoding, skip_bad)
    reading = _Reading(text_column, None, longest_text, reader, labelled=False, keep_empty=keep_empty)
    if not isinstance(source, (str, os.PathLike)):
        part = gather_values(source, labelled=False, text_column=text_column).parts["train"]
        part = replace(part, names=[name.replace("train[", "text[", 1) for name in part.names], labels=None)
        return reading.text_set(part, None, split="given", where="texts"), (*reading.notes,)
    path = Path(source).expanduser()
    if path.is_dir():
        part = _text_files_below(path, reading.reader)
    elif path.suffix.casefold() in TABLE_SUFFIXES:
        columns = {"text_column": text_column, "labelled": False}
        part = gather_texts({"train": path}, reading.reader, **columns).parts["train"]  # type: ignore[arg-type]
    else:
        text = reading.reader.read(path)
        texts = [] if text is None else text.split("\n") if lines else [text]
        names = [f"{path.name}:{number}" for number in range(1, len(texts) + 1)] if lines else [path.name] * len(texts)
        part = TextPart(texts, None, names)
    given = reading.text_set(part, None, split="given", where=str(path))
    return given, (*reading.reader.findings(), *reading.notes)


def _text_files_below(folder: Path, reader: TextReader) -> TextPart:
    files = sorted(
        (file for file in folder.rglob("*") if file.is_file() and is_text_file(file) and not file.name.startswith(".")),
        key=lambda file: natural_key(file.relative_to(folder).as_posix()),
    )
    found = [(file.relative_to(folder).as_posix(), reader.read(file)) for file in files]
    kept = [(name, text) for name, text in found if text is not None]
    return TextPart([text for _, text in kept], None, [name for name, _ in kept])


def _of_kind(files: Sequence[Path], kind: str) -> list[Path]:
    """The files of a folder that are what the folder is for."""
    if len(files) < 2:
        return list(files)
    return [file for file in files if text_kind(file) == kind] or list(files)


def _only_part(gathered: GatheredTexts, split: str, origin: str) -> TextPart:
    """The part of a source that stands for one split: its own, or, where it has no splits, all of it."""
    if split in gathered.parts:
        return gathered.parts[split]
    if list(gathered.parts) == ["train"]:
        part = gathered.parts["train"]
        names = [f"{split}[{name[6:]}" if name.startswith("train[") else name for name in part.names]
        return replace(part, names=names)
    raise DataError(f"the source has several splits, and none is {split}", where=origin, got=", ".join(gathered.parts))


def _no_labelled_texts(source: Any, path: Path, kind: str | None) -> DataError:
    if kind is not None:
        what = "plain text without labels" if kind == "corpus" else "sentences with a tag for every word"
        task = "text-generation" if kind == "corpus" else "tagging"
        return DataError(
            f"this is {what}, not labelled texts", where=path, expected=KNOWN, do=f"use the task for it ({task})"
        )
    if not path.exists():
        beside = os.listdir(path.parent) if path.parent.is_dir() else []
        guess = nearest(path.name, [*beside, *TEXT_SAMPLES])
        return DataError("no such file or folder", where=source, do=f"did you mean {guess!r}?" if guess else None)
    if path.is_file() and path.stat().st_size == 0:
        return DataError("the file is empty", where=path, expected=KNOWN)
    do = "name the columns: text_column='…', label_column='…'" if path.suffix.casefold() in (".csv", ".tsv") else None
    return DataError("there are no labelled texts here", where=path, expected=KNOWN, do=do)


def _numbers(texts: TextSet) -> Any:
    return np.zeros(0, dtype=np.int64) if texts.labels is None else texts.labels.numpy()


def _set_findings(sets: Mapping[str, TextSet], classes: Sequence[str]) -> list[Finding]:
    findings = class_findings(_numbers(sets["train"]), classes, noun="text")
    for split in ("validation", "test"):
        if split in sets:
            findings += missing_findings(_numbers(sets[split]), classes, split=split, noun="text")
    return [*findings, *repeated_findings(sets)]
