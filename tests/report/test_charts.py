"""Charts: their numbers against independent computations, their words, their limits."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.stats import binomtest

from corecur.errors import ShapeError
from corecur.report.charts import (
    ClassScore,
    class_bars,
    confusion,
    find_best_epoch,
    learning_curves,
    wilson,
)
from corecur.report.page import Figure

HISTORY = [
    {"epoch": e, "loss": 2 / e, "val_loss": 2.2 / e, "accuracy": 1 - 0.5 / e, "val_accuracy": 0.9 - 0.4 / e,
     "learning_rate": 0.1 / e, "seconds": 2.0, "waiting": 0.25}
    for e in range(1, 9)
]  # fmt: skip


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _words(figure: Figure) -> list[str]:
    root = ElementTree.fromstring(figure.picture)
    return ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")]


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (343, 360), (9_952, 10_000)])
def test_interval_is_wilsons(right: int, count: int) -> None:
    wanted = binomtest(right, count).proportion_ci(0.95, method="wilson")
    low, high = wilson(np.array(right / count), np.array(float(count)))
    np.testing.assert_allclose([low, high], [wanted.low, wanted.high], atol=1e-6)


def test_curves_say_what_they_show() -> None:
    loss, accuracy, rate, seconds = learning_curves(HISTORY)
    assert loss.alt == "Loss by epoch: training from 2 to 0.25; validation from 2.2 to 0.275. Best epoch: 8."
    assert "training from 50.0 % to 93.8 %; validation from 50.0 % to 85.0 %" in accuracy.alt
    assert "best: 8" in _words(loss) and {"training", "validation"} <= set(_words(accuracy))
    assert "Learning rate" in _words(rate)
    assert seconds.alt == "Seconds by epoch. Waited for data 25.0 % of 16.0 s."


def test_curves_of_little_or_broken_history() -> None:
    assert learning_curves([]) == ()
    assert len(learning_curves([{"loss": 1.0}])) == 1
    assert len(learning_curves(HISTORY[:1])) == 4
    assert learning_curves([{"epoch": 1, "loss": math.nan}]) == ()
    broken = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": math.inf}, {"epoch": 3, "loss": math.nan}]
    assert learning_curves(broken)[0].alt == "Loss by epoch: training 1."
    assert len(learning_curves([{"epoch": 1, "loss": 0.0, "seconds": 0.0}, {"epoch": 2, "loss": 0.0}])) == 2


def test_best_epoch() -> None:
    assert find_best_epoch([]) is None
    assert find_best_epoch([{"loss": 1.0}]) is None
    assert find_best_epoch([{"val_loss": 2.0}, {"val_loss": 1.0}, {"val_loss": math.nan}]) == 2
    tied = [{"epoch": 5, "val_accuracy": 0.9, "val_loss": 0.3}, {"epoch": 6, "val_accuracy": 0.9, "val_loss": 0.2}]
    assert find_best_epoch(tied) == 6
    assert find_best_epoch([{"val_accuracy": 0.9}, {"loss": 1.0}]) == 1


def test_a_small_confusion_matrix_shows_every_count() -> None:
    matrix = np.array([[41, 3, 0], [0, 52, 7], [5, 0, 60]])
    figure = confusion(matrix, ["cat", "<dog>", "猫猫猫"])
    words = _words(figure)
    assert sorted(int(word) for word in words if word.isdigit()) == [3, 5, 7, 41, 52, 60]
    assert words.count("cat") == words.count("<dog>") == words.count("猫猫猫") == 2
    assert "153 of 168" in figure.caption


@pytest.mark.parametrize("number", [1, 2, 20, 21, 100, 1000])
def test_confusion_matrices_of_any_size(number: int) -> None:
    figure = confusion(np.eye(number, dtype=int) * 3, [f"class {i}" for i in range(number)])
    assert (_words(figure).count("3") > 0) == (number <= 20)
    assert ("<image" in figure.picture) == (number > 20)
    assert len(figure.picture) < 150_000


def test_an_empty_row_is_no_division_by_zero() -> None:
    assert "0 of 0" in confusion(np.zeros((3, 3), int), ["a", "b", "c"]).caption


def test_a_matrix_that_does_not_fit_is_refused() -> None:
    for shape in ((2, 3), (3, 3), (0, 0)):
        with pytest.raises(ShapeError):
            confusion(np.zeros(shape, int), ["a", "b"][: shape[0]])


def test_bars_of_many_classes_are_the_lowest() -> None:
    rows = [ClassScore(f"c{i}", 1.0, 1 - i / 200, 1.0, 50) for i in range(100)]
    figure = class_bars(rows)
    shown = [word for word in _words(figure) if re.fullmatch(r"c\d+", word)]
    assert shown == [f"c{i}" for i in range(99, 74, -1)]
    assert "The 25 lowest of 100 classes" in figure.caption and "Lowest: c99, 50.5 %" in figure.caption


def test_bars_without_test_samples() -> None:
    figure = class_bars([ClassScore("a", math.nan, math.nan, math.nan, 0)])
    assert "No class has test samples" in figure.caption
