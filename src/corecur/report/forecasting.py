"""The report of a forecaster: from what a run knows to one page.

H horizon, C columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from corecur.report.charts import find_best_epoch, learning_curves, percent
from corecur.report.classification import flat_config
from corecur.report.forecast_charts import Window, forecast_chart, overview, step_coverage, step_errors
from corecur.report.page import Block, Code, Columns, Figure, Finding, KeyValues, Rows, Section, Text

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Overview:
    """A whole column, the last row of each part by its name, and the times of its first and last row."""

    column: str
    values: Array
    parts: Sequence[tuple[str, int]]
    times: tuple[str, str]


@dataclass(frozen=True)
class ForecastReport:
    """Everything the report of a forecaster can show; what a run does not have stays at its default.

    ``tiles`` are the figures that matter most. ``by_step`` (H,) and ``baselines`` (name → (H,)) are squared errors,
    ``coverage`` (H,) shares in the ``level`` interval. ``baseline`` names the forecast drawn beside the network's.
    """

    verdict: str = ""
    command: str = ""
    tiles: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    next_commands: Sequence[str] = ()
    history: Sequence[Mapping[str, float]] = ()
    windows: Sequence[Window] = ()
    baseline: str = ""
    level: float = 0.8
    by_step: Array | None = None
    baselines: Mapping[str, Array] = field(default_factory=dict)
    coverage: Array | None = None
    per_column: tuple[Sequence[str], Sequence[Sequence[str]], str] | None = None
    overviews: Sequence[Overview] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    network_summary: str = ""
    config: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def forecasting_sections(report: ForecastReport) -> list[Section]:
    """The sections of the page in reading order: the answer first, the evidence after it, the settings last.

    >>> [section.title for section in forecasting_sections(ForecastReport())][:3]
    ['Result', 'Forecasts', 'Errors']
    """
    return [
        _result(report),
        _forecasts(report),
        _errors(report),
        _curves(report),
        _data(report),
        Section(
            "Network", [Code(report.network_summary)] if report.network_summary else [Text("No summary was kept.")]
        ),
        Section("Configuration", [KeyValues(flat_config(report.config))]),
        Section("Environment", [KeyValues(report.environment)]),
        _commands(report),
    ]


def _result(report: ForecastReport) -> Section:
    blocks: list[Block] = [Text(report.verdict, lead=True)] if report.verdict else []
    if report.tiles:
        blocks.append(KeyValues(report.tiles, tiles=True))
    if report.by_step is None:
        missing = "Nothing here was measured on rows that played no part in training."
        blocks.append(Finding("No test part", missing, "keep rows at the end for a test with --test", "warning"))
    return Section("Result", [*blocks, *report.findings])


def _forecasts(report: ForecastReport) -> Section:
    if not report.windows:
        return Section("Forecasts", [Text("There is no test part to show forecasts of.")])
    charts = [forecast_chart(window, level=report.level, baseline=report.baseline) for window in report.windows]
    note = (
        "Test windows by their error: one that nine in ten are worse than, one in the middle, and one that nine in ten "
        f"are better than. The band is the {percent(report.level, 0)} interval, grey is what the network saw last."
    )
    return Section("Forecasts", [Columns(charts[start : start + 2]) for start in range(0, len(charts), 2)], note=note)


def _errors(report: ForecastReport) -> Section:
    if report.by_step is None:
        return Section("Errors", [Text("There is no test part to measure errors on.")])
    charts: list[Figure] = [step_errors(report.by_step, report.baselines)]
    if report.coverage is not None:
        charts.append(step_coverage(report.coverage, report.level))
    blocks: list[Block] = [Columns(charts)]
    if report.per_column is not None:
        header, rows, remark = report.per_column
        blocks += [Rows(header, rows), Text(remark)]
    note = (
        "MSE in squared standard deviations of the training part. MASE: the absolute error in parts of that of the "
        "seasonal naive forecast on the training part; below 1 is better."
    )
    return Section("Errors", blocks, note=note)


def _curves(report: ForecastReport) -> Section:
    figures = learning_curves(report.history)
    if not figures:
        return Section("Curves", [Text("No training history was kept.")])
    best = find_best_epoch(report.history)
    note = "The loss is the pinball loss of the quantiles."
    return Section("Curves", [Columns(figures)], note=note + (f" The best epoch is {best:g}." if best else ""))


def _data(report: ForecastReport) -> Section:
    blocks: list[Block] = [overview(one.column, one.values, one.parts, one.times) for one in report.overviews]
    return Section("Data", [*blocks, KeyValues(report.facts)])


def _commands(report: ForecastReport) -> Section:
    first = Code(report.command, command=True) if report.command else Text("The run was started from Python.")
    blocks: list[Block] = [first]
    if report.next_commands:
        blocks += [Text("What to try next:"), *(Code(command, command=True) for command in report.next_commands)]
    return Section("Commands", blocks, note="A click selects a command whole.")
