"""Several seeds of one way to train: their spread counts."""

from __future__ import annotations

import numpy as np
import pytest

from corecur.engine.paired_tests import paired_difference
from corecur.engine.repeated_runs import repeated_difference, seed_spread
from corecur.errors import ConfigError
from tests.comparison.equal_models import SHARE, seeds, share_shown


def _runs(shares: list[float], n: int = 400) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [np.stack([random.random(n) < share, np.ones(n)], axis=1).astype(float) for share in shares]


def test_the_spread_is_the_standard_deviation_of_the_runs() -> None:
    runs = _runs([0.9, 0.8, 0.7])
    assert seed_spread(runs, SHARE) == pytest.approx(np.std([run[:, 0].mean() for run in runs], ddof=1))
    assert seed_spread(runs[:1], SHARE) is None


def test_a_difference_smaller_than_the_spread_of_seeds_is_not_shown() -> None:
    far = [_runs([0.95, 0.65]), _runs([0.85, 0.55])]
    assert paired_difference(np.mean(far[0], 0), np.mean(far[1], 0), SHARE).is_shown
    assert not repeated_difference(*far, SHARE).is_shown


def test_a_single_run_takes_the_others_spread() -> None:
    found = repeated_difference(_runs([0.95]), _runs([0.55, 0.56, 0.54]), SHARE)
    assert found.is_shown and found.low > 0


def test_equal_ways_are_seldom_called_different() -> None:
    assert share_shown(seeds(3, 200), 200, seed=3) <= 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 200)


def test_one_run_each_is_no_repeat() -> None:
    with pytest.raises(ConfigError):
        repeated_difference(_runs([0.9]), _runs([0.8]), SHARE)
