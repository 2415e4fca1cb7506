from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.series.frequency import Frequency
from corecur.data.series.seasonality import seasonal_period
from corecur.errors import ConfigError
from corecur.learners.forecast_recipe import (
    ForecastRecipe,
    SeriesFacts,
    batch_size_for,
    choose_recipe,
    default_epochs,
    default_horizon,
    default_lookback,
    segment_for,
)
from corecur.learners.settings import checked_settings


@given(st.integers(1, 30_000), st.integers(1, 300), st.integers(1, 400), st.sampled_from([1, 4, 7, 12, 24, 52, 96]))
def test_a_recipe_fits_any_series(rows: int, columns: int, horizon: int, period: int) -> None:
    recipe = choose_recipe(SeriesFacts(rows=(rows,), columns=columns, horizon=horizon, period=period))
    assert recipe.lookback % recipe.segment == 0
    assert 1 <= recipe.lookback <= max(1, rows // 4)
    assert recipe.horizon == horizon
    assert recipe.batch_size >= 1 and 1 <= recipe.epochs <= 250
    assert math.gcd(recipe.stride, period) == 1 or recipe.stride == 1


@pytest.mark.parametrize(
    ("frequency", "horizon"),
    [
        (Frequency("hour"), 24), (Frequency("hour", 2), 12), (Frequency("minute", 15), 96), (Frequency("minute"), 24),
        (Frequency("day"), 14), (Frequency("week"), 13), (Frequency("month"), 12), (Frequency("quarter"), 8),
        (Frequency("year"), 6), (Frequency("step"), 24), (None, 24),
    ],
)  # fmt: skip
def test_horizons_follow_the_calendar(frequency: Frequency | None, horizon: int) -> None:
    assert default_horizon(frequency, seasonal_period(frequency), 10_000) == horizon
    assert default_horizon(frequency, seasonal_period(frequency), 16) == 2  # an eighth of the rows
    assert default_horizon(frequency, seasonal_period(frequency), 3) == 1


def test_short_series_get_a_linear_map_and_long_ones_the_gru() -> None:
    short = choose_recipe(SeriesFacts(rows=(101,), columns=1, horizon=12, period=12))
    assert (short.model, short.normalisation, short.lookback) == ("linear", "window", 24)
    long = choose_recipe(SeriesFacts(rows=(8640,), columns=7, horizon=96, period=24))
    assert (long.model, long.normalisation, long.lookback, long.segment) == ("segment-gru", "last", 672, 48)
    assert (
        choose_recipe(SeriesFacts(rows=(101,), columns=1, horizon=12), {"model": "segment-gru"}).model == "segment-gru"
    )


def test_given_settings_are_kept_and_the_others_follow_them() -> None:
    facts = SeriesFacts(rows=(8640,), columns=7, horizon=24, period=24)
    recipe = choose_recipe(
        facts, {"lookback": "720", "horizon": 96, "epochs": 50, "quantiles": ("0.05", "0.5", "0.95")}
    )
    assert (recipe.lookback, recipe.segment, recipe.horizon, recipe.patience) == (720, 48, 96, 10)
    assert recipe.level == pytest.approx(0.9)


def test_much_data_is_thinned_so_that_each_hour_has_its_turn() -> None:
    recipe = choose_recipe(SeriesFacts(rows=(200_000,), columns=20, horizon=24, period=24))
    assert recipe.stride > 5 and math.gcd(recipe.stride, 24) == 1
    assert recipe.epochs == 3


def test_segments_batches_and_epochs() -> None:
    assert segment_for(336, 24) == 24 and segment_for(7, 7) == 1 and segment_for(1, 1) == 1
    assert batch_size_for(7825, 1) == 256 and batch_size_for(7825, 300) == 8
    assert default_epochs(10, 1) == 100 and default_epochs(10**7, 5000) == 3
    assert default_lookback(50, 12, 12) == 12 and default_lookback(4, 1, 12) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lookback": 96, "segment": 7}, "do not fill the lookback"),
        ({"quantiles": (0.1, 0.9)}, "median and pairs"),
        ({"quantiles": (0.1, 0.5, 0.8)}, "median and pairs"),
        ({"quantiles": (0.9, 0.5, 0.1)}, "rise"),
        ({"horizon": 0}, "horizon"),
        ({"horizont": 3}, "did you mean 'horizon'"),
        ({"normalisation": "batch"}, "normalisation"),
    ],
)
def test_wrong_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_recipe(SeriesFacts(rows=(2000,), columns=1, horizon=12), settings)


def test_an_unknown_model_meets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="segment-gru"):
        choose_recipe(SeriesFacts(rows=(2000,), columns=1, horizon=12), {"model": "segment-lstm"})


def test_the_parts_of_a_training() -> None:
    recipe = checked_settings(ForecastRecipe, {"lookback": 24, "segment": 4, "horizon": 6, "hidden": 8})
    network = recipe.build_network(3)
    assert network(torch.zeros(2, 24, 3)).shape == (2, 6, 3, 3)
    assert recipe.loss.quantiles == (0.1, 0.5, 0.9)
    rates = [recipe.schedule.at(p) for p in (0, recipe.warmup, 1)]
    assert rates[0] < rates[1] == recipe.learning_rate and rates[2] < 1e-4
    assert recipe.optimizer_for(network).param_groups[0]["lr"] == recipe.learning_rate
