"""Several seeds of one way to train: their spread counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from corecur.engine.paired_tests import paired_difference
from corecur.engine.repeated_runs import repeated_difference, repeated_interval, seed_spread
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


def test_of_very_many_samples_it_is_welchs_test() -> None:
    """Runs whose answers hold no noise of the samples: only the seeds are left."""
    shares = [[0.90, 0.92, 0.91, 0.93], [0.85, 0.92, 0.83]]
    random = np.random.default_rng(0)
    places = random.permutation(20_000)
    ways = [[np.stack([places < share * 20_000, np.ones(20_000)], 1).astype(float) for share in way] for way in shares]
    found, expected = repeated_difference(*ways, SHARE), stats.ttest_ind(*shares, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue, rel=0.15) and found.p >= expected.pvalue
    low, high = expected.confidence_interval()
    assert found.low <= low + 1e-3 and high - 1e-3 <= found.high


def test_a_way_without_a_spread_lends_no_freedom() -> None:
    """Where only one way depends on its seed, its runs alone say how sure that is."""
    most = 0.05 + 3.1 * np.sqrt(0.05 * 0.95 / 300)
    assert share_shown(seeds(3, 200, spreads=(0.04, 0.0)), 300, seed=1) <= most


def test_the_interval_of_the_mean_counts_the_seeds() -> None:
    runs = _runs([0.99, 0.97, 0.95])
    found = repeated_interval((0.96, 0.98), runs, SHARE, (0, 1))
    assert found is not None and 0 < found[0] < 0.96 and 0.98 < found[1] < 1
    assert repeated_interval((0.96, 0.98), runs[:1], SHARE, (0, 1)) == (0.96, 0.98)
    assert repeated_interval(None, runs, SHARE, (0, 1)) is None
