from __future__ import annotations

import json

import numpy as np

from corecur.finding import Finding
from corecur.learners.forecast_answers import Forecast, decimals_for, forecast_listing, forecast_spreadsheet


def forecast(steps: int = 3, columns: int = 2, name: str = "a.csv") -> Forecast:
    middle = np.arange(steps * columns, dtype=np.float64).reshape(steps, columns)
    values = np.stack([middle - 1, middle, middle + 2], -1)
    times = tuple(f"2024-01-{day + 1:02d}" for day in range(steps))
    return Forecast(name, times, tuple("abcdefg"[:columns]), (0.1, 0.5, 0.9), values, (Finding("odd", "Odd rows."),))


def test_json_holds_every_step() -> None:
    found = json.loads(json.dumps(forecast().as_json()))
    assert found["times"] == ["2024-01-01", "2024-01-02", "2024-01-03"] and found["level"] == 0.8
    assert found["columns"]["b"] == {"forecast": [1.0, 3.0, 5.0], "low": [0.0, 2.0, 4.0], "high": [3.0, 5.0, 7.0]}


def test_spreadsheet_has_a_row_for_each_time_and_column() -> None:
    header, rows = forecast_spreadsheet([forecast(), forecast(name="b.csv")])
    assert header == ["series", "time", "column", "forecast", "low", "high"]
    assert len(rows) == 12 and rows[1] == ["a.csv", "2024-01-01", "b", "1", "0", "3"]


def test_the_table_shows_intervals_of_few_columns() -> None:
    header, rows, remark = forecast_listing([forecast()])
    assert header == ("time", "a", "80 % interval", "b", "80 % interval")
    assert rows[0] == ("2024-01-01", "0.00", "-1.00 to 2.00", "1.00", "0.00 to 3.00") and "Odd rows." in remark
    header, rows, remark = forecast_listing([forecast(60, 5), forecast(60, 5, name="b.csv")])
    assert header == ("series", "time", *"abcde") and len(rows) == 96
    assert "12 more steps" in remark and "80 % intervals" in remark


def test_decimals_follow_the_spread() -> None:
    assert decimals_for(np.array([5000.0, 90_000.0])) == 0
    assert decimals_for(np.array([0.001, 0.002])) == 5
    assert decimals_for(np.array([7.0, 7.0])) == 2 and decimals_for(np.zeros(2)) == 2
