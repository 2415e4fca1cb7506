"""A search as one HTML page: the best trial and its command, the history, what it cost, and which settings mattered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from corecur.finding import Finding as Found
from corecur.learners.learner import name_of
from corecur.report.page import Block, Code, Columns, Finding, KeyValues, Rows, Section, Text, write_page
from corecur.report.search_charts import front_chart, history_chart, importance_chart, slice_chart
from corecur.tuning.search_space import Range, label_of
from corecur.tuning.trial_table import TrialRow, front_of, name_of_metric, shown
from corecur.tuning.tuning_result import TuneResult, ends_in_words

_SLICES = 4


def write_study(result: TuneResult) -> None:
    """Write ``study.html`` into the study's folder."""
    title = f"{name_of(result.request.source or 'data')}: search"
    write_page(result.page, title, time.strftime("%Y-%m-%d %H:%M"), sections(result))


def sections(result: TuneResult) -> list[Section]:
    """The parts of the page."""
    done = [row for row in result.rows if row.value is not None]
    overview: list[Block] = [_history(result, done)]
    if result.importance:
        overview.append(importance_chart(list(result.importance), list(result.importance.values())))
    parts = [_result(result), Section("History", [Columns(overview)])]
    slices = _slices(result, done)
    if slices:
        parts.append(Section("Setting by setting", [Columns(slices)]))
    cost = _cost(result, done)
    if cost:
        note = "Latency is the least of several answers to one sample."
        parts.append(Section("What it costs", [Columns(cost)], note=note))
    return [*parts, _trials(result), _search(result)]


def _writer(result: TuneResult) -> Callable[[float], str]:
    return lambda value: shown(value, result.request.metric)


def _result(result: TuneResult) -> Section:
    best, default, write = result.best, result.default, _writer(result)
    name = name_of_metric(result.request.metric)
    tiles: dict[str, object] = {f"best {name}": write(best.value or 0.0)}
    if default is not None:
        tiles[f"default recipe, {name}"] = write(default.value or 0.0)
    tiles |= {"best trial": best.number, "trials": len(result.rows)}
    if best.parameters is not None and best.latency is not None:
        tiles |= {"parameters": f"{best.parameters:,}", "latency": f"{1e3 * best.latency:.3g} ms"}
    blocks: list[Block] = [Text(line, lead=number == 0) for number, line in enumerate(result.sentences())]
    blocks += [KeyValues(tiles, tiles=True), *(_shown(found) for found in result.findings)]
    blocks += [Text("Train with these settings again, with a full report:"), Code(result.command, command=True)]
    if result.bundle is not None:
        blocks.append(KeyValues({"model": result.bundle}))
    note = "The validation chose; the test split was looked at once, afterwards."
    return Section("Result", blocks, note=note if result.tests else "There was no test split to look at.")


def _shown(found: Found) -> Finding:
    return Finding(found.verdict, "; ".join(found.evidence), found.remedy, found.level)


def _history(result: TuneResult, done: list[TrialRow]) -> Block:
    sign, values = result.request.sign, [row.value or 0.0 for row in done]
    best: list[float] = []
    for value in values:
        best.append(value if not best or sign * value > sign * best[-1] else best[-1])
    numbers, of = [row.number for row in done], name_of_metric(result.request.metric)
    return history_chart(numbers, values, best, of=of, write=_writer(result))


def _slices(result: TuneResult, done: list[TrialRow]) -> list[Block]:
    """The trials by each of the settings that mattered most."""
    order = [*result.importance, *(name for name in result.request.space if name not in result.importance)]
    slices: list[Block] = []
    for name in order[:_SLICES]:
        rows = [row for row in done if name in row.settings]
        kind = result.request.space[name]
        if len({label_of(row.settings[name]) for row in rows}) > 1:
            settings = [v if isinstance(v := row.settings[name], (int, float, str)) else label_of(v) for row in rows]
            values = [row.value or 0.0 for row in rows]
            log = isinstance(kind, Range) and kind.log
            slices.append(slice_chart(name, settings, values, log=log, write=_writer(result)))
    return slices


def _cost(result: TuneResult, done: list[TrialRow]) -> list[Block]:
    blocks: list[Block] = []
    if len({row.parameters for row in done}) < 2:  # the same network each time: its latencies differ by chance
        return blocks
    units: dict[str, tuple[str, Callable[[float], str]]] = {
        "parameters": ("parameters", _count),
        "latency": ("latency", lambda value: f"{1e3 * value:.3g} ms"),
    }
    for cost, (words, unit) in units.items():
        known = [row for row in done if getattr(row, cost) is not None]
        if len({getattr(row, cost) for row in known}) < 2:
            continue
        front = front_of(known, cost, result.request.sign)
        blocks.append(
            front_chart(
                [getattr(row, cost) for row in known], [row.value or 0.0 for row in known],
                [(getattr(row, cost), row.value or 0.0) for row in front],
                of=name_of_metric(result.request.metric), cost=words, write=_writer(result), unit=unit,
            )
        )  # fmt: skip
    return blocks


def _count(value: float) -> str:
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k" if value >= 1e3 else f"{value:.0f}"


def _trials(result: TuneResult) -> Section:
    names = list(result.request.space)
    header = ["trial", "end", name_of_metric(result.request.metric), *(name.replace("_", " ") for name in names)]
    rows: list[list[Any]] = []
    for row in result.rows:
        settings = [label_of(row.settings[name]) if name in row.settings else "default" for name in names]
        end = f"{row.end or 'unfinished'}{f': {row.why}' if row.why else ''}"
        rows.append([row.number, end, shown(row.value, result.request.metric), *settings,
                     f"{row.seconds:.1f} s" if row.seconds is not None else ""])  # fmt: skip
    return Section("Trials", [Rows([*header, "time"], rows, caption=ends_in_words(result.rows))])


def _search(result: TuneResult) -> Section:
    request = result.request
    facts: dict[str, object] = {
        "source": request.source or "values given in Python",
        "task": request.task,
        "sampler": request.sampler,
        "pruner": request.pruner,
        "seed": request.seed,
        "time": f"{result.seconds:.0f} s",
    }
    facts |= {name.replace("_", " "): str(kind) for name, kind in request.space.items()}
    facts |= {f"{name.replace('_', ' ')} (for all)": label_of(value) for name, value in request.settings.items()}
    if request.max_parameters is not None:
        facts["parameters at most"] = f"{request.max_parameters:,}"
    if request.max_latency is not None:
        facts["latency at most"] = f"{1e3 * request.max_latency:g} ms"
    return Section("The search", [KeyValues(facts)])
