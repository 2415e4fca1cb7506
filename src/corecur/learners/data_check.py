"""A check of a source before any training: everything wrong or odd about it, not only the first thing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corecur.data.decoding import Progress
from corecur.data.open_images import gather_images, only_images
from corecur.data.quality.label_counts import label_count_findings
from corecur.data.quality.picture_check import picture_findings
from corecur.data.quality.repeats import Listed, lines, refused
from corecur.data.quality.series_quality import series_findings
from corecur.data.quality.table_columns import column_findings
from corecur.data.quality.table_quality import table_findings
from corecur.data.quality.tag_check import tag_findings
from corecur.data.quality.text_check import encoding_findings, text_findings
from corecur.data.series.open_series import gather_labelled_series, only_part
from corecur.data.text.corpus import load_corpus
from corecur.data.text.open_tagged import gather_tagged
from corecur.data.text.open_texts import gather_labelled
from corecur.data.text.split_files import data_files
from corecur.data.text.text_files import TextReader
from corecur.data.text.text_parts import TextPart
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding, by_gravity
from corecur.learners.fill_splits import share_in
from corecur.learners.tasks import TASKS, find_task
from corecur.report.page import Finding as Block
from corecur.report.page import KeyValues, Section, Text

_MOST_FILES = 100_000


@dataclass(frozen=True)
class DataCheck:
    """What a check found, the gravest first, and what it looked at.

    >>> DataCheck("a", "t", 1, "copies", ()).samples
    1
    """

    source: str
    task: str
    samples: int
    looked_for: str
    findings: tuple[Finding, ...]
    seconds: float = 0.0

    @property
    def worst(self) -> str | None:
        """The gravest level, or None where nothing was found.

        >>> DataCheck("a", "t", 1, "copies", (Finding("copies", "1 copy."),)).worst
        'warning'
        """
        return self.findings[0].level if self.findings else None

    def sentence(self) -> str:
        """The result in words.

        >>> DataCheck("digits", "image-classification", 1797, "copies", ()).sentence()
        'nothing wrong found among 1,797 samples; looked for: copies'
        """
        if not self.findings:
            return f"nothing wrong found among {self.samples:,} samples; looked for: {self.looked_for}"
        counts = {
            level: sum(found.level == level for found in self.findings) for level in ("problem", "warning", "note")
        }
        shown = ", ".join(f"{n} {level}{'s' * (n > 1)}" for level, n in counts.items() if n)
        return f"{shown} among {self.samples:,} samples; looked for: {self.looked_for}"

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values.

        >>> DataCheck("a", "t", 1, "copies", ()).as_json()["findings"]
        []
        """
        return {
            "source": self.source, "task": self.task, "samples": self.samples, "seconds": round(self.seconds, 3),
            "looked_for": self.looked_for, "findings": [found.as_json() for found in self.findings],
        }  # fmt: skip

    def sections(self) -> list[Section]:
        """The sections of a page.

        >>> [section.title for section in DataCheck("a", "t", 1, "copies", ()).sections()]
        ['Data check']
        """
        facts = {"Source": self.source, "Task": self.task, "Samples": f"{self.samples:,}"}
        sentence = self.sentence()
        lead = Text(f"{sentence[0].upper()}{sentence[1:]}.", lead=True)
        return [
            Section("Data check", [lead, KeyValues(facts), *map(Block.of, self.findings)]),
            *(
                Section(found.kind.replace("-", " ").capitalize(), [Text(line) for line in found.evidence])
                for found in self.findings
                if len(found.evidence) > 5
            ),
        ]


Found = tuple[list[Finding], int]
Given = Mapping[str, Any]


@dataclass(frozen=True)
class _Check:
    """How sources of a task are checked, and for what."""

    run: Callable[[Any, Given, Progress | None], Found]
    looked_for: str


def check(
    source: Any,
    *,
    task: str = "auto",
    validation: Any = None,
    test: Any = None,
    progress: Progress | None = None,
) -> DataCheck:
    """Look through a source as `fit` takes it, and tell everything that is wrong or odd about it.

    ``validation`` and ``test`` are sources of their own; shares are passed over. Damaged files are findings, all of
    them. Raises DataError where there is no source at all, ConfigError for an unknown task.

    >>> check("digits").findings
    ()
    """
    began = time.perf_counter()
    if task != "auto" and task not in TASKS:
        raise ConfigError(f"unknown task {task!r}", expected=", ".join(["auto", *TASKS]))
    if task == "auto" and not isinstance(source, (str, os.PathLike)):
        raise ConfigError("what arrays are for cannot be seen", do=f"name the task: {', '.join(TASKS)}")
    name = find_task(os.fspath(source)) if task == "auto" else task
    given = {"validation": validation, "test": test}
    extra = {split: part for split, part in given.items() if part is not None and share_in(part) is None}
    chosen = CHECKS[name]
    try:
        findings, samples = chosen.run(source, extra, progress)
    except DataError as error:
        if not (isinstance(source, (str, os.PathLike)) and Path(source).expanduser().exists()):
            raise
        findings, samples = [refused(error)], 0
    origin = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "arrays"
    kept = by_gravity(findings)
    return DataCheck(origin, name, samples, chosen.looked_for, kept, time.perf_counter() - began)


