"""Plain text to learn to write from: novels, plays, poems, documentation."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from corecur.data.class_folders import list_folder
from corecur.data.file_bytes import source_path
from corecur.data.gathered import SPLITS
from corecur.data.text.pydoc_sample import docstrings
from corecur.data.text.split_files import by_split, data_files
from corecur.data.text.text_files import TextReader
from corecur.data.text.text_folders import is_text_file
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding, remark

BETWEEN = "\n\n"
LAST_FILE = "last-file"
_SHARE = 0.1
_MANY = 20  # from so many documents on, whole ones are held out
_BODIES = ("paragraphs", "text", "content", "body", "lines", "poem", "contents")
_JSON = frozenset({".json", ".jsonl", ".ndjson"})


@dataclass(frozen=True)
class CorpusSet:
    """The documents of one split in their order, and where each came from.

    >>> CorpusSet(("to be", "or not"), ("a", "b")).text
    'to be\\n\\nor not'
    """

    documents: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def text(self) -> str:
        """All of it as one text, with a blank line between documents."""
        return BETWEEN.join(self.documents)


@dataclass(frozen=True)
class CorpusSource:
    """Everything a source of plain text holds, with what is odd about it in ``findings``.

    >>> CorpusSource("a.txt", "corpus", CorpusSet(("to be",), ("a.txt",)), None, None, ()).train.text
    'to be'
    """

    origin: str
    kind: str
    train: CorpusSet
    validation: CorpusSet | None
    test: CorpusSet | None
    findings: tuple[Finding, ...]


def load_corpus(
    source: Any,
    *,
    validation: Any = None,
    test: Any = None,
    encoding: str = "auto",
    skip_bad: bool = False,
    titles: bool = True,
) -> CorpusSource:
    """Read text to learn to write from: a file, a folder, a list of texts, or the sample ``pydoc``.

    A folder holds text files, those with train, valid or test in their names being splits, or JSON files, each a list
    of objects with ``paragraphs`` (or text, content, body, lines) and, read as a first line where ``titles``, a title.
    ``validation`` and ``test`` are sources of their own or shares; a share is held out from the end, and the default
    for validation is 0.1. ``validation="last-file"`` holds out the last file. Of 20 documents or more, whole ones are
    held out; fewer are cut at the character: the first 90 % of one file train. Raises DataError where nothing is left.

    >>> found = load_corpus(["x" * 90 + "y" * 10])
    >>> set(found.train.text), found.validation.text
    ({'x'}, 'yyyyyyyyyy')
    """
    reader = TextReader(encoding, skip_bad)
    parts, files = _gather(source, reader, titles)
    for split, extra in (("validation", validation), ("test", test)):
        if extra is not None and not _is_share(extra) and extra != LAST_FILE:
            inner = load_corpus(extra, validation=0, encoding=encoding, skip_bad=skip_bad, titles=titles)
            parts[split] = inner.test if split == "test" and inner.test is not None else inner.train
            reader.notes += inner.findings
    if "train" not in parts or not parts["train"].text.strip():
        raise DataError(
            "there is no text to learn from", where=_origin(source), expected="a text file that is not empty"
        )
    if validation == LAST_FILE:
        parts["train"], parts["validation"] = _without_last_file(parts["train"], files, source)
    if "test" not in parts and _is_share(test):
        parts["train"], parts["test"] = hold_out_end(parts["train"], float(test))
    if "validation" not in parts and (validation is None or _is_share(validation)):
        share = _SHARE if validation is None else float(validation)
        if "test" in parts and _is_share(test):
            share = share / (1 - float(test))  # both are shares of the whole
        if share:
            parts["train"], parts["validation"] = hold_out_end(parts["train"], share)
    reader.notes += _shared_findings(parts)
    return CorpusSource(
        _origin(source), "corpus", parts["train"], parts.get("validation"), parts.get("test"), tuple(reader.findings())
    )


def _shared_findings(parts: Mapping[str, CorpusSet]) -> list[Finding]:
    """What is said of held-out documents that stand in the training split too."""
    known = {document.strip() for document in parts["train"].documents}
    findings = []
    for split in ("validation", "test"):
        held = parts[split] if split in parts else CorpusSet((), ())
        shared = [n for n, document in zip(held.names, held.documents, strict=True) if document.strip() in known]
        if shared:
            verdict = f"{len(shared):,} of {len(held):,} {split} documents are in the train split too ({shared[0]})."
            findings.append(Finding("leak", verdict))
    return findings


def hold_out_end(corpus: CorpusSet, share: float) -> tuple[CorpusSet, CorpusSet]:
    """The corpus without its last part, and that part: ``int((1 - share) * characters)`` characters stay.

    Of 20 documents or more, whole documents go, so that about this share of the characters does. Raises ConfigError
    for a share outside (0, 1), DataError where a side would be empty.

    >>> keep, held = hold_out_end(CorpusSet(("0123456789",), ("a",)), 0.2)
    >>> keep.text, held.text
    ('01234567', '89')
    """
    if not 0 < share < 1:
        raise ConfigError("a split is a share between 0 and 1", got=share)
    if len(corpus) >= _MANY:
        total = sum(map(len, corpus.documents))
        kept, place = 0, 0
        while place < len(corpus) - 1 and kept + len(corpus.documents[place]) <= (1 - share) * total:
            kept += len(corpus.documents[place])
            place += 1
        place = max(1, place)
        names = corpus.names
        return CorpusSet(corpus.documents[:place], names[:place]), CorpusSet(corpus.documents[place:], names[place:])
    text = corpus.text
    cut = math.floor((1 - share) * len(text) + 1e-9)
    if not text[:cut].strip() or not text[cut:].strip():
        raise DataError("there is too little text to set some aside", got=f"{len(text)} characters")
    name = corpus.names[0] if len(corpus) == 1 else f"{corpus.names[0]} …"
    return CorpusSet((text[:cut],), (name,)), CorpusSet((text[cut:],), (f"{name}, from character {cut:,}",))


def _gather(source: Any, reader: TextReader, titles: bool) -> tuple[dict[str, CorpusSet], list[int]]:
    """The splits, and how many documents each file of the training split gave."""
    if isinstance(source, str) and source == "pydoc":
        return {"train": _corpus_set([(name, text) for name, _, text in docstrings()], reader)}, []
    if not isinstance(source, (str, os.PathLike)):
        found = [(f"train[{place}]", text) for place, text in enumerate(source)]
        if not all(isinstance(text, str) for _, text in found):
            raise DataError("a corpus is a list of texts", got=type(source).__name__)
        return {"train": _corpus_set(found, reader)}, []
    path = source_path(source)
    files = corpus_files(path)
    if not files:
        raise DataError("there is no text here", where=path, expected="a .txt file, or a folder of .txt or .json files")
    found_splits = by_split(files) if len(files) > 1 else {}
    if "train" not in found_splits:
        found_splits = {"train": list(files)}
    parts, counts = {}, []
    for split in (name for name in SPLITS if name in found_splits):
        documents = [_documents(file, reader, titles) for file in found_splits[split]]
        if split == "train":
            counts = [len([text for _, text in found if text.strip()]) for found in documents]
        parts[split] = _corpus_set([row for found in documents for row in found], reader)
    return parts, counts


def corpus_files(path: Path) -> tuple[Path, ...]:
    """The files of a corpus in natural order: those of a folder and of the folders in it.

    >>> corpus_files(Path("no such folder"))
    ()
    """
    files = tuple(
        file for file in data_files(path) if is_text_file(file) or file.suffix.casefold() in _JSON or file == path
    )
    if path.is_dir() and not files:
        inner = (folder for folder in list_folder(path).folders if not folder.is_symlink())
        return tuple(file for folder in inner for file in corpus_files(folder))
    return files


def _documents(file: Path, reader: TextReader, titles: bool) -> list[tuple[str, str]]:
    """Name and text of each document in a file."""
    text = reader.read(file)
    if text is None:
        return []
    if file.suffix.casefold() not in _JSON:
        return [(file.name, text)]
    try:
        rows = json.loads(text) if file.suffix.casefold() == ".json" else [json.loads(s) for s in text.split("\n") if s]
    except (ValueError, RecursionError) as error:
        reader.refuse(DataError(f"the file is no JSON: {error}", where=file), place=file.name)
        return []
    if not isinstance(rows, list):
        raise DataError("the file is no list of texts", where=file, got=type(rows).__name__)
    return [(f"{file.name}:{place}", _body(row, file, place, titles)) for place, row in enumerate(rows, 1)]


def _body(row: Any, file: Path, place: int, titles: bool) -> str:
    """The text of a poem: its title and its lines."""
    if isinstance(row, str):
        return row
    name = next((name for name in _BODIES if isinstance(row, dict) and name in row), None)
    if name is None:
        raise DataError(
            "an object has no text", where=f"{file}:{place}", expected="one of the keys " + ", ".join(_BODIES)
        )
    lines = row[name] if isinstance(row[name], list) else [row[name]]
    body = "\n".join(line for line in lines if isinstance(line, str))
    title = row.get("title")
    return f"{title}\n{body}" if titles and body.strip() and isinstance(title, str) and title else body


def _corpus_set(found: Sequence[tuple[str, str]], reader: TextReader) -> CorpusSet:
    kept = [(name, text) for name, text in found if text.strip()]
    if len(kept) < len(found):
        reader.notes.append(
            remark(f"{len(found) - len(kept):,} of {len(found):,} documents are empty and were left out.")
        )
    return CorpusSet(tuple(text for _, text in kept), tuple(name for name, _ in kept))


def _without_last_file(train: CorpusSet, files: list[int], source: Any) -> tuple[CorpusSet, CorpusSet]:
    if len(files) < 2 or not files[-1]:
        raise ConfigError(
            "the corpus has no last file to validate with", where=_origin(source), got=f"{len(files)} file"
        )
    cut = len(train) - files[-1]
    held = CorpusSet(train.documents[cut:], train.names[cut:])
    return replace(train, documents=train.documents[:cut], names=train.names[:cut]), held


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _origin(source: Any) -> str:
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else "texts"
