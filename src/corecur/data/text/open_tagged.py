"""From CoNLL and CoNLL-U files, or Python values, to sets of tagged sentences.

Shapes: N sentences.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from corecur.data.gathered import natural_key
from corecur.data.text.conll import read_conll, read_conllu
from corecur.data.text.split_files import data_files, one_file_a_split
from corecur.data.text.tagged_sets import TaggedSet, TaggedSource
from corecur.data.text.text_files import AUTO, TextReader
from corecur.data.text.text_kinds import text_kind
from corecur.errors import DataError
from corecur.finding import Finding, remark

KNOWN = "a CoNLL or CoNLL-U file, or a folder with one each for train, dev and test"
READERS: Mapping[str, Callable[[Path, TextReader], TaggedSet | None]] = {"conll": read_conll, "conllu": read_conllu}


def load_tagged(
    source: Any,
    tags: Any = None,
    *,
    validation: Any = None,
    test: Any = None,
    encoding: str = AUTO,
    skip_bad: bool = False,
) -> TaggedSource:
    """Read sentences with a tag for every word: a CoNLL or CoNLL-U file, a folder of them, or lists in Python.

    In a folder the words train, dev or valid, and test in the names say which file is which. In Python ``source`` is
    a list of lists of words and ``tags`` one of lists of tags, or ``source`` the pair. ``validation`` and ``test`` are
    sources of their own. Tags are in natural order; DataError for a held-out tag that the training split has not,
    unless other sentences can be kept with ``skip_bad``, and for words and tags of different numbers.

    >>> load_tagged([["a", "cat"], ["go"]], [["DET", "NOUN"], ["VERB"]]).classes
    ('DET', 'NOUN', 'VERB')
    """
    reader = TextReader(encoding, skip_bad)
    origin, kind, sets = gather_tagged(source, tags, reader)
    for split, extra in (("validation", validation), ("test", test)):
        if extra is not None:
            sets[split] = _only_set(gather_tagged(extra, None, reader)[2], split, str(extra))
    if "train" not in sets or not len(sets["train"]):
        raise DataError("there is no sentence to train on", where=origin, expected=KNOWN)
    found = {tag for sentence in sets["train"].tags or () for tag in sentence}
    if len(found) < 2:
        raise DataError("there is one tag only: nothing can be told apart", where=origin, got=", ".join(found))
    classes = tuple(sorted(found, key=natural_key))
    for split in sets.keys() - {"train"}:
        sets[split] = _with_known_tags(sets[split], found, reader, split=split, origin=origin)
    findings = (*reader.findings(), *_shared_findings(sets))
    return TaggedSource(origin, kind, classes, sets["train"], sets.get("validation"), sets.get("test"), findings)


def load_tagged_split(
    source: Any,
    tags: Any = None,
    *,
    classes: Sequence[str],
    split: str = "test",
    encoding: str = AUTO,
    skip_bad: bool = False,
) -> tuple[TaggedSet, tuple[Finding, ...]]:
    """Read one split for a model that knows its tags; the source's own, or all of it. Raises DataError.

    >>> load_tagged_split([["go"]], [["VERB"]], classes=("VERB",))[0].names
    ('test[0]',)
    """
    reader = TextReader(encoding, skip_bad)
    origin, _, sets = gather_tagged(source, tags, reader)
    chosen = _with_known_tags(_only_set(sets, split, origin), set(classes), reader, split=split, origin=origin)
    return chosen, tuple(reader.findings())


def gather_tagged(source: Any, tags: Any, reader: TextReader) -> tuple[str, str, dict[str, TaggedSet]]:
    """Name, kind and splits of a source; raises DataError like `load_tagged`.

    >>> gather_tagged([["go"]], [["VERB"]], TextReader())[1]
    'python'
    """
    if not isinstance(source, (str, os.PathLike)):
        if tags is None and isinstance(source, tuple) and len(source) == 2:
            source, tags = source
        return "sentences", "python", {"train": _of_values(source, tags)}
    path = Path(source).expanduser()
    kind = text_kind(source)
    if kind is None or kind not in READERS:
        missing = not path.exists() and kind is None
        what = "no such file or folder" if missing else "these are no sentences with a tag for every word"
        raise DataError(what, where=source, got=None if missing else kind, expected=KNOWN)
    known = [file for file in data_files(path) if text_kind(file) == kind]
    files, left_out = one_file_a_split(path, known)
    if left_out:
        names = ", ".join(file.name for file in left_out[:5])
        reader.notes.append(remark(f"{len(left_out):,} files that name no split were left out ({names})."))
    read = {split: READERS[kind](file, reader) for split, file in files.items()}
    return os.fspath(source), kind, {split: found for split, found in read.items() if found is not None}


def _of_values(sentences: Any, tags: Any) -> TaggedSet:
    for place, sentence in enumerate(sentences):
        if isinstance(sentence, str) or not all(isinstance(word, str) for word in sentence):
            raise DataError(
                "a sentence is a list of words",
                where=f"train[{place}]",
                got=type(sentence).__name__,
                expected="['a', 'cat']",
            )
    if tags is None:
        raise DataError("the sentences have no tags", do="pass sentences and tags: (sentences, tags), or a path")
    names = tuple(f"train[{place}]" for place in range(len(sentences)))
    return TaggedSet(tuple(map(tuple, sentences)), tuple(tuple(map(str, found)) for found in tags), names)


def _only_set(sets: Mapping[str, TaggedSet], split: str, origin: str) -> TaggedSet:
    if split in sets:
        return sets[split]
    if list(sets) == ["train"]:
        found = sets["train"]
        return replace(found, names=tuple(f"{split}{n[5:]}" if n.startswith("train[") else n for n in found.names))
    raise DataError(f"the source has several splits, and none is {split}", where=origin, got=", ".join(sets))


def _with_known_tags(found: TaggedSet, known: set[str], reader: TextReader, *, split: str, origin: str) -> TaggedSet:
    rows = [row for row, tags in enumerate(found.tags or ()) if known.issuperset(tags)]
    if len(rows) == len(found) or found.tags is None:
        return found
    odd = next(row for row in range(len(found)) if row not in set(rows))
    strange = next(tag for tag in found.tags[odd] if tag not in known)
    error = DataError(
        f"a tag of the {split} split is not in the training split",
        where=f"{origin}, {found.names[odd]}",
        got=f"{strange!r}, in {len(found) - len(rows):,} sentences such tags",
        expected="one of " + ", ".join(sorted(known, key=natural_key)[:20]),
        do="add sentences with it to the training data, or set such sentences aside with --skip-bad",
    )
    reader.refuse(error, place=found.names[odd])
    return found.take(torch.tensor(rows, dtype=torch.int64))


def _shared_findings(sets: Mapping[str, TaggedSet]) -> list[Finding]:
    """What is said of held-out sentences that stand in the training split too."""
    known = set(sets["train"].sentences)
    findings = []
    for split in ("validation", "test"):
        shared = sum(sentence in known for sentence in sets[split].sentences) if split in sets else 0
        if shared:
            verdict = f"{shared:,} of {len(sets[split]):,} {split} sentences are in the train split too."
            findings.append(Finding("leak", verdict))
    return findings