def _pictures(source: Any, extra: Given, progress: Progress | None) -> Found:
    errors: list[DataError] = []
    _, gathered = gather_images(source, refuse=errors.append)
    parts, bad = dict(gathered.parts), list(gathered.bad)
    for split, other in extra.items():
        origin, more = gather_images(other, refuse=errors.append)
        parts[split] = only_images(more, split, origin)
        bad += more.bad
    is_folder = gathered.kind == "folder"
    findings, looked = picture_findings(parts, root=Path(source).expanduser() if is_folder else None, progress=progress)
    if bad:
        verdict = f"{len(bad):,} pictures of the table are not there."
        evidence = lines(f"{path}: {reason}" for path, reason in bad)
        findings.append(Finding("missing-files", verdict, evidence, "mend the paths, or use --skip-bad", "problem"))
    names = [str(name) for part in parts.values() for name in part.names]
    splits = [split for split, part in parts.items() for _ in range(len(part))]
    spelled: dict[str, str] = {}
    labels = [spelled.setdefault(str(label), str(label)) for part in parts.values() for label in part.labels]
    counted = label_count_findings(Listed(names, splits, labels, "picture"))
    return [*map(refused, errors), *gathered.findings, *findings, *counted], looked + len(bad)


def _texts(source: Any, extra: Given, progress: Progress | None) -> Found:
    reader = TextReader(skip_bad=True)
    _, gathered = gather_labelled(source, reader)
    parts = dict(gathered.parts)
    for split, other in extra.items():
        found = gather_labelled(other, reader)[1].parts
        parts[split] = found.get(split) or found["train"]
    findings, looked = text_findings(parts)
    columns = [] if gathered.kind != "table" else column_findings(_files_of(source))
    return [*_bad(reader), *reader.notes, *encoding_findings(_files_of(source)), *columns, *findings], looked


def _corpus(source: Any, extra: Given, progress: Progress | None) -> Found:
    found = load_corpus(source, skip_bad=True, **extra)
    sets = {"train": found.train, "validation": found.validation, "test": found.test}
    parts = {split: TextPart(list(part.documents), None, list(part.names))
             for split, part in sets.items() if part is not None}  # fmt: skip
    findings, looked = text_findings(parts)
    own = [one for one in found.findings if one.kind != "leak"]
    return [*own, *encoding_findings(_files_of(source)), *findings], looked


def _tagged(source: Any, extra: Given, progress: Progress | None) -> Found:
    reader = TextReader(skip_bad=True)
    _, _, sets = gather_tagged(source, None, reader)
    for split, other in extra.items():
        found = gather_tagged(other, None, reader)[2]
        sets[split] = found.get(split) or found["train"]
    findings, looked = tag_findings(sets, reader.bad)
    return [*reader.notes, *encoding_findings(_files_of(source)), *findings], looked


def _series(source: Any, extra: Given, progress: Progress | None) -> Found:
    _, gathered = gather_labelled_series(source)
    for split, other in extra.items():
        origin, more = gather_labelled_series(other)
        gathered = gathered.with_part(split, only_part(more, split, origin))
    findings, looked = series_findings(gathered)
    return [*gathered.findings, *findings], looked


def _table(source: Any, extra: Given, progress: Progress | None) -> Found:
    findings, looked = table_findings(source)
    for split, other in extra.items():
        more, rows = table_findings(other)
        findings += [Finding(one.kind, f"{split}: {one.verdict}", one.evidence, one.remedy, one.level) for one in more]
        looked += rows
    return findings, looked


def _bad(reader: TextReader) -> list[Finding]:
    if not reader.bad:
        return []
    verdict = f"{len(reader.bad):,} {'file or row' if len(reader.bad) == 1 else 'files or rows'} cannot be read."
    return [Finding("unreadable", verdict, lines(reader.bad), "mend them, or train with --skip-bad", "problem")]


def _files_of(source: Any) -> list[Path]:
    """The text files that a source is read from, those in folders included."""
    if not isinstance(source, (str, os.PathLike)):
        return []
    path = Path(source).expanduser()
    if not path.is_dir():
        return list(data_files(path))
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(files) if not name.startswith(".")]
    return [file for file in found[:_MOST_FILES] if file.is_file()]


# The same names as the tasks themselves.
CHECKS: Mapping[str, _Check] = {
    "image-classification": _Check(
        _pictures,
        "unreadable and misnamed files, copies and near copies, odd sizes, pictures that show nothing, noise, "
        "negatives, classes missing, tiny or uneven, files that give the class away",
    ),
    "text-classification": _Check(
        _texts,
        "unreadable files and rows, encodings, empty and endless texts, copies and near copies, words and columns "
        "that give the class away, classes missing, tiny or uneven",
    ),
    "text-generation": _Check(_corpus, "unreadable files, encodings, empty and endless documents, copies"),
    "sequence-tagging": _Check(
        _tagged,
        "unreadable sentences, tags that break their scheme, slips in tags, encodings, endless sentences, copies",
    ),
    "series-classification": _Check(
        _series,
        "unusable series, gaps, dead, clipped and out-of-scale ones, spikes, odd lengths, copies and near copies, "
        "channels that give the class away, classes missing, tiny or uneven",
    ),
    "forecasting": _Check(
        _table,
        "cells that are no numbers, order of the times, repeated times, gaps, constant and empty columns, outliers, "
        "stuck values, columns that give another away",
    ),
}
