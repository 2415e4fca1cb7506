from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corecur.engine.intervals import around, wilson, with_error
from corecur.errors import ConfigError


def inverted(successes: int, n: int, level: float, low: float, high: float, refused_at_low: bool) -> float:
    """The share where the two-sided score test turns, by bisection between two shares."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    for _ in range(200):
        p = (low + high) / 2
        refused = abs(successes / n - p) > z * math.sqrt(p * (1 - p) / n)
        low, high = (p, high) if refused == refused_at_low else (low, p)
    return (low + high) / 2


@given(st.integers(1, 5000), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_inverts_the_score_test(n: int, data: st.DataObject, level: float) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = wilson(successes, n, level)
    share = successes / n
    assert 0 <= low <= share <= high <= 1 and low < high
    if successes:
        assert low == pytest.approx(inverted(successes, n, level, 0.0, share, True), abs=1e-9)
    if successes < n:
        assert high == pytest.approx(inverted(successes, n, level, share, 1.0, False), abs=1e-9)
    mirrored = wilson(n - successes, n, level)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


def test_ends_are_exact_and_levels_nest() -> None:
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0
    inner, outer = wilson(7, 10, 0.5), wilson(7, 10, 0.99)
    assert outer[0] < inner[0] < inner[1] < outer[1]


@pytest.mark.parametrize(("successes", "n", "level"), [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0)])
def test_refusals(successes: int, n: int, level: float) -> None:
    with pytest.raises(ConfigError):
        wilson(successes, n, level)


BOUNDS = st.sampled_from([(0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)])


@example((0.0, 1.0), 5e-324, 0.0)
@example((0.0, math.inf), 2e-310, 100.0)
@example((0.0, 1.0), 2.3e-308, 100.0)
@given(BOUNDS, st.floats(0, 1), st.floats(0, 100))
def test_no_interval_passes_a_bound(bounds: tuple[float, float], figure: float, half: float) -> None:
    low, high = around(figure, half, bounds)
    assert bounds[0] <= low <= figure + 1e-9 and figure - 1e-9 <= high <= bounds[1]
    wider = with_error((low, high), figure, half, bounds)
    assert wider[0] <= low + 1e-9 and high - 1e-9 <= wider[1]
    assert bounds[0] <= wider[0] and wider[1] <= bounds[1]


def test_small_errors_are_those_of_the_plain_scale() -> None:
    for bounds in ((0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)):
        assert around(0.4, 1e-4, bounds) == pytest.approx((0.4 - 1e-4, 0.4 + 1e-4), rel=1e-6)
        both = with_error((0.4 - 3e-4, 0.4 + 3e-4), 0.4, 4e-4, bounds)
        assert both == pytest.approx((0.4 - 5e-4, 0.4 + 5e-4), rel=1e-5)
