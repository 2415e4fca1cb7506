from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from corecur import Forecaster
from corecur.learners.fit_result import FitResult
from corecur.learners.forecast_data import ForecastData
from corecur.learners.forecast_report import build_report, sections
from corecur.learners.run_request import RunRequest

from .forecast_tables import waves

Run = tuple[Forecaster, ForecastData, FitResult]


@pytest.fixture(scope="module")
def run() -> Run:
    learner = Forecaster(horizon=6, epochs=2, hidden=8, threads=1)
    data = learner.read({"load": waves(300)[:, 0], "wind": waves(300)[:, 1]})
    return learner, data, learner.fit(data)


def config(learner: Forecaster, data: ForecastData) -> dict[str, object]:
    return learner._config(data, "corecur train a.csv", RunRequest.of("a.csv"))


def test_windows_shown_are_those_of_the_test(run: Run) -> None:
    learner, data, result = run
    report = build_report(learner, data, result, config=config(learner, data))
    assert [window.column for window in report.windows] == ["load", "wind"] * 3
    assert report.by_step is not None and len(report.by_step) == 6
    errors = [float(np.square((window.truth - window.median) / spread).mean())
              for window, spread in zip(report.windows, learner.preprocess.scaling.std * 3, strict=True)]  # fmt: skip
    pairs = [(first + second) / 2 for first, second in zip(errors[::2], errors[1::2], strict=True)]
    assert pairs == sorted(pairs)
    order = np.sort(result.test.model.windows)
    np.testing.assert_allclose(pairs[1], order[round(0.5 * (len(order) - 1))], rtol=1e-3)
    shown = waves(300)[:, 0]
    start = next(i for i in range(240, 300) if abs(shown[i] - report.windows[0].truth[0]) < 1e-4)
    np.testing.assert_allclose(report.windows[0].truth, shown[start : start + 6], atol=1e-3)
    np.testing.assert_allclose(report.windows[0].past, shown[start - 12 : start], atol=1e-3)
    assert report.windows[0].begins == f"row {start + 1}"


def test_a_forecaster_worse_than_its_baselines_is_told_so(run: Run) -> None:
    learner, data, result = run
    worse = dataclasses.replace(result.test, gain=(-0.5, -0.1), coverage=np.full_like(result.test.coverage, 0.5))
    found = build_report(learner, data, dataclasses.replace(result, test=worse), config=config(learner, data)).findings
    assert any("Not better than" in finding.verdict for finding in found)
    assert any("hold 50 % of the values instead of 80 %" in finding.verdict for finding in found)


def test_without_a_test_part(run: Run) -> None:
    learner, data, result = run
    untested = dataclasses.replace(result, test=None)
    titles = [section.title for section in sections(learner, data, untested, config=config(learner, data))]
    assert titles[:3] == ["Result", "Forecasts", "Errors"]
