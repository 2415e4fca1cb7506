from __future__ import annotations

from statistics import NormalDist

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from corecur.learners.forecast_intervals import fit_widening, widen

NINE_TENTHS = (0.05, 0.25, 0.5, 0.75, 0.95)


def normal(windows: int, *, scale: float, columns: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Standard normal targets, and quantiles of a normal distribution of another spread."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randn(windows, 4, columns, generator=generator)
    quantiles = scale * torch.tensor([NormalDist().inv_cdf(quantile) for quantile in NINE_TENTHS])
    return quantiles.expand(windows, 4, columns, 5), targets


def held(answers: Tensor, targets: Tensor, pair: int = 0) -> float:
    return float(((targets >= answers[..., pair]) & (targets <= answers[..., -1 - pair])).float().mean())


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_intervals_hold_what_they_say_on_new_targets(scale: float) -> None:
    factors = fit_widening(*normal(2000, scale=scale), NINE_TENTHS)
    torch.testing.assert_close(factors, torch.full((1, 2), 1 / scale), rtol=0.06, atol=0)
    answers, targets = normal(4000, scale=scale, seed=1)
    widened = widen(answers, factors)
    assert held(widened, targets) == pytest.approx(0.9, abs=0.015)
    assert held(widened, targets, pair=1) == pytest.approx(0.5, abs=0.02)


def test_each_column_has_its_own_factor() -> None:
    answers, targets = normal(500, scale=1.0, columns=2)
    factors = fit_widening(answers, targets * torch.tensor([1.0, 3.0]), NINE_TENTHS)
    assert factors.shape == (2, 2)
    torch.testing.assert_close(factors[1], 3 * factors[0], rtol=0.2, atol=0)


def test_too_few_targets_change_nothing() -> None:
    factors = fit_widening(*normal(5, scale=0.1), NINE_TENTHS)
    assert bool((factors == 1).all())
    answers, _ = normal(5, scale=0.1)
    assert torch.equal(widen(answers, factors), answers)


def test_intervals_of_no_width_stay_finite() -> None:
    answers, targets = torch.zeros(100, 1, 1, 3), torch.randn(100, 1, 1)
    factors = fit_widening(answers, targets, (0.1, 0.5, 0.9))
    assert bool(torch.isfinite(factors).all())


@given(st.lists(st.floats(0.2, 5), min_size=2, max_size=2))
def test_the_median_stays_and_quantiles_do_not_cross(factors: list[float]) -> None:
    answers, _ = normal(3, scale=1.0)
    widened = widen(answers, torch.tensor([factors]))
    assert torch.equal(widened[..., 2], answers[..., 2])
    assert bool((widened.diff(dim=-1) >= 0).all())
