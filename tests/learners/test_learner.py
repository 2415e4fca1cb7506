from __future__ import annotations

import json

import pytest

from corecur.finding import Finding
from corecur.learners.fit_result import FitResult
from corecur.learners.learner import Learner


@pytest.mark.parametrize(
    ("epochs", "planned", "words"),
    [(1, None, "1 epoch"), (1, 1, "1 epoch"), (7, 7, "7 epochs"), (7, 30, "7 of 30 epochs, stopped early,")],
)
def test_epochs_in_words(epochs: int, planned: int | None, words: str) -> None:
    result = FitResult(history=[{}] * epochs, planned_epochs=planned)
    assert result.epochs_in_words() == words and result.stopped_early == ("early" in words)


def test_the_result_is_json() -> None:
    found = FitResult(history=[{}], findings=(Finding("odd", "Odd."),), seconds=1.23456).as_json()
    assert json.loads(json.dumps(found)) == found
    assert found == {
        "run": None, "bundle": None, "report": None, "seconds": 1.235, "train_seconds": 0.0, "epochs": 1,
        "findings": [Finding("odd", "Odd.").as_json()], "calibration": None, "baselines": [],
        "diagnosis": [], "healed": [], "validation": {}, "test": None,
    }  # fmt: skip


def test_a_learner_is_an_interface() -> None:
    with pytest.raises(TypeError):
        Learner()  # type: ignore[abstract]
