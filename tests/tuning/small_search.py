"""A search that takes a second, and what a study of it holds."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from corecur.tuning.open_study import OpenStudy, join_study
from corecur.tuning.study_storage import sqlite_url
from corecur.tuning.trial_table import TrialRow, row_of
from corecur.tuning.tune import tune
from corecur.tuning.tuning_result import TuneResult

SETTINGS: dict[str, Any] = {"epochs": 2, "threads": 1, "batch_size": 16, "seed": 3}
SPACE = {"learning_rate": "0.01..0.5", "label_smoothing": "0..0.2"}


def search(source: Any, out: Path, **more: Any) -> TuneResult:
    """A search of a few trials of tiny networks, unless told otherwise."""
    given: dict[str, Any] = {"search": SPACE, "trials": 4, "pruner": "none", "widths": (4,), **SETTINGS, **more}
    return tune(source, out=out, **given)


def opened(folder: Path) -> OpenStudy:
    """The study in a folder."""
    return join_study(folder, sqlite_url(folder.resolve()))


def rows_in(folder: Path) -> list[TrialRow]:
    """The trials of the study in a folder."""
    with contextlib.closing(opened(folder)) as book:
        return [row_of(trial, book.request) for trial in book.trials()]


def told(rows: list[TrialRow]) -> list[tuple[Any, ...]]:
    """What must be the same in every study of the same search: all but times and places."""
    return [(row.number, row.end, row.value, row.settings, row.parameters, row.epochs) for row in rows]
