from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from corecur.data.series.windows import WindowBatches
from corecur.learners.forecast_evaluation import LAST, SEASONAL, ForecastEvaluation, measure

from .forecast_tables import waves

LOOKBACK, HORIZON = 48, 6


def evaluation(
    answer: Callable[[Tensor], Tensor] | None = None, *, rows: int = 300, period: int = 24, batch_size: int = 7
) -> ForecastEvaluation:
    values = torch.from_numpy(waves(rows)).float()
    batches = WindowBatches(values, lookback=LOOKBACK, horizon=HORIZON, batch_size=batch_size)

    def mean_of_past(past: Tensor) -> Tensor:
        middle = past.mean(1, keepdim=True).expand(-1, HORIZON, -1)
        return torch.stack([middle - 1, middle, middle + 1], -1)

    return measure(
        answer or mean_of_past, batches, columns=("load", "wind"), units=(2.0, 10.0), naive_errors=(0.5, 0.0),
        period=period, level=0.8,
    )  # fmt: skip


def test_errors_are_those_of_numpy_over_every_window() -> None:
    found = evaluation()
    values = waves(300).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(values, LOOKBACK + HORIZON, axis=0)  # (W, C, L + H)
    past, truth = windows[..., :LOOKBACK], windows[..., LOOKBACK:]
    said = past.mean(-1, keepdims=True)
    error = (said - truth).astype(np.float64)
    assert found.windows == len(windows) == 300 - LOOKBACK - HORIZON + 1
    np.testing.assert_allclose(found.model.mse, (error**2).mean(), rtol=1e-4)
    np.testing.assert_allclose(found.model.mae, np.abs(error).mean(), rtol=1e-4)
    np.testing.assert_allclose(found.model.by_step, (error**2).mean((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(found.model.by_column, np.abs(error).mean((0, 2)) * (2, 10), rtol=1e-4)
    np.testing.assert_allclose(found.coverage, (np.abs(error) <= 1).mean(0).T, atol=2e-3)
    last = past[..., -1:] - truth
    season = windows[..., LOOKBACK - 24 : LOOKBACK - 24 + HORIZON] - truth
    np.testing.assert_allclose(found.baselines[LAST].mse, (last.astype(np.float64) ** 2).mean(), rtol=1e-4)
    np.testing.assert_allclose(found.baselines[SEASONAL].mse, (season.astype(np.float64) ** 2).mean(), rtol=1e-4)


def test_the_last_batch_counts_and_its_size_does_not_matter() -> None:
    one, other = evaluation(batch_size=7), evaluation(batch_size=1000)
    assert one.model.mse == pytest.approx(other.model.mse, rel=1e-9)
    np.testing.assert_allclose(one.model.windows, other.model.windows)


def test_words_compare_with_the_best_baseline() -> None:
    worse = evaluation()
    assert worse.best_baseline == SEASONAL
    assert "seasonal naive is better" in worse.sentence()
    low, high = worse.gain or (0.0, 0.0)
    assert low <= 1 - worse.model.mse / worse.baselines[SEASONAL].mse <= high < 0

    def season(past: Tensor) -> Tensor:
        return past[:, -24 : -24 + HORIZON, :, None].expand(-1, -1, -1, 3)

    assert "as good as seasonal naive" in evaluation(season).sentence()

    def knows(past: Tensor) -> Tensor:
        ahead = past[:, -24 : -24 + HORIZON] + torch.tensor([0.48, 0.0])  # the slope over one season
        ahead[..., 1] = past[:, -48 : -48 + HORIZON, 1]
        return ahead.unsqueeze(-1).expand(-1, -1, -1, 3)

    better = evaluation(knows)
    assert "below seasonal naive" in better.sentence() and better.gain is not None and better.gain[0] > 0
    unsure = dataclasses.replace(better, gain=(-0.1, 0.2))
    assert unsure.comparison().startswith("no difference from seasonal naive") and "10 % above" in unsure.comparison()


def test_too_few_windows_have_no_interval() -> None:
    found = evaluation(rows=LOOKBACK + HORIZON + 20)
    assert found.interval is None and found.gain is None
    assert "too few windows" in found.sentence() and found.as_json()["interval"] is None


def test_a_season_longer_than_the_lookback_is_left_out() -> None:
    assert set(evaluation(period=LOOKBACK + 1).baselines) == set(evaluation(period=1).baselines) == {LAST}


def test_figures_are_json_and_a_table() -> None:
    found = evaluation()
    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert plain["windows"] == found.windows and set(plain["per_column"]) == {"load", "wind"}
    assert plain["per_column"]["wind"]["mase"] is None
    assert plain["per_column"]["load"]["mase"] == pytest.approx(found.model.by_column[0] / 0.5)
    header, rows, _ = found.listing()
    assert [row[0] for row in rows] == ["load", "wind"] and len(header) == len(rows[0])
