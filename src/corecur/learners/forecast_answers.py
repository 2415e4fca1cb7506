"""What a forecaster says: for each column the next rows, with an interval, and when they are.

H horizon, C columns, Q quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.finding import Finding
from corecur.learners.outcome import Listing
from corecur.report.charts import percent

# A table for people shows so many steps, and intervals of so many columns.
_MOST_STEPS, _MOST_COLUMNS = 48, 3


@dataclass(frozen=True)
class Forecast:
    """The rows after the end of one series: values (H, C, Q) in the columns' own units, and their times (H,).

    The quantile in the middle, the median, is the forecast; the outer two are the interval, which is to hold ``level``
    of the values.
    """

    name: str
    times: tuple[str, ...]
    columns: tuple[str, ...]
    quantiles: tuple[float, ...]
    values: NDArray[np.float64]
    findings: tuple[Finding, ...] = ()

    @property
    def level(self) -> float:
        """The share of the values that the interval is to hold."""
        return self.quantiles[-1] - self.quantiles[0]

    @property
    def medians(self) -> NDArray[np.float64]:
        """The forecast, (H, C)."""
        middle: NDArray[np.float64] = self.values[..., len(self.quantiles) // 2]
        return middle

    def as_json(self) -> dict[str, Any]:
        """The forecast as JSON values."""
        return {
            "series": self.name,
            "times": list(self.times),
            "level": round(self.level, 6),
            "columns": {
                name: {
                    "forecast": self.medians[:, place].tolist(),
                    "low": self.values[:, place, 0].tolist(),
                    "high": self.values[:, place, -1].tolist(),
                }
                for place, name in enumerate(self.columns)
            },
            "findings": [found.as_json() for found in self.findings],
        }


def forecast_listing(answers: Sequence[Forecast]) -> Listing:
    """Forecasts as a table for people: a row for each time, with the interval where there are few columns.

    >>> one = Forecast("a.csv", ("2020-01-01",), ("load",), (0.1, 0.5, 0.9), np.array([[[1.0, 2.0, 3.5]]]))
    >>> forecast_listing([one])[1]
    [('2020-01-01', '2.00', '1.00 to 3.50')]
    """
    several = len(answers) > 1
    rows: list[tuple[str, ...]] = []
    for answer in answers:
        decimals = [decimals_for(answer.values[:, place]) for place in range(len(answer.columns))]
        for step in range(len(answer.times[:_MOST_STEPS])):
            cells: list[str] = []
            for place in range(len(answer.columns)):
                low, middle, high = (
                    f"{value:.{decimals[place]}f}"
                    for value in (
                        answer.values[step, place, 0],
                        answer.medians[step, place],
                        answer.values[step, place, -1],
                    )
                )
                cells += [middle, f"{low} to {high}"] if len(answer.columns) <= _MOST_COLUMNS else [middle]
            rows.append((*((answer.name,) if several else ()), answer.times[step], *cells))
    columns, level = answers[0].columns, percent(answers[0].level, 0)
    titles: list[str] = []
    for name in columns:
        titles += [name, f"{level} interval"] if len(columns) <= _MOST_COLUMNS else [name]
    header = (*(("series",) if several else ()), "time", *titles)
    return header, rows, _remark(answers)


def forecast_spreadsheet(answers: Sequence[Forecast]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Forecasts as header and rows of a CSV file: a row for each time and column.

    >>> one = Forecast("a.csv", ("2020-01-01",), ("load",), (0.1, 0.5, 0.9), np.array([[[1.0, 2.0, 3.5]]]))
    >>> forecast_spreadsheet([one])[1]
    [['a.csv', '2020-01-01', 'load', '2', '1', '3.5']]
    """
    rows = [
        [answer.name, time, column]
        + [
            f"{value:.9g}"
            for value in (answer.medians[step, place], answer.values[step, place, 0], answer.values[step, place, -1])
        ]
        for answer in answers
        for step, time in enumerate(answer.times)
        for place, column in enumerate(answer.columns)
    ]
    return ["series", "time", "column", "forecast", "low", "high"], rows


def decimals_for(values: NDArray[np.float64]) -> int:
    """How many decimals tell values (…) apart, by their spread: three digits of it.

    >>> decimals_for(np.array([1.0, 2.0, 3.5])), decimals_for(np.array([120.0, 980.0]))
    (2, 0)
    """
    spread = float(np.ptp(values)) or float(np.abs(values).max()) or 1.0
    return min(9, max(0, 2 - math.floor(math.log10(spread))))


def _remark(answers: Sequence[Forecast]) -> str:
    notes = []
    left = max(len(answer.times) for answer in answers) - _MOST_STEPS
    if left > 0:
        notes.append(f"… and {left:,} more steps; --format csv and --json have them all")
    if len(answers[0].columns) > _MOST_COLUMNS:
        notes.append(f"--format csv and --json have the {percent(answers[0].level, 0)} intervals")
    notes += [f"! {finding}" for answer in answers for finding in answer.findings]
    return "\n".join(notes)
