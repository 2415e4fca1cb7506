"""What a test says about a forecaster: its errors beside those of forecasts that need no training.

W windows, B batch, L lookback, H horizon, C columns, Q quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.data.series.baselines import last_value, seasonal_naive
from corecur.data.series.windows import WindowBatches
from corecur.engine.block_bootstrap import LEAST_BLOCKS, block_interval, resampled_means
from corecur.finding import Finding
from corecur.learners.outcome import Listing
from corecur.report.charts import percent

LEVEL = 0.95
# Windows that overlap err alike: the blocks of the bootstrap are this many horizons long.
BLOCK_HORIZONS = 2
LAST, SEASONAL = "last value", "seasonal naive"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Errors of one way to forecast: squared and absolute in standard deviations of the training part.

    ``by_step`` (H,) are the squared errors of each step ahead, ``by_column`` (C,) the absolute ones in the columns'
    own units, ``windows`` (W,) the squared errors of each window.
    """

    mse: float
    mae: float
    by_step: Array
    by_column: Array
    windows: Array


@dataclass(frozen=True)
class WindowErrors:
    """The errors of each window, standardised: by column (W, C) and by step ahead (W, H), squared and absolute."""

    column_squares: Array
    column_absolutes: Array
    step_squares: Array
    step_absolutes: Array


@dataclass(frozen=True)
class ForecastEvaluation:
    """A test of a forecaster on windows that follow each other, beside its baselines.

    ``interval`` is the 95 % interval of the squared error, ``gain`` that of the share by which it lies below the best
    baseline's, both by the bootstrap over blocks of windows; None where there are too few windows. ``coverage`` (H, C)
    is how much of the values lay in their intervals, which were to hold ``level`` of them. ``naive_errors`` (C,) are
    the absolute errors of the seasonal naive forecast, one step ahead, on the training part: what MASE divides by.
    ``errors`` are those of each window, ``block`` is how many of them err alike.
    """

    columns: tuple[str, ...]
    model: Score
    baselines: Mapping[str, Score]
    coverage: Array
    level: float
    naive_errors: Array
    period: int
    interval: tuple[float, float] | None = None
    gain: tuple[float, float] | None = None
    findings: tuple[Finding, ...] = field(default=())
    errors: WindowErrors | None = field(default=None, repr=False, compare=False)
    block: int = 1

    @property
    def windows(self) -> int:
        """Number of windows tested."""
        return len(self.model.windows)

    @property
    def horizon(self) -> int:
        """Rows that each window forecasts."""
        return len(self.model.by_step)

    @property
    def best_baseline(self) -> str:
        """The name of the baseline with the least squared error."""
        return min(self.baselines, key=lambda name: self.baselines[name].mse)

    @property
    def mase(self) -> list[float | None]:
        """Each column's absolute error in parts of the naive one on the training part (Hyndman & Koehler 2006)."""
        pairs = zip(self.model.by_column.tolist(), self.naive_errors.tolist(), strict=True)
        return [error / naive if naive > 0 else None for error, naive in pairs]

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        covered = self.coverage.mean(0).tolist()
        return {
            "mse": self.model.mse,
            "mae": self.model.mae,
            "interval": None if self.interval is None else list(self.interval),
            "level": LEVEL,
            "windows": self.windows,
            "horizon": self.horizon,
            "period": self.period,
            "coverage": float(self.coverage.mean()),
            "coverage_wanted": round(self.level, 6),
            "baselines": {name.replace(" ", "_"): {"mse": s.mse, "mae": s.mae} for name, s in self.baselines.items()},
            "best_baseline": self.best_baseline.replace(" ", "_"),
            "gain": 1 - self.model.mse / self._base.mse if self._base.mse else None,
            "gain_interval": None if self.gain is None else list(self.gain),
            "by_step": [round(value, 6) for value in self.model.by_step.tolist()],
            "per_column": {
                name: {
                    "mae": self.model.by_column[place].item(),
                    "mase": self.mase[place],
                    "coverage": covered[place],
                    **{f"{b.replace(' ', '_')}_mae": s.by_column[place].item() for b, s in self.baselines.items()},
                }
                for place, name in enumerate(self.columns)
            },
        }

    @property
    def _base(self) -> Score:
        return self.baselines[self.best_baseline]

    def listing(self) -> Listing:
        """The columns as a table for people: errors in their own units."""
        header = ("column", "MAE", *(f"MAE {name}" for name in self.baselines), "MASE", "in the interval")
        covered = self.coverage.mean(0)
        rows = [
            (
                name,
                _number(self.model.by_column[place]),
                *(_number(score.by_column[place]) for score in self.baselines.values()),
                "–" if self.mase[place] is None else f"{self.mase[place]:.3f}",
                percent(covered[place]),
            )
            for place, name in enumerate(self.columns)
        ]
        remark = f"MAE in each column's own units; the intervals are to hold {percent(self.level, 0)} of the values"
        return header, rows, remark

    def sentence(self) -> str:
        """The result in words."""
        interval = "" if self.interval is None else f", 95 % interval {self.interval[0]:.3f} to {self.interval[1]:.3f}"
        columns = "1 column" if len(self.columns) == 1 else f"{len(self.columns):,} columns"
        steps = "1 step" if self.horizon == 1 else f"{self.horizon:,} steps"
        windows = "1 window" if self.windows == 1 else f"{self.windows:,} windows"
        return (
            f"test MSE {self.model.mse:.3f}{interval}, MAE {self.model.mae:.3f} (standardised; {windows} of {steps}, "
            f"{columns}); {self.comparison()}"
        )

    def comparison(self) -> str:
        """How the errors compare with the best baseline's, in words."""
        name, base = self.best_baseline, self._base
        rest = f"{name} ({base.mse:.3f})"
        if base.mse == 0:
            return f"{rest} is never wrong here"
        share = 1 - self.model.mse / base.mse
        if abs(share) < 0.005:
            return f"as good as {rest}"
        if self.gain is None:
            side = "below" if share >= 0 else "above"
            return f"{abs(share):.0%} {side} {rest}; too few windows to say how sure that is".replace("%", " %")
        low, high = self.gain
        if low <= 0 <= high:
            return f"no difference from {rest} shown: {_signed(low)} to {_signed(high)}"
        if share > 0:
            return f"{percent(share, 0)} below {rest}, 95 % interval {percent(low, 0)} to {percent(high, 0)}"
        return f"{name} is better: the error is {percent(-share, 0)} above its {base.mse:.3f}"


