"""Seasons by the calendar and by what values show."""

from __future__ import annotations

import math

import pytest
import torch

from corecur.data.series.frequency import Frequency
from corecur.data.series.open_tables import load_table
from corecur.data.series.seasonality import period_of, seasonal_period


@pytest.mark.parametrize(
    ("frequency", "period"),
    [
        (Frequency("hour"), 24), (Frequency("hour", 6), 4), (Frequency("minute", 15), 96), (Frequency("minute"), 1440),
        (Frequency("minute", 10), 144), (Frequency("day"), 7), (Frequency("business day"), 5), (Frequency("week"), 52),
        (Frequency("month"), 12), (Frequency("month", 2), 6), (Frequency("quarter"), 4), (Frequency("year"), 1),
    ],
)  # fmt: skip
def test_the_calendar_decides(frequency: Frequency, period: int) -> None:
    assert seasonal_period(frequency) == period


@pytest.mark.parametrize("period", [3, 7, 24, 50])
def test_the_period_of_a_noisy_season_on_a_slope(period: int) -> None:
    generator = torch.Generator().manual_seed(period)
    steps = torch.arange(20 * period)
    pattern = torch.randn(period, generator=generator)
    values = pattern[steps % period] * 3 + 0.05 * steps + 0.5 * torch.randn(len(steps), generator=generator)
    assert period_of(values) == period


def test_no_season() -> None:
    generator = torch.Generator().manual_seed(0)
    assert period_of(torch.randn(500, generator=generator)) == 1
    assert period_of(torch.arange(100.0)) == 1
    assert period_of(torch.ones(50)) == 1
    assert period_of(torch.ones(2)) == 1
    assert seasonal_period(None) == 1


def test_the_samples_show_their_own_seasons() -> None:
    assert period_of(load_table("passengers").values.log()) == 12
    assert period_of(load_table("demand").values[:, 0]) == 24
    assert math.isclose(seasonal_period(load_table("demand").frequency), 24)
