"""Data that never change, or hardly, or beyond measure: the loss stays finite, or nothing is learned and it is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from corecur.errors import DataError
from corecur.learners.forecaster import Forecaster
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.text_classifier import TextClassifier

RANDOM = np.random.default_rng(0)
LABELS, STEPS = np.arange(24) % 2, np.arange(150.0)


def one_flat_channel(value: float) -> Any:
    series = RANDOM.normal(size=(24, 12, 2))
    series[..., 1] = value
    return series


def flat_green() -> Any:
    pictures = RANDOM.integers(0, 255, (24, 8, 8, 3)).astype(np.uint8)
    pictures[..., 1] = 9
    return pictures


def outlier(series: Any, value: float) -> Any:
    series[0] = value
    return series


SAMPLES: dict[str, tuple[type[Any], Callable[[], Any]]] = {
    "black pictures": (ImageClassifier, lambda: np.zeros((24, 8, 8), np.uint8)),
    "white pictures": (ImageClassifier, lambda: np.full((24, 8, 8, 3), 255, np.uint8)),
    "pictures without green": (ImageClassifier, flat_green),
    "series of nothing": (SeriesClassifier, lambda: np.zeros((24, 12))),
    "series of one large number": (SeriesClassifier, lambda: np.full((24, 12), 1e38)),
    "series with a flat channel": (SeriesClassifier, lambda: one_flat_channel(1e6)),
    "series of next to nothing": (SeriesClassifier, lambda: RANDOM.normal(size=(24, 12)) * 1e-30),
    "series far from zero": (SeriesClassifier, lambda: 1e8 + RANDOM.normal(size=(24, 12))),
    "series with one beyond measure": (SeriesClassifier, lambda: outlier(RANDOM.normal(size=(24, 12)), 1e37)),
    "one text": (TextClassifier, lambda: ["the same text"] * 24),
}


def all_finite(result: Any) -> bool:
    """Whether every figure of every epoch is a number."""
    return bool(result.history) and all(math.isfinite(value) for row in result.history for value in row.values())


@pytest.mark.parametrize("case", SAMPLES)
def test_the_loss_stays_finite(case: str) -> None:
    kind, make = SAMPLES[case]
    learner = kind(epochs=1, threads=1)
    samples = make()
    result = learner.fit(samples, LABELS, validation=0.2, test=0)
    assert all_finite(result)
    answer = learner.predict(samples[:1])[0]
    assert math.isclose(sum(answer.probabilities.values()), 1, rel_tol=1e-4)


TABLES = {
    "constant at the end": np.concatenate([RANDOM.normal(size=75), np.full(75, 3.0)]),
    "one step": STEPS * 0 + (STEPS == 50),
    "next to nothing": STEPS % 7 * 1e-35,
    "near float32's end": STEPS % 7 * 1e36,
    "far from zero": 1e12 + STEPS % 7,
    "an outlier to learn from": STEPS % 7 + (STEPS == 50) * 1e35,
}


@pytest.mark.parametrize("case", TABLES)
def test_a_forecast_stays_finite(case: str) -> None:
    learner = Forecaster(epochs=1, threads=1, hidden=8)
    assert all_finite(learner.fit({"load": TABLES[case], "flat": STEPS * 0 + 5}))
    answer = learner.predict({"load": TABLES[case], "flat": STEPS * 0 + 5})[0]
    assert np.isfinite(np.asarray(answer.values)).all()


def test_a_target_that_never_changes_is_refused() -> None:
    with pytest.raises(DataError, match="nothing to forecast"):
        Forecaster(epochs=1, threads=1).fit(STEPS[:, None] * 0 + 3)


def test_an_answer_that_is_no_number_is_refused() -> None:
    """The past, or a series, lies so far from all that was learned that float32 overflows on the way."""
    forecaster = Forecaster(epochs=1, threads=1, hidden=8)
    forecaster.fit({"load": STEPS % 7})
    with pytest.raises(DataError) as refused:
        forecaster.predict({"load": STEPS % 7 + (STEPS == 145) * 1e37})
    assert "row 146" in str(refused.value) and "load 1e+37" in str(refused.value)
    classifier = SeriesClassifier(epochs=1, threads=1)
    series = RANDOM.normal(size=(24, 12))
    classifier.fit(series, LABELS, validation=0.2, test=0)
    with pytest.raises(DataError, match="no number"):
        classifier.predict(outlier(series.copy(), 1e38)[:2])
    with pytest.raises(DataError, match="1 such samples of 24"):
        classifier.evaluate(outlier(series.copy(), 1e38), LABELS)