def measure(
    answer: Callable[[Tensor], Tensor],
    batches: WindowBatches,
    *,
    columns: Sequence[str],
    units: Sequence[float],
    naive_errors: Sequence[float],
    period: int,
    level: float,
    findings: Sequence[Finding] = (),
) -> ForecastEvaluation:
    """Test on all windows of some batches, the last ones included.

    ``answer`` makes (B, H, C, Q) of inputs (B, L, C), both standardised; ``units`` (C,) are the standard deviations
    that give the columns' own units back. The seasonal naive forecast is left out where a season is longer than the
    lookback, or 1.
    """
    horizon = batches.horizon
    ways: dict[str, Callable[[Tensor], Tensor]] = {}
    if 1 < period <= batches.lookback:
        ways[SEASONAL] = lambda past: seasonal_naive(past, horizon, period)
    ways[LAST] = lambda past: last_value(past, horizon)
    model, baselines, details = _Tally(), {name: _Tally() for name in ways}, _Details()
    inside = torch.zeros(horizon, len(columns), dtype=torch.float64)
    for batch in batches:
        past, target = batch.inputs, batch.targets
        if not isinstance(past, Tensor) or not isinstance(target, Tensor):
            continue
        answers = answer(past)  # (B, H, C, Q)
        middle = answers[..., answers.shape[-1] // 2]
        model.add(middle, target)
        details.add(middle, target)
        held = (target >= answers[..., 0]) & (target <= answers[..., -1])
        inside += held.sum(0).double().cpu()
        for name, way in ways.items():
            baselines[name].add(way(past), target)
    own = np.asarray(units, dtype=np.float64)
    scored = {name: tally.score(own) for name, tally in baselines.items()}
    found = model.score(own)
    best = min(scored.values(), key=lambda score: score.mse)
    block = max(1, BLOCK_HORIZONS * horizon // batches.stride)
    return ForecastEvaluation(
        columns=tuple(columns),
        model=found,
        baselines=scored,
        coverage=(inside / batches.samples).numpy(),
        level=level,
        naive_errors=np.asarray(naive_errors, dtype=np.float64),
        period=period,
        interval=block_interval(found.windows, block=block, level=LEVEL),
        gain=_gain(found.windows, best.windows, block),
        findings=tuple(findings),
        errors=details.errors(),
        block=block,
    )


class _Details:
    """The errors of each window, as they come."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, ...]] = []

    def add(self, answer: Tensor, target: Tensor) -> None:
        """Answers and targets (B, H, C)."""
        error = (answer - target).double()
        square, absolute = error.square(), error.abs()
        means = (square.mean(1), absolute.mean(1), square.mean(2), absolute.mean(2))
        self._parts.append(tuple(mean.cpu() for mean in means))

    def errors(self) -> WindowErrors:
        """Those of all windows."""
        return WindowErrors(*(torch.cat(column).numpy() for column in zip(*self._parts, strict=True)))


class _Tally:
    """Sums of errors over batches of windows."""

    def __init__(self) -> None:
        self._windows: list[Tensor] = []
        self._absolute: Tensor | float = 0.0  # (C,)
        self._steps: Tensor | float = 0.0  # (H,)
        self._size = (0, 0)

    def add(self, answer: Tensor, target: Tensor) -> None:
        """Answers and targets (B, H, C)."""
        error = (answer - target).double()
        square = error.square()
        self._windows.append(square.mean((1, 2)).cpu())
        self._absolute = self._absolute + error.abs().sum((0, 1)).cpu()
        self._steps = self._steps + square.mean(2).sum(0).cpu()
        self._size = (target.shape[1], target.shape[2])

    def score(self, units: Array) -> Score:
        """The errors of all windows; ``units`` (C,) turn them into the columns' own units."""
        windows = torch.cat(self._windows).numpy()  # (W,)
        absolute = torch.as_tensor(self._absolute).numpy() / (len(windows) * self._size[0])  # (C,)
        by_step = torch.as_tensor(self._steps).numpy() / len(windows)
        return Score(float(windows.mean()), float(absolute.mean()), by_step, absolute * units, windows)


def _gain(model: Array, baseline: Array, block: int) -> tuple[float, float] | None:
    """The interval of 1 - MSE / baseline's MSE, window by window in pairs."""
    if len(model) < LEAST_BLOCKS * block or not baseline.any():
        return None
    means = resampled_means(np.stack([model, baseline], axis=1), block=block)  # (R, 2)
    shares = 1 - means[:, 0] / np.maximum(means[:, 1], 1e-300)
    low, high = np.quantile(shares, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _signed(share: float) -> str:
    return f"{percent(abs(share), 0)} {'below' if share >= 0 else 'above'}"


def _number(value: float) -> str:
    """A number to four significant digits, without an exponent.

    >>> _number(0.01234567), _number(1234.5678)
    ('0.01235', '1235')
    """
    if value == 0 or not math.isfinite(value):
        return "0"
    return f"{value:.{max(0, 3 - math.floor(math.log10(abs(value))))}f}"
