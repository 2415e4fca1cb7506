"""The recipe for forecasts: how far ahead, how far back, network, optimiser and schedule, from the data.

What it rests on: SegRNN (Lin et al. 2023, arXiv 2308.11200), re-tuned on validation parts for two processor cores;
``docs/recipes-forecast.md`` has the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from corecur.data.series.frequency import Frequency
from corecur.engine.optimizers import AdamW
from corecur.engine.quantile_loss import PinballLoss, check_quantiles
from corecur.engine.schedules import OneCycle
from corecur.errors import ConfigError
from corecur.learners.forecast_networks import FORECAST_NETWORKS, Form
from corecur.learners.settings import checked_settings
from corecur.models import Model

# Steps ahead by unit of time, where a day, a week or a year of rows is not the natural choice.
_HORIZONS = {
    "hour": 24,
    "day": 14,
    "business day": 10,
    "week": 13,
    "month": 12,
    "quarter": 8,
    "year": 6,
}
_HORIZON = 24
_CLOCK = ("hour", "minute", "second")
# The segments of a lookback: few enough to be quick, enough to be a sequence.
_SEGMENTS = 15
# Windows times columns seen in an epoch, at the most.
_MOST_ROWS = 400_000
# Windows times columns from which the GRU learns more than a linear map.
_FEW = 1_000


class ForecastRecipe(BaseModel):
    """Every setting of a forecaster's training; any of them can be given by name.

    >>> ForecastRecipe(horizon=12).quantiles
    (0.1, 0.5, 0.9)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field("segment-gru", description="network: segment-gru or linear")
    horizon: int = Field(24, ge=1, description="rows to forecast")
    lookback: int = Field(96, ge=1, description="rows that a forecast is made from")
    segment: int = Field(1, ge=1, description="rows of a segment; divides the lookback")
    hidden: int = Field(128, ge=1, description="units of the GRU")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of the last state hidden in training")
    normalisation: Literal["window", "last", "none"] = Field(
        "last", description="what is taken from each window: its mean and spread (window), its last value, or nothing"
    )
    quantiles: tuple[float, ...] = Field(
        (0.1, 0.5, 0.9), description="what is forecast; the outer two are the interval"
    )
    epochs: int = Field(10, ge=1, description="passes over the training windows")
    batch_size: int = Field(256, ge=1, description="windows in a step")
    learning_rate: float = Field(1e-2, gt=0, description="rate at its peak")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the training in which the rate rises")
    patience: int = Field(5, ge=1, description="epochs without a better validation loss before it stops")
    stride: int = Field(1, ge=1, description="rows from training window to training window")

    @model_validator(mode="after")
    def _fits(self) -> ForecastRecipe:
        check_quantiles(self.quantiles)
        mirrored = all(math.isclose(q + p, 1.0) for q, p in zip(self.quantiles, reversed(self.quantiles), strict=True))
        if not mirrored or len(self.quantiles) % 2 == 0:
            raise ConfigError(
                "the quantiles are the median and pairs around it", got=self.quantiles, expected="such as 0.1,0.5,0.9"
            )
        if self.model == "segment-gru" and self.lookback % self.segment:
            raise ConfigError(
                "the segments do not fill the lookback",
                got=f"lookback {self.lookback}, segment {self.segment}",
                expected="a segment that divides the lookback",
            )
        return self

    @property
    def level(self) -> float:
        """The share of the values that the interval is to hold."""
        return self.quantiles[-1] - self.quantiles[0]

    def build_network(self, columns: int) -> Model:
        """The network for so many columns."""
        form = Form(
            lookback=self.lookback,
            columns=columns,
            horizon=self.horizon,
            quantiles=len(self.quantiles),
            normalisation=self.normalisation,
            segment=self.segment,
            hidden=self.hidden,
            dropout=self.dropout,
        )
        return FORECAST_NETWORKS[self.model](form)

    @property
    def loss(self) -> PinballLoss:
        """What is made small."""
        return PinballLoss(self.quantiles)

    @property
    def schedule(self) -> OneCycle:
        """The rate: up in a line during the warm-up, then down along a cosine to nothing."""
        return OneCycle(self.learning_rate, warmup=self.warmup)

    def optimizer_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """AdamW over all weights."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        return AdamW(self.learning_rate, weight_decay=self.weight_decay).make(parameters)


@dataclass(frozen=True)
class SeriesFacts:
    """What the recipe follows from: training rows of each series, columns, rows to forecast, rows of a season or 1."""

    rows: tuple[int, ...]
    columns: int
    horizon: int
    period: int = 1


def choose_recipe(facts: SeriesFacts, overrides: Mapping[str, Any] | None = None) -> ForecastRecipe:
    """The default recipe for such series, with the given settings in place of its own.

    >>> recipe = choose_recipe(SeriesFacts(rows=(8640,), columns=7, horizon=96, period=24))
    >>> recipe.lookback, recipe.segment, recipe.model
    (672, 48, 'segment-gru')
    """
    given = dict(overrides or {})
    horizon = _whole(given, "horizon") or facts.horizon
    lookback = _whole(given, "lookback") or default_lookback(max(facts.rows), horizon, facts.period)
    windows = sum(max(0, rows - lookback - horizon + 1) for rows in facts.rows)
    small = windows * facts.columns < _FEW
    stride = _whole(given, "stride") or _stride(windows * facts.columns, facts.period)
    seen = max(1, windows // stride)
    batch = _whole(given, "batch_size") or batch_size_for(seen, facts.columns)
    epochs = _whole(given, "epochs") or default_epochs(seen * facts.columns, -(-seen // batch))
    chosen: dict[str, Any] = {
        "model": "linear" if small else "segment-gru",
        "normalisation": "window" if small else "last",
        "horizon": horizon,
        "lookback": lookback,
        "segment": segment_for(lookback, facts.period),
        "epochs": epochs,
        "patience": max(3, epochs // 5),
        "batch_size": batch,
        "stride": stride,
    }
    recipe = checked_settings(ForecastRecipe, chosen | given)
    FORECAST_NETWORKS[recipe.model]
    return recipe


def default_horizon(frequency: Frequency | None, period: int, rows: int) -> int:
    """Rows to forecast where nobody says: a day of hours or quarter hours, two weeks of days, a year of months, ….

    At most an eighth of the ``rows``.

    >>> default_horizon(Frequency("month"), 12, 144), default_horizon(Frequency("minute", 15), 96, 9000)
    (12, 96)
    """
    unit = "" if frequency is None else frequency.unit
    clock = unit in _CLOCK and 12 <= period <= 96
    usual = period if clock else _HORIZONS.get(unit, _HORIZON)
    return max(1, min(usual, rows // 8))


def default_lookback(rows: int, horizon: int, period: int) -> int:
    """Rows to look back on: seven horizons or fourteen seasons, at most a quarter of the rows, in whole seasons.

    >>> default_lookback(8640, 96, 24), default_lookback(101, 12, 12)
    (672, 24)
    """
    most = max(1, min(rows // 4, rows - 2 * horizon))
    wanted = min(max(7 * horizon, 14 * period, 16), most)
    return wanted // period * period if wanted >= period else wanted


def segment_for(lookback: int, period: int) -> int:
    """The divisor of the lookback that makes about fifteen segments; one that fits the season goes first.

    >>> segment_for(720, 24), segment_for(24, 12), segment_for(97, 1)
    (48, 2, 1)
    """
    divisors = [size for size in range(1, lookback + 1) if lookback % size == 0]
    fitting = [size for size in divisors if size % period == 0 or period % size == 0]
    return min(fitting or divisors, key=lambda size: abs(math.log(lookback / size / _SEGMENTS)))


def batch_size_for(windows: int, columns: int) -> int:
    """A power of two of windows: about 2,000 rows of one column in a step, and 8 steps an epoch where they are few.

    >>> batch_size_for(7825, 7), batch_size_for(60, 1)
    (256, 8)
    """
    most = max(8, min(256, 2048 // columns, windows // 8))
    return 1 << (most.bit_length() - 1)


def default_epochs(rows: int, steps: int) -> int:
    """Epochs so that rows are seen often enough: fewer the more there are, and 250 steps or more.

    >>> default_epochs(54_775, 31), default_epochs(60, 8)
    (9, 100)
    """
    return min(100, max(3, round(400_000 / rows), math.ceil(250 / steps)))


def _stride(rows: int, period: int) -> int:
    """Rows between training windows where there are too many; prime to the season, so that each hour has its turn."""
    stride = max(1, -(-rows // _MOST_ROWS))
    while math.gcd(stride, period) > 1:
        stride += 1
    return stride


def _whole(settings: Mapping[str, Any], name: str) -> int | None:
    """A setting as a whole number, or None where it is not given; ConfigError where it is none."""
    return checked_settings(ForecastRecipe, {name: settings[name]}).model_dump()[name] if name in settings else None
