"""Forecasts to explain, by row and column of the past.

N variants, L lookback, H horizon, C columns, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corecur.errors import DataError
from corecur.explain.question import Question, Shown, run_parts
from corecur.learners.explained_class import wanted_class
from corecur.learners.learner import name_of

if TYPE_CHECKING:
    from corecur.data.series.time_table import TimeTable
    from corecur.learners.forecast_data import ForecastData
    from corecur.learners.forecaster import Forecaster

_VALUES_AT_ONCE, _MOST_PARTS = 65_536, 96


def forecast_questions(learner: Forecaster, source: Any, target: str | None, *, skip_bad: bool) -> Iterator[Question]:
    """A question for each table of a source: which rows of which column move the mean forecast of the target column.

    ``target`` is a column, by default the first.
    """
    for table in learner._read_like(source):
        yield forecast_question(learner, table, target)


def forecast_question(learner: Forecaster, table: TimeTable, target: str | None = None) -> Question:
    """The question for the forecast after a table's last row."""
    network, preprocess = learner.network, learner.preprocess
    columns, lookback = preprocess.columns, preprocess.lookback
    place = 0 if target is None else wanted_class(columns, torch.zeros(len(columns)), target, what="column")
    if len(table) < lookback:
        raise DataError(
            "the table is too short to forecast from", where=table.title, got=f"{len(table):,} rows",
            expected=f"the last {lookback:,} rows at least", do="give a longer history",
        )  # fmt: skip
    recent = table.values[-lookback:]
    inputs = preprocess.scaling(recent).float().to(learner._device)  # (L, C)
    middle, unit = len(preprocess.quantiles) // 2, preprocess.scaling.std[place] if preprocess.scaling.std else 1.0
    mean = preprocess.scaling.mean[place] if preprocess.scaling.mean else 0.0

    def score(variants: Tensor) -> Tensor:
        return network(variants)[:, :, place, middle].float().mean(1) * unit + mean  # type: ignore[no-any-return]  # (N, H, C, Q) -> (N,)

    with torch.no_grad():
        value = float(score(inputs[None])[0])
    rows = tuple(str(table.time_of(row)) for row in range(len(table) - lookback, len(table)))
    return Question(
        name=table.name or name_of(table.origin),
        kind="series",
        network=network,
        score=score,
        inputs=inputs,
        baseline=inputs.mean(0, keepdim=True).expand_as(inputs).contiguous(),
        parts=run_parts(len(inputs), inputs.shape[1], most=_MOST_PARTS).to(inputs.device),
        target=columns[place],
        answer=f"{columns[place]} forecast at {value:g} on average over {preprocess.horizon:,} rows",
        removed="the column's mean over these rows",
        shown=Shown(values=recent.numpy(), columns=columns, rows=rows),
        unit=float(inputs[:, place].std()) * unit or unit,
        batch=max(1, min(64, _VALUES_AT_ONCE // inputs.numel())),
        row=place,
    )


def held_out_forecasts(learner: Forecaster, data: ForecastData) -> Iterator[Question]:
    """The forecast after the last row of each table, for the report."""
    for table in data.tables:
        if len(table) >= learner.preprocess.lookback and table.names == learner.preprocess.columns:
            yield forecast_question(learner, table)
