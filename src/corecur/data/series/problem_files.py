"""The two files of an archive's problem: NAME_TRAIN and NAME_TEST, as ``.ts``, ``.arff``, ``.tsv`` or ``.txt``."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from corecur.data.class_folders import list_folder
from corecur.data.gathered import SPLIT_WORDS
from corecur.data.series.arff_files import gather_arff
from corecur.data.series.label_first import gather_label_first, is_label_first
from corecur.data.series.recordings import GatheredSeries
from corecur.data.series.ts_files import gather_ts
from corecur.errors import DataError
from corecur.finding import remark

_NAME = re.compile(r"(.*)_(train|test|val|valid|validation)", re.IGNORECASE)


class Reader(Protocol):
    """What reads one file as one split."""

    def __call__(self, source: Path, *, split: str = "train") -> GatheredSeries: ...


# In this order where a problem comes in several formats.
READERS: dict[str, Reader] = {
    ".ts": gather_ts, ".arff": gather_arff, ".tsv": gather_label_first, ".txt": gather_label_first,
}  # fmt: skip


def problem_name(path: Path) -> tuple[str, str] | None:
    """The problem a file belongs to and its split, or None.

    >>> problem_name(Path("GunPoint_TRAIN.ts")), problem_name(Path("notes.txt"))
    (('GunPoint', 'train'), None)
    """
    match = _NAME.fullmatch(path.stem)
    if match is None or path.suffix.casefold() not in READERS:
        return None
    return match[1], SPLIT_WORDS[match[2].casefold()]


def is_problem_folder(path: Path) -> bool:
    """Whether a folder holds the training file of a problem.

    >>> is_problem_folder(Path("no such folder"))
    False
    """
    return path.is_dir() and bool(_problems(path))


def gather_problem_folder(source: Path) -> GatheredSeries:
    """Read the problem of a folder: the one that is called as the folder is, or the only one.

    Raises DataError where the folder holds several others.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for split in ("TRAIN", "TEST"):
    ...         _ = Path(folder, f"A_{split}.tsv").write_text("1\\t0.5\\t0.7\\n2\\t0.1\\t0.3\\n")
    ...     found = gather_problem_folder(Path(folder))
    >>> found.kind, sorted(found.parts)
    ('problem', ['test', 'train'])
    """
    problems = _problems(source)
    own = next((name for name in problems if name.casefold() == source.resolve().name.casefold()), None)
    name = own if own is not None else next(iter(problems))
    others = [other for other in problems if other != name]
    if own is None and others:
        raise DataError(
            "the folder holds several problems",
            where=source,
            got=", ".join(problems),
            do=f"name one by its file: {problems[name]['train'][0]}",
        )
    files = problems[name]
    found = _gather({split: formats[0] for split, formats in files.items()})
    unread = [path.name for formats in files.values() for path in formats[1:]]
    left = [remark(f"Files of the same problem in other formats were left out: {', '.join(unread)}.")] * bool(unread)
    left += [remark(f"The folder holds other problems too, which were left out: {', '.join(others)}.")] * bool(others)
    return replace(found, findings=(*found.findings, *left))


def gather_problem_file(source: Path) -> GatheredSeries:
    """Read one file; a NAME_TRAIN file brings the NAME_TEST file beside it, where there is one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.tsv").write_text("1\\t0.5\\t0.7\\n2\\t0.1\\t0.3\\n")
    ...     list(gather_problem_file(Path(folder, "a.tsv")).parts)
    ['train']
    """
    named = problem_name(source)
    files = {"train": source}
    if named is not None and named[1] == "train":
        # The same format goes before any other.
        for path in sorted(list_folder(source.parent).others, key=lambda path: path.suffix != source.suffix):
            beside = problem_name(path)
            if beside and beside[0] == named[0] and beside[1] not in files and _is_series(path):
                files[beside[1]] = path
    found = _gather(files)
    notes = [
        remark(f"The {split} split is {path.name}, beside it.") for split, path in files.items() if split != "train"
    ]
    return replace(found, findings=(*found.findings, *notes), kind=source.suffix.casefold()[1:])


def _problems(folder: Path) -> dict[str, dict[str, list[Path]]]:
    """The problems in a folder that have a training file: name -> split -> its files, the best format first."""
    problems: dict[str, dict[str, list[Path]]] = {}
    order = list(READERS)
    files = [path for path in list_folder(folder).others if problem_name(path) and _is_series(path)]
    for path in sorted(files, key=lambda path: order.index(path.suffix.casefold())):
        name, split = problem_name(path) or ("", "")
        problems.setdefault(name, {}).setdefault(split, []).append(path)
    return {name: files for name, files in problems.items() if "train" in files}


def _gather(files: dict[str, Path]) -> GatheredSeries:
    """One source out of a file for each split; the classes are those the training file declares."""
    found = {split: READERS[path.suffix.casefold()](path, split=split) for split, path in files.items()}
    train = found["train"]
    return GatheredSeries(
        "problem",
        {split: one.parts[split] for split, one in found.items()},
        train.channels,
        train.classes,
        findings=tuple(dict.fromkeys(note for one in found.values() for note in one.findings)),
        bad=tuple(bad for one in found.values() for bad in one.bad),
    )


def _is_series(path: Path) -> bool:
    """Whether a file that is called like one of a problem is one, and not a text."""
    return READERS[path.suffix.casefold()] is not gather_label_first or is_label_first(path)
