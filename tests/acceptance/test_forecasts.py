"""Forecasts on real data: from a table to a trained, tested, reported and saved network, by the command alone.

The figures stand in ``docs/recipes-forecast.md``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.acceptance

Answer = Callable[..., Any]

# Mean squared error on the test part, standardised. The whole job, default recipe: measured 0.363 to 0.364, three runs.
ETTH1_BAR = 0.385
ETTH1_WINDOWS = 2880 - 96 + 1  # none is dropped
# The usual 12, 4 and 4 months.
ETTH1_PARTS = ("--rows", 14_400, "--validation", 2880, "--test", 2880)
AIRLINE_BAR = 0.35  # measured 0.116, one seed; seasonal naive 0.449


def test_etth1_ninety_six_hours_ahead(
    answer: Answer, program: Callable[..., str], data: Callable[[str], Path], tmp_path: Path
) -> None:
    source = data("ett") / "ETTh1.csv"
    found = answer("train", source, "--horizon", 96, "--lookback", 720, *ETTH1_PARTS)  # about 65 s of processor time
    test = found["test"]
    assert test["mse"] <= ETTH1_BAR and test["windows"] == ETTH1_WINDOWS
    low, high = test["interval"]
    assert low < test["mse"] < high and test["gain_interval"][0] > 0
    assert test["best_baseline"] == "seasonal_naive" and test["mse"] < test["baselines"]["seasonal_naive"]["mse"]
    assert 0.7 < test["coverage"] < 0.95
    page = (tmp_path / found["report"]).read_text("utf-8")
    for words in ("seasonal naive", "MSE by step ahead", "Values in their interval", "HUFL"):
        assert words in page

    (forecast,) = answer("predict", found["bundle"], source)
    assert forecast["times"][0] == "2018-06-26 20:00" and forecast["times"][-1] == "2018-06-30 19:00"
    assert set(forecast["columns"]) == {"HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"}
    rows = list(csv.DictReader(io.StringIO(program("predict", found["bundle"], source, "--format", "csv"))))
    assert len(rows) == 7 * 96
    assert all(float(row["low"]) <= float(row["forecast"]) <= float(row["high"]) for row in rows)
    newer = answer("evaluate", found["bundle"], source)
    assert "2017-10-24 00:00 on" in str(newer["findings"][-1])  # what training and validation never saw
    assert newer["test"]["windows"] == 17_420 - 11_520 - 96 + 1


def test_a_hundred_months_and_nothing_said(answer: Answer, data: Callable[[str], Path]) -> None:
    source = data("series") / "Airline.csv"
    found = answer("train", source)
    test = found["test"]
    assert test["horizon"] == 12 and test["windows"] == 29 - 12 + 1
    assert test["mse"] <= AIRLINE_BAR and test["mse"] < test["baselines"]["seasonal_naive"]["mse"]
    assert test["interval"] is None  # 18 windows that overlap are too few for one
    (forecast,) = answer("predict", found["bundle"], source)
    assert forecast["times"] == [f"1961-{month:02d}" for month in range(1, 13)]
    assert 380 < min(forecast["columns"]["Passengers"]["forecast"]) < 480
    assert 560 < max(forecast["columns"]["Passengers"]["forecast"]) < 760
