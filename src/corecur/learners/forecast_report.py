"""The report of a forecaster's training, gathered from the run.

W windows, L lookback, H horizon, C columns, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.data.series.baselines import last_value, seasonal_naive
from corecur.data.series.windows import WindowBatches
from corecur.engine.progress import clock
from corecur.learners.fit_result import FitResult
from corecur.learners.forecast_data import ForecastData, splits_of
from corecur.learners.forecast_evaluation import SEASONAL, ForecastEvaluation
from corecur.report.charts import percent
from corecur.report.forecast_charts import Window
from corecur.report.forecasting import ForecastReport, Overview, forecasting_sections
from corecur.report.page import Finding, Section
from corecur.summary import summarize

if TYPE_CHECKING:
    from corecur.learners.forecaster import Forecaster

# Shares of the test windows that do better than the ones shown, and columns shown of each.
_RANKS = (("one of the best", 0.1), ("one in the middle", 0.5), ("one of the worst", 0.9))
_COLUMNS_SHOWN = 2
_OVERVIEWS = 4
# Past steps shown, in horizons.
_PAST_HORIZONS = 2


def sections(learner: Forecaster, data: ForecastData, result: FitResult, *, config: Mapping[str, Any]) -> list[Section]:
    """The sections of the report."""
    return forecasting_sections(build_report(learner, data, result, config=config))


def build_report(
    learner: Forecaster, data: ForecastData, result: FitResult, *, config: Mapping[str, Any]
) -> ForecastReport:
    """Everything the page shows, gathered from the run."""
    test: ForecastEvaluation | None = result.test
    history = [{"epoch": float(n + 1)} | {k: float(v) for k, v in row.items()} for n, row in enumerate(result.history)]
    sentence = "" if test is None else test.sentence()
    facts = {"Source": data.origin, "Form": data.kind, "Columns": ", ".join(data.columns)}
    facts |= {f"{name.capitalize()} rows": f"{count:,}" for name, count in config["rows"].items()}
    return ForecastReport(
        verdict=sentence and sentence[0].upper() + sentence[1:] + ".",
        command=config["command"],
        tiles=_tiles(learner, data, result),
        findings=[Finding.of(found) for found in result.findings] + _verdicts(test),
        next_commands=result.next_commands,
        history=history,
        windows=[] if test is None else _windows(learner, data, test),
        baseline=SEASONAL if test is None else next(iter(test.baselines)),
        level=learner.preprocess.quantiles[-1] - learner.preprocess.quantiles[0],
        by_step=None if test is None else test.model.by_step,
        baselines={} if test is None else {name: score.by_step for name, score in test.baselines.items()},
        coverage=None if test is None else test.coverage.mean(1),
        per_column=None if test is None else test.listing(),
        overviews=_overviews(data),
        facts=facts | {"One row each": config["one row each"], "Rows of a season": learner.preprocess.period},
        network_summary=summarize(learner.network),
        config={name: config[name] for name in ("source", "seed", "recipe", "reading")},
        environment=config["environment"],
    )


def _tiles(learner: Forecaster, data: ForecastData, result: FitResult) -> dict[str, str]:
    test: ForecastEvaluation | None = result.test
    tiles: dict[str, str] = {}
    if test is not None:
        name = test.best_baseline
        tiles["Test MSE"] = f"{test.model.mse:.3f}"
        if test.interval is not None:
            tiles["95 % interval"] = f"{test.interval[0]:.3f}–{test.interval[1]:.3f}"
        tiles |= {"Test MAE": f"{test.model.mae:.3f}", f"{name.capitalize()} MSE": f"{test.baselines[name].mse:.3f}"}
        tiles[f"In the {percent(test.level, 0)} interval"] = percent(float(test.coverage.mean()))
        tiles["Test windows"] = f"{test.windows:,}"
    epochs = f"{len(result.history)}" + (f" of {result.planned_epochs}" if result.stopped_early else "")
    return tiles | {
        "Steps ahead": f"{learner.preprocess.horizon:,}",
        "Lookback": f"{learner.preprocess.lookback:,}",
        "Columns": f"{len(data.columns):,}",
        "Parameters": f"{learner.network.count_params():,}",
        "Epochs": epochs,
        "Training time": clock(result.train_seconds),
    }


def _verdicts(test: ForecastEvaluation | None) -> list[Finding]:
    """What the figures mean, where that is not good."""
    if test is None:
        return []
    found = []
    better = test.gain[0] > 0 if test.gain is not None else test.model.mse < test.baselines[test.best_baseline].mse
    if not better:
        found.append(
            Finding(
                f"Not better than {test.best_baseline}",
                test.comparison() + ".",
                f"use {test.best_baseline}, or give more rows or a longer lookback",
                "warning",
            )
        )
    held = float(test.coverage.mean())
    if abs(held - test.level) > 0.1:
        found.append(
            Finding(
                f"The intervals hold {percent(held, 0)} of the values instead of {percent(test.level, 0)}",
                "The test part is unlike the validation part that their width was fitted on.",
                "take them for what they held, not for what they were to hold",
                "warning",
            )
        )
    return found


@torch.no_grad()
def _windows(learner: Forecaster, data: ForecastData, test: ForecastEvaluation) -> list[Window]:
    """Test windows of low, middling and high error, a few columns of each."""
    batches = learner.windows(data.test)
    order = np.argsort(test.model.windows, kind="stable")
    shown = np.linspace(0, len(data.columns) - 1, min(_COLUMNS_SHOWN, len(data.columns))).round().astype(int).tolist()
    found = []
    for note, rank in _RANKS[1:2] if len(order) < len(_RANKS) else _RANKS:
        number = int(order[round(rank * (len(order) - 1))])
        found += [_window(learner, data, batches, number, column, note) for column in shown]
    return found


def _window(
    learner: Forecaster, data: ForecastData, batches: WindowBatches, number: int, column: int, note: str
) -> Window:
    preprocess = learner.preprocess
    batch = batches.windows(torch.tensor([number]))
    past, truth = batch.inputs, batch.targets
    if not isinstance(past, Tensor) or not isinstance(truth, Tensor):
        raise TypeError("a window is one tensor")
    answers = learner.answers(past)[0, :, column].cpu()  # (H, Q)
    seasonal = 1 < preprocess.period <= preprocess.lookback
    naive = seasonal_naive(past, preprocess.horizon, preprocess.period) if seasonal else last_value(past, len(truth[0]))
    first, last = (_time(data, int(row)) for row in batches.target_rows(torch.tensor([number]))[0, [0, -1]])
    mean, spread = preprocess.scaling.mean[column], preprocess.scaling.std[column]

    def own(values: Tensor) -> NDArray[np.float64]:
        return values.double().cpu().numpy() * spread + mean

    return Window(
        column=data.columns[column],
        past=own(past[0, -_PAST_HORIZONS * preprocess.horizon :, column]),
        truth=own(truth[0, :, column]),
        median=own(answers[:, answers.shape[1] // 2]),
        low=own(answers[:, 0]),
        high=own(answers[:, -1]),
        baseline=own(naive[0, :, column]),
        begins=first,
        ends=last,
        note=note,
    )


def _time(data: ForecastData, row: int) -> str:
    """When a row of the joined test tables is."""
    for table, _ in data.test:
        if row < len(table):
            series = f"{table.name}, " if table.name else ""
            return series + table.time_of(row)
        row -= len(table)
    return ""


def _overviews(data: ForecastData) -> list[Overview]:
    """The first columns of the first table, as a whole."""
    table = data.tables[0]
    parts = [(name, stretch.rows.stop) for name, part in splits_of(data) for stretch in part if stretch.table is table]
    return [
        Overview(name, table.values[:, place].numpy(), parts, (table.time_of(0), table.time_of(len(table) - 1)))
        for place, name in enumerate(data.columns[:_OVERVIEWS])
    ]
