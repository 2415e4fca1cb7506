"""What a forecaster's bundle keeps beside the network: columns, units, season, and how wide the intervals are.

T time, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from corecur.data.series.frequency import Frequency
from corecur.data.series.series_scaling import SeriesScaling
from corecur.data.series.time_stamps import could_be_time
from corecur.engine.quantile_loss import check_quantiles
from corecur.errors import ConfigError
from corecur.learners.forecast_data import ForecastData, ForecastReading, Stretch

_MOST_ROWS = 2**31 - 1


class RowsApart(BaseModel):
    """The frequency of a table, as a file holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    unit: str
    count: int = Field(1, ge=1, le=1_000_000)
    size: float = Field(1.0, gt=0, le=1e9)


class ForecastPreprocess(BaseModel):
    """``preprocess.json``: what is forecast from what, in which units, and how wide the intervals are."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: Literal["forecasting"]
    columns: tuple[str, ...]
    scaling: SeriesScaling
    lookback: int = Field(ge=1, le=_MOST_ROWS)
    horizon: int = Field(ge=1, le=_MOST_ROWS)
    quantiles: tuple[float, ...]
    frequency: RowsApart | None
    period: int = Field(ge=1, le=_MOST_ROWS)
    naive_errors: tuple[float, ...]
    widening: tuple[tuple[float, ...], ...]
    seen_until: str | None = None
    reading: ForecastReading

    @field_validator("seen_until")
    @classmethod
    def _is_time(cls, value: str | None) -> str | None:
        if value is not None and not could_be_time(value[:26]):
            raise ConfigError("this is no time", got=repr(value))
        return value

    @model_validator(mode="after")
    def _fits(self) -> ForecastPreprocess:
        check_quantiles(self.quantiles)
        numbers = {len(self.scaling.mean), len(self.naive_errors), len(self.widening), len(self.columns)}
        pairs = {len(row) for row in self.widening}
        right = len(numbers) == 1 and pairs == {len(self.quantiles) // 2} and len(self.quantiles) % 2 == 1
        if not right or any(not factor > 0 for row in self.widening for factor in row):
            raise ConfigError("the parts of the preprocessing do not go together")
        _ = self.rows_apart
        return self

    @property
    def rows_apart(self) -> Frequency | None:
        """The frequency of the tables it was trained on."""
        return None if self.frequency is None else Frequency(**self.frequency.model_dump())


def naive_errors(stretches: Sequence[Stretch], season: int) -> tuple[float, ...]:
    """Mean absolute difference of each column from a season before, over the training rows: what MASE divides by."""
    apart = [
        (stretch.values[season:] - stretch.values[:-season]).abs()
        for stretch in stretches
        if len(stretch.rows) > season
    ]
    if not apart:  # not one season to compare: the row before
        apart = [stretch.values.diff(dim=0).abs() for stretch in stretches]
    return tuple(torch.cat(apart).mean(0).tolist())


def seen_until(data: ForecastData) -> str | None:
    """The last time that training or validation saw, where tables have dates."""
    last = []
    for table, rows in (*data.train, *data.validation):
        if table.times is None or table.times.dtype.kind != "M":
            return None
        last.append(table.times[rows.stop - 1])
    return str(max(last))
