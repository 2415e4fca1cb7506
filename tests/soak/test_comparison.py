"""The verdict of a comparison, counted: 1,000 draws of two equally good models for each kind of test, and its power."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from corecur.engine.paired_tests import figure_interval
from tests.comparison.equal_models import (
    Draw,
    accuracy,
    entities,
    fold_answers,
    folds,
    later_folds,
    log_loss,
    seeds,
    share_shown,
    tokens,
    trained_seeds,
    windows,
)

pytestmark = pytest.mark.soak

DRAWS = 1000
Values = NDArray[Any]
EQUAL: dict[str, Draw] = {
    **{
        f"accuracy, {n} samples, {share}, alike on {likeness}": accuracy(n, share, likeness)
        for n in (30, 100, 1000)
        for share in (0.6, 0.95)
        for likeness in (0.0, 0.8)
    },
    "F1, 20 sentences": entities(20),
    "F1, 100 sentences": entities(100),
    "F1, 400 sentences": entities(400),
    "windows, 300 of 12 steps": windows(300, 12),
    "windows, 2,000 of 24 steps": windows(2000, 24),
    "text, 100 pieces": tokens(100, 5),
    "text, 1,000 pieces": tokens(1000, 20),
    "log loss, 50 samples": log_loss(50),
    "log loss, 500 samples": log_loss(500),
    "3 seeds each, 300 samples": seeds(3, 300),
    "5 seeds each, 1,000 samples": seeds(5, 1000),
    "3 seeds each, only one way depends on them": seeds(3, 300, spreads=(0.04, 0.0)),
    **{
        f"{runs} seeds each, trained, {n} samples": trained_seeds(runs, 100, n)
        for runs in (2, 3, 5)
        for n in (100, 400)
    },
    **{f"{count} folds of {n} samples": folds(count, n) for count in (2, 3, 5, 10) for n in (60, 300)},
    **{f"{count} folds, each after the one before": later_folds(count, 400) for count in (3, 5)},
}
# name -> draw of a better and a worse model, and how often that is seen at least
APART: dict[str, tuple[Draw, float]] = {
    "accuracy, 1,000 samples, 93 and 90 %": (accuracy(1000, 0.90, 0.8, gap=0.03), 0.8),
    "F1, 400 sentences": (entities(400, gap=0.1), 0.8),
    "windows, 2,000 of 24 steps, a fifth larger": (windows(2000, 24, factor=1.25), 0.6),
    "text, 1,000 pieces, 0.02 bits": (tokens(1000, 20, more=0.02), 0.8),
    "log loss, 500 samples, a fifth more": (log_loss(500, more=0.2), 0.8),
    "5 seeds each, 1,000 samples, 5 points": (seeds(5, 1000, gap=0.05), 0.6),
    "5 seeds each, trained, a third as many features": (trained_seeds(5, 100, 1000, gap=10), 0.4),
    "5 folds of 300 samples, 10 points": (folds(5, 300, gap=0.25), 0.6),
    "5 folds, each after the one before": (later_folds(5, 800, gap=1.5), 0.5),
}
# name -> draw of values (U,) of a figure that is 0 or more, and the share of intervals that must hold the true mean
HELD: dict[str, tuple[Callable[[np.random.Generator, int], Values], int, float]] = {
    **{
        f"log loss, {n} samples": (lambda random, n: -np.log(random.beta(12, 0.4, n).clip(1e-12)), n, least)
        for n, least in ((10, 0.90), (20, 0.91), (50, 0.93), (500, 0.93))
    },
    "log loss of a poor model, 50 samples": (lambda random, n: random.exponential(1.0, n), 50, 0.93),
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_models_are_called_different_at_most_one_time_of_twenty(name: str) -> None:
    share = share_shown(EQUAL[name], DRAWS, seed=1)
    print(f"\n{name}: {100 * share:.1f} % of {DRAWS:,} draws")
    assert share <= 0.05


@pytest.mark.parametrize("name", APART)
def test_what_is_there_is_seen(name: str) -> None:
    draw, least = APART[name]
    share = share_shown(draw, 200, seed=2)
    print(f"\n{name}: seen in {100 * share:.0f} % of 200 draws")
    assert share >= least


@pytest.mark.parametrize(("count", "n"), [(5, 60), (5, 300), (10, 60), (10, 300)])
def test_a_plain_t_test_over_folds_errs_more_often(count: int, n: int) -> None:
    random, draw = np.random.default_rng(1), fold_answers(count, n)
    plain = corrected = 0
    for _ in range(DRAWS):
        _, figures = draw(random)
        apart = np.subtract(*figures)
        if apart.std() > 0:
            t = abs(apart.mean()) / (apart.std(ddof=1) / np.sqrt(count))
            plain += 2 * stats.t.sf(t, count - 1) <= 0.05
            corrected += 2 * stats.t.sf(t / np.sqrt(1 + count / (count - 1)), count - 1) <= 0.05
    print(f"\n{count} folds of {n}: plain {plain / DRAWS:.1%}, corrected {corrected / DRAWS:.1%} of {DRAWS:,} draws")
    assert corrected < plain and corrected <= 0.05 * DRAWS


@pytest.mark.parametrize("name", HELD)
def test_intervals_within_bounds_hold_what_they_say(name: str) -> None:
    draw, n, least = HELD[name]
    random = np.random.default_rng(3)
    truth = float(draw(random, 4_000_000).mean())
    found = [figure_interval(draw(random, n), bounds=(0, np.inf)) for _ in range(DRAWS)]
    ends = np.array([one for one in found if one is not None])
    share = float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())
    print(f"\n{name}: {100 * share:.1f} % of {DRAWS:,} intervals hold the true mean; the lowest is {ends.min():.5f}")
    assert len(ends) == DRAWS and ends.min() >= 0
    assert share >= least
