"""Paired tests against scipy, closed forms and what simulated models are known to be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from corecur.engine.paired_tests import (
    Difference,
    Measure,
    figure_interval,
    holm,
    joined,
    mcnemar,
    paired_difference,
    t_quantile,
    verdict,
    within_t,
)
from corecur.errors import ConfigError, ShapeError
from tests.comparison.equal_models import accuracy, entities, log_loss, share_shown, tokens, windows

ACCURACY = Measure("accuracy")


def test_mcnemar_is_the_exact_binomial_test_and_its_interval_agrees() -> None:
    from scipy.stats import binomtest

    random = np.random.default_rng(0)
    for _ in range(60):
        n = int(random.integers(1, 80))
        a, b = random.random(n) < 0.8, random.random(n) < 0.6
        found, only_a, only_b = mcnemar(a, b), int((a & ~b).sum()), int((b & ~a).sum())
        expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
        assert found.p == pytest.approx(expected, abs=1e-9)
        assert found.difference == pytest.approx(a.mean() - b.mean())
        assert found.low <= found.difference <= found.high
        assert found.is_shown or found.low <= 0 <= found.high


def test_mcnemar_of_many_samples_stays_exact() -> None:
    from scipy.stats import binomtest

    a, b = np.ones(100_000, bool), np.ones(100_000, bool)
    a[:5000], b[5000:10_300] = False, False
    assert mcnemar(a, b).p == pytest.approx(binomtest(5000, 10_300).pvalue, rel=1e-6)


def test_swaps_of_few_units_are_those_of_scipy() -> None:
    from scipy.stats import permutation_test

    random = np.random.default_rng(3)
    a, b = random.normal(0.6, 1, 10), random.normal(0, 1, 10)
    expected = permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    ).pvalue
    found = paired_difference(a, b)
    assert found.p >= expected - 1e-12  # the larger of this and the t test's
    assert found.p == pytest.approx(max(expected, found.p))
    assert abs(found.p - expected) < 0.03


def test_mean_differences_agree_with_the_t_test_where_both_hold() -> None:
    from scipy.stats import ttest_rel

    random = np.random.default_rng(1)
    a, b = random.normal(0.2, 1, 300), random.normal(0, 1, 300)
    found, expected = paired_difference(a, b), ttest_rel(a, b)
    assert found.p == pytest.approx(expected.pvalue, rel=0.35)
    low, high = expected.confidence_interval()
    assert (found.low, found.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 30, 101, 1000])
def test_students_t_is_scipys(freedom: int) -> None:
    from scipy.stats import t

    for value in (0.1, 1.0, 2.5, 8.0):
        assert within_t(value, freedom) == pytest.approx(1 - 2 * t.sf(value, freedom), abs=1e-10)
    assert t_quantile(0.95, freedom) == pytest.approx(t.ppf(0.975, freedom), rel=1e-6)


def test_holm_never_lowers_p_and_keeps_their_order() -> None:
    random = np.random.default_rng(2)
    for _ in range(50):
        ps = random.random(random.integers(1, 12)).tolist()
        found = holm(ps)
        assert all(p <= q <= 1 for p, q in zip(ps, found, strict=True))
        assert min(found) == min(1.0, len(ps) * min(ps))
        assert [found[i] for i in np.argsort(ps)] == sorted(found)


# A share of 0.05 in truth gives more than this in 300 draws 1 time of 1,000.
MOST = 0.05 + 3.1 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize(
    "draw",
    [accuracy(200, 0.8, 0.5), entities(40), windows(200, 6), tokens(100, 5), log_loss(60)],
    ids=["accuracy", "F1", "windows", "text", "log loss"],
)
def test_equal_models_are_seldom_called_different(draw: object) -> None:
    assert share_shown(draw, 300, seed=4) <= MOST  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "draw",
    [accuracy(1000, 0.85, 0.8, gap=0.06), entities(200, gap=0.15), log_loss(100, more=0.9)],
    ids=["accuracy", "F1", "log loss"],
)
def test_a_clear_difference_is_seen(draw: object) -> None:
    assert share_shown(draw, 30, seed=5) >= 0.9  # type: ignore[arg-type]


def test_the_number_of_samples_asked_for_shows_it_four_times_of_five() -> None:
    """``more_samples`` of a true difference gives the power it promises."""
    n, base, gap = 400, 0.85, 0.03
    apart = 2 * base * (1 - base) * 0.2  # of samples of which a fifth are answered by chance
    found = Difference(base + gap, base, 0, 0, 1, math.sqrt((apart + gap) / n), n, n, "McNemar")
    needed = n + (found.more_samples() or 0)
    assert 0.7 <= share_shown(accuracy(needed, base, 0.8, gap=gap), 300, seed=6) <= 0.97


def test_the_same_seed_gives_the_same_verdict_and_equal_answers_none() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 50))
    assert paired_difference(a, b, seed=3) == paired_difference(a, b, seed=3)
    alike = paired_difference(a, a)
    assert (alike.p, alike.difference, alike.error) == (1.0, 0.0, 0.0)
    assert "alike" in verdict(alike, ("a", "b"), Measure("MSE", False, False))


def test_swapped_models_give_the_mirrored_difference() -> None:
    random = np.random.default_rng(5)
    a, b = random.random(60) < 0.9, random.random(60) < 0.7
    one, two = mcnemar(a, b), mcnemar(b, a)
    assert (one.p, one.low, one.high) == (two.p, pytest.approx(-two.high), pytest.approx(-two.low))


def test_blocks_join_neighbours_and_lose_none() -> None:
    values = np.arange(23.0).reshape(-1, 1)
    found = joined(values, 5)
    assert found.shape == (4, 1)
    assert found.sum() == values.sum()
    assert joined(values, 50).tolist() == [[values.sum()]]


def test_correlated_neighbours_make_a_wider_interval() -> None:
    random = np.random.default_rng(0)
    values = np.convolve(random.normal(size=419), np.ones(20), "valid")
    single, blocks = figure_interval(values), figure_interval(values, block=40)
    assert single is not None and blocks is not None
    assert blocks[1] - blocks[0] > 2 * (single[1] - single[0])
    assert figure_interval([1.0, 2.0]) is None


@pytest.mark.parametrize("n", [8, 20, 60])
def test_the_interval_of_a_loss_holds_it_and_does_not_pass_0(n: int) -> None:
    random = np.random.default_rng(n)
    drawn = -np.log(random.beta(12, 0.4, (300, n)).clip(1e-12))
    truth = float(-np.log(random.beta(12, 0.4, 1_000_000).clip(1e-12)).mean())
    found = [figure_interval(values, bounds=(0, math.inf)) for values in drawn]
    ends = np.array([one for one in found if one is not None])
    assert len(ends) == 300 and ends.min() >= 0
    held = float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())
    plain = np.array([figure_interval(values) for values in drawn])
    assert held >= float(((plain[:, 0] <= truth) & (truth <= plain[:, 1])).mean())
    assert held >= 0.87
    assert figure_interval(np.zeros(n), bounds=(0, math.inf)) == (0, 0)


@pytest.mark.parametrize(
    ("found", "measure", "kept", "words"),
    [
        (Difference(0.97, 0.96, 0.003, 0.017, 0.004, 0.0035, 2000, 2000, ""), ACCURACY, {},
         "a is better: accuracy 97.0 % against 96.0 %, difference 1.0 points (0.3 to 1.7), p = 0.004"),
        (Difference(0.4, 0.3, 0.05, 0.15, 0.0001, 0.02, 500, 500, ""), Measure("MSE", False, False), {},
         "b is better: MSE 0.300 against 0.400, difference 0.100 (0.050 to 0.150), p < 0.001"),
        (Difference(0.96, 0.97, -0.017, -0.003, 0.004, 0.0035, 2000, 2000, ""), ACCURACY,
         {"corrected": 0.04, "pairs": 10},
         "b is better: accuracy 97.0 % against 96.0 %, difference 1.0 points (0.3 to 1.7), p = 0.004, "
         "0.040 corrected for 10 tests"),
        (Difference(0.97, 0.96, -0.01, 0.03, 0.3, 0.01, 100, 100, ""), ACCURACY, {},
         "no difference shown: accuracy 97.0 % for a, 96.0 % for b, difference 1.0 points (−1.0 to 3.0), p = 0.30; "
         "about 690 more test samples would be needed to show a difference of this size"),
        (Difference(0.9, 0.5, -0.4, 0.9, 0.06, 0.1, 5, 5, ""), ACCURACY, {},
         "no difference shown: accuracy 90.0 % for a, 50.0 % for b, difference 40.0 points (−40.0 to 90.0), "
         "p = 0.060; 5 independent pieces of the test are too few to show any difference"),
    ],
)  # fmt: skip
def test_the_verdict_says_what_is_known(
    found: Difference, measure: Measure, kept: dict[str, object], words: str
) -> None:
    assert verdict(found, ("a", "b"), measure, **kept) == words  # type: ignore[arg-type]


def test_what_is_no_pair_is_refused() -> None:
    with pytest.raises(ShapeError):
        mcnemar([True], [True, False])
    with pytest.raises(ShapeError):
        paired_difference([], [])
    with pytest.raises(ConfigError, match="finite"):
        paired_difference([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(ConfigError, match="score"):
        paired_difference(np.ones((4, 2)), np.ones((4, 2)))
