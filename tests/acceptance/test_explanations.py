"""Explanations of real test samples by the method taken by itself; ``bench/explanations.py`` has all methods."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from corecur.explain.attribution import Attribution
from corecur.explain.methods import explain
from corecur.learners.explanations import ASKING
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.text_classifier import TextClassifier

pytestmark = pytest.mark.acceptance

SAMPLES = 10
# Share of samples whose explanation is better than random by deletion: what "most" is held to here.
MOST = 0.7


def better_than_random(learner: Any, source: Any) -> float:
    """The share of test samples on which deletion is better than the mean of random rankings."""
    data = learner.read(source)
    learner.fit(data)
    # Not the samples on which the method was chosen, which are those that the bench explains.
    found = [explain(q) for q in islice(ASKING[learner.task].held_out(learner, data), 1, 3 * SAMPLES, 3)]
    checks = [one.faithfulness for one in found if isinstance(one, Attribution) and one.faithfulness is not None]
    assert len(checks) == SAMPLES
    print(f"{learner.task}: {[(round(c.deletion, 3), round(c.random_deletion, 3)) for c in checks]}")
    return sum(check.deletion < check.random_deletion for check in checks) / SAMPLES


def test_digits() -> None:
    assert better_than_random(ImageClassifier(epochs=4, threads=1), "digits") >= MOST


def test_sentences(data: Callable[[str], Path]) -> None:
    learner = TextClassifier(epochs=2, threads=1, units=16, embedding=32)
    assert better_than_random(learner, data("sentences") / "stsa.binary.train") >= MOST


def test_series(data: Callable[[str], Path]) -> None:
    """Over three seeds: of 50 series one short training may learn so little that no ranking moves its answers much."""
    shares = [
        better_than_random(
            SeriesClassifier(threads=1, epochs=40, filters=16, members=1, seed=seed), data("series") / "GunPoint"
        )
        for seed in range(3)
    ]
    assert sum(shares) / len(shares) >= MOST
