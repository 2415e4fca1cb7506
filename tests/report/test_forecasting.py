from __future__ import annotations

from dataclasses import replace

import numpy as np

from corecur.report.forecasting import ForecastReport, Overview, forecasting_sections
from corecur.report.page import Finding, render

from .reader import EVIL, check_page
from .test_forecast_charts import WINDOW


def test_a_full_page_shows_everything_and_nests() -> None:
    line = np.linspace(0.1, 0.4, 24)
    report = ForecastReport(
        verdict=f"Test MSE 0.25 {EVIL}.",
        command="corecur train a.csv",
        tiles={"Test MSE": "0.25"},
        findings=[Finding("Odd rows")],
        next_commands=["corecur predict m a.csv"],
        history=[{"epoch": e, "loss": 1 / e, "val_loss": 2 / e, "learning_rate": 0.1, "seconds": 1.0} for e in (1, 2)],
        windows=[replace(WINDOW, note=note) for note in ("best", "middle", "worst")],
        baseline="seasonal naive",
        by_step=line,
        baselines={"seasonal naive": 2 * line},
        coverage=line,
        per_column=(("column", "MAE"), [("load", "1.5")], "in their own units"),
        overviews=[Overview("load", line, [("training", 24)], ("2024-01-01", "2024-01-02"))],
        facts={"Source": "a.csv"},
        network_summary="layer …",
        config={"seed": 0, "recipe": {"horizon": 24}},
        environment={"torch": "2"},
    )
    reader = check_page(render("a.csv: forecasting", "", forecasting_sections(report)))
    for words in ("Test MSE 0.25", "Odd rows", "seasonal naive", "MSE by step ahead", "recipe.horizon", "layer …"):
        assert words in reader.words


def test_an_empty_report_says_what_is_missing() -> None:
    reader = check_page(render("a", "", forecasting_sections(ForecastReport())))
    for words in ("No test part", "no test part to show forecasts", "No training history", "started from Python"):
        assert words in reader.words
