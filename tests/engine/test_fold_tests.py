"""The corrected resampled t test against scipy and the formula of the paper, and how often it errs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from corecur.engine.fold_tests import fold_difference, fold_error, fold_interval
from corecur.engine.paired_tests import Difference, Measure, mcnemar, verdict
from corecur.errors import ConfigError
from tests.comparison.equal_models import folds, later_folds, share_shown

NOTHING = Difference(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 100, 100, "none")  # a test over samples that decides nothing


def test_p_and_interval_are_those_of_the_paper() -> None:
    random = np.random.default_rng(0)
    for count in (2, 3, 5, 10):
        a, b = random.normal(0.85, 0.03, count), random.normal(0.8, 0.03, count)
        found = fold_difference(NOTHING, a.tolist(), b.tolist(), ratio=1 / (count - 1))
        apart = a - b
        error = math.sqrt((1 / count + 1 / (count - 1)) * apart.var(ddof=1))
        assert found.p == pytest.approx(2 * stats.t.sf(abs(apart.mean()) / error, count - 1), abs=1e-9)
        half = stats.t.ppf(0.975, count - 1) * error
        assert max(found.low, found.high, key=abs) == pytest.approx(
            max(apart.mean() - half, apart.mean() + half, key=abs), rel=1e-6
        )
        assert found.is_shown or found.low <= 0 <= found.high


def test_it_asks_for_more_than_a_t_test_that_takes_folds_for_independent() -> None:
    apart = [0.02, 0.03, 0.01, 0.04, 0.02]
    found = fold_difference(NOTHING, apart, [0.0] * 5, ratio=0.25)
    assert found.p > 2 * stats.ttest_1samp(apart, 0).pvalue
    assert fold_error(apart, 0.25) == pytest.approx(1.5 * stats.sem(apart))


def test_folds_that_differ_alike_by_chance_show_no_more_than_their_samples() -> None:
    right = np.ones((2, 30), bool)
    right[1, [3, 13, 23]] = False  # one in each fold
    units = mcnemar(*right)
    found = fold_difference(units, [1.0] * 3, [0.9] * 3, ratio=0.5)
    assert found.p == units.p == pytest.approx(0.25) and found.low <= 0
    assert "a difference of" in verdict(found, ("a", "b"), Measure("accuracy"))


def test_too_few_samples_stay_too_few() -> None:
    units = Difference(0.5, 1.0, -1.0, 0.0, 1.0, 0.1, 39, 1, "paired randomisation")
    found = fold_difference(units, [0.5] * 3, [1.0, 1.1, 0.9], ratio=0.5)
    words = verdict(found, ("a", "b"), Measure("MSE", False, False))
    assert "1 independent piece of the test is too few to show any difference" in words


def test_folds_far_apart_say_so() -> None:
    units = mcnemar([True] * 60 + [False] * 40, [True] * 50 + [False] * 50)
    found = fold_difference(units, [0.9, 0.6, 0.3], [0.1, 0.5, 0.9], ratio=0.5)
    assert "cannot show a difference of any size" in verdict(found, ("a", "b"), Measure("accuracy"))


@pytest.mark.parametrize("figures", [[0.99, 1.0, 0.97], [0.01, 0.0, 0.05], [0.5, 0.9, 0.1]])
def test_intervals_stay_within_the_bounds(figures: list[float]) -> None:
    found = fold_interval((0.4, 0.6), figures, ratio=0.5, bounds=(0, 1))
    assert found is not None and 0 <= found[0] <= np.mean(figures) <= found[1] <= 1
    losses = fold_interval(None, figures, ratio=0.5, bounds=(0, math.inf))
    assert losses is not None and losses[0] >= 0


def test_equal_models_are_seldom_called_different_over_folds() -> None:
    most = 0.05 + 3.1 * math.sqrt(0.05 * 0.95 / 300)
    assert share_shown(folds(5, 100), 300, seed=3) <= most
    assert share_shown(later_folds(4, 300), 300, seed=3) <= most
    assert share_shown(folds(5, 300, gap=0.5), 30, seed=3) >= 0.9


def test_one_fold_is_none() -> None:
    with pytest.raises(ConfigError, match="two folds"):
        fold_error([0.5], 0.25)
    with pytest.raises(ConfigError, match="of each fold"):
        fold_difference(NOTHING, [0.5, 0.6], [0.5], ratio=0.25)
