from __future__ import annotations

import numpy as np
import pytest

from corecur.engine.block_bootstrap import block_interval, resampled_means
from corecur.errors import ConfigError, ShapeError


def autoregressive(count: int, memory: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(count)
    for step in range(1, count):
        values[step] += memory * values[step - 1]
    return values


def test_single_values_give_the_usual_standard_error() -> None:
    values = np.random.default_rng(0).standard_normal(2000)
    means = resampled_means(values, block=1, resamples=4000)
    np.testing.assert_allclose(means.mean(), values.mean(), atol=3e-3)
    np.testing.assert_allclose(means.std(), values.std() / np.sqrt(len(values)), rtol=0.05)


def test_blocks_see_the_likeness_of_neighbours() -> None:
    # The mean of an autoregression of memory m varies with variance 1 / (N (1 - m)²), far above that of single values.
    memory, count = 0.8, 4000
    values = autoregressive(count, memory, seed=1)
    truth = 1 / (1 - memory) / np.sqrt(count)
    assert 0.75 * truth < resampled_means(values, block=60).std() < 1.25 * truth
    assert resampled_means(values, block=1).std() < 0.5 * truth


def test_the_interval_covers_as_often_as_it_says() -> None:
    held = []
    for seed in range(150):
        interval = block_interval(autoregressive(1200, 0.6, seed), block=30, seed=seed)
        assert interval is not None
        held.append(interval[0] < 0 < interval[1])
    assert 0.87 <= np.mean(held) <= 0.99


def test_columns_are_drawn_together() -> None:
    one = np.random.default_rng(2).standard_normal(300)
    means = resampled_means(np.stack([one, one - 0.5], axis=1), block=10)
    np.testing.assert_allclose(means[:, 0] - means[:, 1], 0.5, atol=1e-12)


def test_the_seed_decides() -> None:
    values = np.arange(50.0)
    assert np.array_equal(resampled_means(values, block=5, seed=1), resampled_means(values, block=5, seed=1))
    assert not np.array_equal(resampled_means(values, block=5, seed=1), resampled_means(values, block=5, seed=2))


def test_a_block_longer_than_the_values_is_all_of_them() -> None:
    np.testing.assert_allclose(resampled_means(np.arange(5.0), block=9), 2.0)
    assert block_interval(np.arange(20.0), block=9) is None


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigError, match="counted from 1"):
        resampled_means(np.arange(5.0), block=0)
    with pytest.raises(ShapeError, match="order of time"):
        resampled_means(np.zeros(0), block=1)
    with pytest.raises(ConfigError, match="level"):
        block_interval(np.arange(50.0), block=1, level=1.0)
