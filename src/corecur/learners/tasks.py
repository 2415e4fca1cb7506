"""The tasks that can be learned, and which of them a source on disk is for."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from corecur.bundle.open import Bundle, open_untrusted
from corecur.data.class_folders import ELSEWHERE, list_folder
from corecur.data.open_images import image_kind
from corecur.data.path_table import PATH_COLUMNS
from corecur.data.pictures import SUFFIXES
from corecur.data.series.csv_rows import read_sheet
from corecur.data.series.series_kinds import series_kind
from corecur.data.series.table_kind import holds_time_table
from corecur.data.text.open_tagged import READERS
from corecur.data.text.open_texts import TABLE_SUFFIXES
from corecur.data.text.text_columns import TEXT_COLUMNS
from corecur.data.text.text_kinds import text_kind
from corecur.errors import BundleError, ConfigError, DataError
from corecur.learners.forecaster import Forecaster
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.learner import Learner
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.text_classifier import TextClassifier
from corecur.learners.text_generator import TextGenerator
from corecur.names import Table
from corecur.run_folder import find_bundle

# No archive is unpacked here: what is in one (links, paths outside, a thousand times its size) is for its program.
ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})
# Files and rows looked at; a source shows what it is in its first ones.
_LOOKED_AT = 10_000
_ROWS, _START = 50, 2**18  # characters: a line may have no end


@dataclass(frozen=True)
class Task:
    """One kind of task: its learner, what tells a path or a sample name that it is for it, and its sources in words."""

    learner: type[Learner[Any, Any, Any]]
    suits: Callable[[str], bool]
    sources: str


def holds_pictures(source: str | Path) -> bool:
    """Whether pictures can be read from a source, or are what it lacks (an empty folder, a table of missing files).

    >>> holds_pictures("no such path"), holds_pictures("digits")
    (True, True)
    """
    path, kind = Path(source).expanduser(), image_kind(source)
    if kind == "sample":
        return True
    kind = image_kind(path)
    if kind == "folder":
        found = _suffixes(path)
        beside = (file for file in list_folder(path).others if file.suffix.casefold() in ELSEWHERE)
        return not found or bool(SUFFIXES & found.keys()) or any(holds_pictures(file) for file in beside)
    if kind == "csv":
        lines = [line.casefold() for line in _first_lines(path)]
        header = {cell.strip(' "') for cell in re.split("[,;\t]", lines[0])} if lines else set()
        return not lines or bool(header & set(PATH_COLUMNS)) or any(s in line for line in lines for s in SUFFIXES)
    return kind is not None or not path.exists() or path.suffix.casefold() in SUFFIXES


def holds_labelled_texts(source: str | Path) -> bool:
    """Whether a source is texts with labels, or a table that lacks something to be that.

    A folder of class folders with more pictures than texts is none.

    >>> holds_labelled_texts("pydoc"), holds_labelled_texts("no such path")
    (True, False)
    """
    kind, path = text_kind(source), Path(source).expanduser()
    if kind is None and path.suffix.casefold() in TABLE_SUFFIXES and path.is_file():
        words = {cell.strip(' "') for line in _first_lines(path)[:1] for cell in re.split("[,;\t]", line.casefold())}
        return bool(words & set(TEXT_COLUMNS))
    if kind != "folder":
        return kind in ("table", "lines", "sample")
    found = _suffixes(path)
    pictures = sum(found[suffix] for suffix in SUFFIXES)
    return pictures < found.total() - pictures


def holds_plain_text(source: str | Path) -> bool:
    """Whether a source is plain text to write on from, or a text file that lacks something to be that.

    >>> holds_plain_text("no such path")
    False
    """
    kind, path = text_kind(source), Path(source).expanduser()
    return kind == "corpus" or (kind is None and path.suffix.casefold() == ".txt" and path.is_file())


# In this order: the last takes what none before it knows, and says what it lacks.
TASKS = Table(
    "task",
    {
        SequenceTagger.task: Task(
            SequenceTagger,
            lambda source: text_kind(source) in READERS,
            "a CoNLL or CoNLL-U file, or a folder with one each for train, dev and test",
        ),
        SeriesClassifier.task: Task(
            SeriesClassifier,
            lambda source: series_kind(source) == "classification",
            "series: a .ts or .arff file, a folder with NAME_TRAIN and NAME_TEST, folders of CSV files or of signals, "
            "a CSV panel with id and label columns, an .npz file, or the sample waves",
        ),
        TextClassifier.task: Task(
            TextClassifier,
            holds_labelled_texts,
            "a folder with a folder of text files for each class, a CSV, TSV or JSON-lines file with a text and a "
            "label column, a file with a label and a text on each line, or the sample pydoc",
        ),
        TextGenerator.task: Task(
            TextGenerator,
            holds_plain_text,
            "a text file, a folder of text files without labels, or JSON lists of poems",
        ),
        Forecaster.task: Task(
            Forecaster,
            holds_time_table,
            "a CSV file with a column of times and columns of numbers, or a sample name (demand, passengers)",
        ),
        ImageClassifier.task: Task(
            ImageClassifier,
            holds_pictures,
            "a folder with a folder of pictures for each class, a CSV file of picture paths and labels, "
            "IDX, CIFAR, .npz or .npy files, or a sample name",
        ),
    },
)


def find_task(source: str) -> str:
    """The task a path or a sample name is for; DataError, with what was found there, where it is for none.

    >>> find_task("digits")
    'image-classification'
    """
    name = next((name for name, task in TASKS.items() if task.suits(source)), None)
    if name is not None:
        return name
    path = Path(source).expanduser()
    if image_kind(path) == "csv":
        read_sheet(path)  # a table that none can read: two columns of one name, bytes that no text has
    raise DataError(
        "there is nothing here that can be learned",
        where=path,
        got=_describe(path),
        expected="; ".join(f"{task.sources} ({name})" for name, task in TASKS.items()),
        do="unpack it, and give the folder"
        if path.suffix.casefold() in ARCHIVES
        else "give such a source, or name the task (--task) to hear what this one lacks for it",
    )


def load_learner(path: str | os.PathLike[str], *, device: str = "auto") -> Learner[Any, Any, Any]:
    """The learner in a bundle or in a run folder, whatever its task; BundleError or RunError where there is none."""
    return learner_in(open_untrusted(find_bundle(Path(path))), device=device)


def learner_in(bundle: Bundle, *, device: str = "auto") -> Learner[Any, Any, Any]:
    """The learner in an opened bundle, whatever its task."""
    task = bundle.preprocess.get("task") if isinstance(bundle.preprocess, dict) else None
    if task is None:
        raise BundleError(
            "no-learner",
            "this model file holds a network alone: neither how data become its inputs nor what its outputs mean",
            where=bundle.path,
            do="use it in Python: corecur.Model.load(path)",
        )
    if not isinstance(task, str) or task not in list(TASKS):  # exactly: the table takes other spellings
        raise BundleError("other-task", f"this model file is for the task {ascii(task)[:80]}", where=bundle.path)
    return TASKS[task].learner.from_bundle(bundle, device=device)


def load_generator(path: str | os.PathLike[str], *, device: str = "auto") -> TextGenerator:
    """The text generator in a bundle or in a run folder; ConfigError where it is a model for something else."""
    learner = load_learner(path, device=device)
    if not isinstance(learner, TextGenerator):
        raise ConfigError(
            "this model writes no text", where=path, got=f"a {learner.title}", do="train one: corecur train book.txt"
        )
    learner.settle_threads()
    return learner


def _describe(path: Path) -> str:
    """What lies at a path, in a few words."""
    if path.is_dir():
        found = _suffixes(path)
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in found.most_common(5))
        return f"{'more than ' * (found.total() >= _LOOKED_AT)}{found.total():,} files, none a picture: {kinds}"
    if image_kind(path) == "csv":
        return f"a table without picture files, which begins: {(_first_lines(path) or [''])[0][:80]}"
    return f"a {path.suffix} file" if path.suffix else "a file of no known kind"


def _suffixes(folder: Path) -> Counter[str]:
    """How many files of each suffix lie in a folder and below it, hidden ones left out."""
    return Counter(Path(name).suffix.casefold() or "without suffix" for name in islice(_names(folder), _LOOKED_AT))


def _names(folder: Path) -> Iterator[str]:
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (name for name in files if not name.startswith("."))


def _first_lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return [line.strip()[:1000] for line in file.read(_START).splitlines()[:_ROWS]]
    except OSError as error:
        raise DataError(f"the table cannot be read: {error.strerror}", where=path) from error
