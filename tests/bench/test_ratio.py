from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.ratio import Ratio, bootstrap, in_pairs

times = st.floats(1e-3, 1e3)


@given(st.lists(st.tuples(times, times), min_size=1, max_size=8))
def test_interval_holds_the_median_and_stays_within_the_ratios(pairs: list[tuple[float, float]]) -> None:
    ratios = [a / b for a, b in pairs]
    found = Ratio.of([a for a, _ in pairs], [b for _, b in pairs])
    assert found.median == statistics.median(ratios)
    assert min(ratios) <= found.low <= found.median <= found.high <= max(ratios)


def test_pairs_cancel_a_drift_of_the_machine() -> None:
    # A B B A with B 10 % slower, on a machine that slows down by 5 % from block to block
    slots = [1.0 + 0.05 * k for k in range(4)]
    a, b = [slots[0], slots[3]], [1.1 * slots[1], 1.1 * slots[2]]
    assert Ratio.of(in_pairs(b), in_pairs(a)).median == pytest.approx(1.1)


def test_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        sample = np.exp(draw.normal(0.0, 0.1, 21)).tolist()  # the median is 1
        low, high = bootstrap(sample, resamples=300, seed=seed)
        hits += low <= 1.0 <= high
    assert 88 <= hits <= 100


def test_interval_narrows_with_more_blocks() -> None:
    draw = np.random.default_rng(1)
    few, many = ([float(v) for v in draw.normal(1.0, 0.1, n)] for n in (8, 200))
    widths = [high - low for low, high in (bootstrap(few), bootstrap(many))]
    assert widths[1] < widths[0] / 2


def test_same_times_give_the_same_interval() -> None:
    values = [1.0, 1.2, 0.9, 1.1]
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)


def test_nothing_to_resample_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        bootstrap([])


def test_odd_blocks_and_unequal_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        in_pairs([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="zip"):
        Ratio.of([1.0, 2.0], [1.0])
