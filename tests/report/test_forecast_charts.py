"""Charts of forecasts: their words, their limits, odd names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from corecur.report.forecast_charts import Window, forecast_chart, overview, step_coverage, step_errors
from corecur.report.page import Figure

from .reader import EVIL

STEPS = np.arange(24.0)
WINDOW = Window(
    column="load", past=np.sin(np.arange(48.0)), truth=STEPS, median=STEPS + 1, low=STEPS - 1, high=STEPS + 2,
    baseline=np.zeros(24), begins="2024-01-03", ends="2024-01-04", note="one in the middle",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def words_of(figure: Figure) -> str:
    return " ".join(ElementTree.fromstring(figure.html()).itertext())


def test_a_forecast_says_how_far_off_it_was() -> None:
    figure = forecast_chart(WINDOW, level=0.8, baseline="seasonal naive")
    assert "mean absolute error 1, 100 % of the values in the 80 % interval (one in the middle)" in figure.caption
    shown = words_of(figure)
    for word in ("load", "forecast", "truth", "seasonal naive", "2024-01-03", "2024-01-04"):
        assert word in shown
    missed = forecast_chart(replace(WINDOW, low=STEPS + 0.5), level=0.8, baseline="last value")
    assert "0 % of the values" in missed.caption


@pytest.mark.parametrize("steps", [1, 2, 14, 300])
def test_any_number_of_steps(steps: int) -> None:
    line = np.linspace(0, 1, steps)
    one = replace(WINDOW, past=line, truth=line, median=line, low=line, high=line, baseline=line)
    for figure in (
        forecast_chart(one, level=0.9, baseline="b"), step_errors(line, {"last value": line, "b": line}),
        step_coverage(line, 0.8), overview("x", line, [("training", steps)], ("1", "2")),
    ):  # fmt: skip
        ElementTree.fromstring(figure.html())


def test_steps_say_where_they_begin_and_end() -> None:
    figure = step_errors(np.array([0.125, 0.5]), {"last value": np.array([1.0, 2.0])})
    assert "from 0.125 at the first step to 0.500 at step 2" in figure.caption and "last value" in words_of(figure)
    assert "62.5 % of the values lay in their 80 % intervals" in step_coverage(np.array([0.5, 0.75]), 0.8).caption


def test_a_long_column_keeps_its_peaks() -> None:
    values = np.zeros(200_000)
    values[123_456] = 9.0
    figure = overview("load", values, [("training", 150_000), ("test", 200_000)], ("2001", "2024"))
    assert len(figure.html()) < 60_000
    flat = overview("load", np.zeros(200_000), [("training", 150_000), ("test", 200_000)], ("2001", "2024"))
    assert re.findall(r'd="[^"]+"', figure.html()) != re.findall(r'd="[^"]+"', flat.html())
    assert "training" in words_of(figure) and "2024" in words_of(figure)


@pytest.mark.parametrize("name", [EVIL, "$\\frac{1}{", "负荷", "a\nb"])
def test_names_are_only_text(name: str) -> None:
    for figure in (
        forecast_chart(replace(WINDOW, column=name, begins=name), level=0.8, baseline="last value"),
        overview(name, STEPS, [("training", 24)], (name, name)),
    ):
        ElementTree.fromstring(figure.html())
        assert "<script" not in figure.html()
