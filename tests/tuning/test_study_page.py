"""The page of a search: what is drawn from which trials, also from few, equal or hostile ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from corecur.report.page import render
from corecur.tuning.open_study import StudyRequest
from corecur.tuning.search_space import Choice, Range
from corecur.tuning.study_page import sections
from corecur.tuning.trial_table import TrialRow, best_of, front_of
from corecur.tuning.tuning_result import TuneResult, train_command


def request(**more: Any) -> StudyRequest:
    given: dict[str, Any] = {
        "source": "photos & co", "task": "image-classification", "data": "1", "metric": "val_accuracy",
        "direction": "maximize", "settings": {"epochs": 2},
        "space": {"learning_rate": Range(low=0.001, high=0.1, log=True), "model": Choice(values=("blocks", "<b>"))},
    }  # fmt: skip
    return StudyRequest(**given | more)


def row(number: int, value: float | None, rate: float, cost: int, end: str = "done", model: str = "blocks") -> TrialRow:
    settings = {} if number == 0 else {"learning_rate": rate, "model": model}
    return TrialRow(number, end, value, settings, parameters=cost, latency=cost / 1e7, seconds=1.0)


def page(rows: list[TrialRow], **more: Any) -> str:
    best = best_of(rows, 1.0)
    assert best is not None
    return render("search", "", sections(TuneResult(Path("runs/s"), request(), rows, best, **more)))


def test_the_page_shows_what_was_found() -> None:
    rows = [row(0, 0.8, 0.1, 1000), row(1, 0.9, 0.01, 4000), row(2, 0.7, 0.002, 2000, model="<b>"),
            row(3, None, 0.003, 9000, end="refused")]  # fmt: skip
    html = page(rows, importance={"learning_rate": 0.75, "model": 0.25}, tests={1: {"sentence": "test 1 < 2"}})
    assert "Validation accuracy by trial: the best went from 80.00 % to 90.00 % in 3 trials." in html
    assert "Importance of the settings: learning_rate 75 %, model 25 %." in html
    assert "Pareto front of validation accuracy and parameters: 80.00 % at 1 k; 90.00 % at 4 k." in html
    assert "4 trials: 3 done, 1 refused" in html
    assert "test 1 &lt; 2" in html and "<b>" not in re.sub(r"<b>Do this", "", html)


@pytest.mark.parametrize(
    "rows",
    [
        [row(0, 0.5, 0.1, 10)],
        [row(0, 0.5, 0.1, 10), row(1, 0.5, 0.1, 10)],
        [row(0, 0.0, 0.1, 10), row(1, 0.0, 0.05, 20)],
        [row(0, 0.9, 0.1, 10), *(row(n, 0.9 - 1e-9 * n, 0.01 * n, 10) for n in range(1, 9)), row(9, 1e-6, 0.09, 20)],
    ],
)
def test_few_equal_and_far_off_trials_are_drawn(rows: list[TrialRow]) -> None:
    assert "<svg" in page(rows)


def test_the_command_is_one_that_the_shell_gives_back() -> None:
    import shlex

    words = shlex.split(train_command(request(seed=3, validation=0.2), {"learning_rate": 0.01, "widths": (8, 16)}))
    assert words[:5] == ["corecur", "train", "photos & co", "--task", "image-classification"]
    assert words[5:] == ["--epochs", "2", "--learning-rate", "0.01", "--widths", "8,16", "--validation", "0.2",
                         "--seed", "3"]  # fmt: skip


def test_a_front_is_what_no_other_beats() -> None:
    import itertools
    import random

    draw = random.Random(0)
    for sign in (1.0, -1.0):
        rows = [row(n, draw.randint(0, 9) / 10, 0.1, draw.randint(1, 9)) for n in range(40)]
        front = front_of(rows, "parameters", sign)
        for mine, other in itertools.product(front, rows):  # by definition
            better = sign * (other.value or 0) > sign * (mine.value or 0)
            assert not (better and (other.parameters or 0) <= (mine.parameters or 0))
        for other in rows:
            assert any(
                sign * (mine.value or 0) >= sign * (other.value or 0)
                and (mine.parameters or 0) <= (other.parameters or 0)
                for mine in front
            )
