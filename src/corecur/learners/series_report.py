"""The report of a training on series, gathered from the run.

N samples, T time, C channels, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corecur.data.series.series_set import SeriesSet, SeriesSource
from corecur.engine.progress import clock
from corecur.learners.evaluation import Evaluation
from corecur.learners.fit_result import FitResult
from corecur.learners.learner import name_of
from corecur.report.charts import percent
from corecur.report.classification import ClassificationReport, classification_sections
from corecur.report.line_charts import MOST_CHANNELS, line_chart
from corecur.report.page import Block, Columns, Figure, Finding, Gallery, Picture, Rows, Section, Text
from corecur.report.svg import shorten
from corecur.summary import summarize

if TYPE_CHECKING:
    from corecur.learners.series_classifier import SeriesClassifier

_MOST_MISTAKES = 18
_MOST_CLASSES = 12
_SERIES_PER_CLASS = 4
_MOST_MAPS = 12


def sections(
    learner: SeriesClassifier, data: SeriesSource, result: FitResult, *, config: Mapping[str, Any]
) -> list[Section]:
    """The sections of the report."""
    return classification_sections(build_report(learner, data, result, config=config))


def build_report(
    learner: SeriesClassifier, data: SeriesSource, result: FitResult, *, config: Mapping[str, Any]
) -> ClassificationReport:
    """Everything the page shows, gathered from the run."""
    test: Evaluation | None = result.test
    history = [{"epoch": float(n + 1)} | {k: float(v) for k, v in row.items()} for n, row in enumerate(result.history)]
    return ClassificationReport(
        title=f"{name_of(data.origin)}: series classification",
        command=config["command"],
        when=time.strftime("%Y-%m-%d %H:%M"),
        verdict="" if test is None else test.sentence()[0].upper() + test.sentence()[1:] + ".",
        summary=_summary(learner, data, result),
        next_commands=result.next_commands,
        history=history,
        test=None if test is None else _figures(test),
        per_class=() if test is None else test.per_class,
        classes=data.classes,
        confusion=None if test is None else test.confusion,
        reliability=None if test is None else test.reliability(result.calibration),
        network_summary=summarize(learner.network),
        config={name: config[name] for name in ("source", "seed", "recipe")},
        environment=config["environment"],
        findings=[Finding.of(found) for found in result.findings],
        evidence=[_mistakes(test, data), _maps(learner, data), _samples(data)],
    )


def _figures(test: Evaluation) -> dict[str, float]:
    low, high = test.interval
    return {"accuracy": test.accuracy, "low": low, "high": high, "samples": float(test.samples)}


def _summary(learner: SeriesClassifier, data: SeriesSource, result: FitResult) -> dict[str, str]:
    recipe = learner.recipe
    return {
        "Classes": f"{len(data.classes)}",
        "Series": f"{_steps(data.train)} × {data.train.values.shape[2]}",
        "Training samples": f"{len(data.train):,}",
        "Network": "" if recipe is None else recipe.model + (f", {recipe.members} each" if recipe.members > 1 else ""),
        "Parameters": f"{learner.network.count_params():,}",
        "Epochs": f"{len(result.history)}" + (f" of {result.planned_epochs}" if result.stopped_early else ""),
        "Training time": clock(result.train_seconds),
        "Time in all": clock(result.seconds),
    }


def _steps(series: SeriesSet) -> str:
    least, most = int(series.lengths.min()), int(series.lengths.max())
    return f"{least}" if least == most else f"{least}–{most}"


def series_counts(data: SeriesSource) -> dict[str, dict[str, int]]:
    """How many series of each class each split has."""
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    counts = {}
    for name, split in splits.items():
        if split is not None and split.labels is not None:
            found = torch.bincount(split.labels, minlength=len(data.classes)).tolist()
            counts[name] = dict(zip(data.classes, found, strict=True))
    return counts


def _mistakes(test: Evaluation | None, data: SeriesSource) -> Section:
    if test is None or data.test is None:
        return Section("Worst mistakes", [Text("There is no test set to make mistakes on.")])
    sure, answers = test.probabilities.max(1)
    wrong = (answers != test.labels).nonzero()[:, 0]
    worst = wrong[sure[wrong].argsort(descending=True)][:_MOST_MISTAKES].tolist()
    if not worst:
        return Section("Worst mistakes", [Text("No mistakes on the test set.")])
    tiles, longest = [], int(data.test.lengths[worst].max())
    for place in worst:
        truth, answer = data.classes[int(test.labels[place])], data.classes[int(answers[place])]
        tiles.append(
            Picture(
                _drawing(data.test, place, data, longest=longest),
                alt=f"{truth}, taken for {answer}",
                caption=f"{shorten(truth, 28)} → {shorten(answer, 28)}",
                detail=f"{percent(float(sure[place]))} sure · {data.test.names[place]}",
            )
        )
    return Section("Worst mistakes", [Gallery(tiles)], note="Truth → answer, the surest wrong answers first.")


def _maps(learner: SeriesClassifier, data: SeriesSource) -> Section:
    """A series of each class with the steps that spoke for the answer in colour."""
    title, series = "What speaks for the answers", data.train if data.test is None else data.test
    rows = _first_of_each(series, len(data.classes), each=1)[:_MOST_MAPS]
    chosen = series.take(torch.tensor(rows, dtype=torch.int64))
    maps = learner.activation(chosen)
    if maps is None:
        words = "Only networks that end in a mean over time can tell (fcn, inception, resnet)."
        return Section(title, [Text(words)])
    probabilities, longest = learner.probabilities(chosen), int(chosen.lengths.max())
    figures: list[Block] = []
    for place, speaks in enumerate(maps):
        answer = int(probabilities[place].argmax())
        sure = percent(float(probabilities[place, answer]))
        truth = "" if chosen.labels is None else data.classes[int(chosen.labels[place])]
        right = "rightly" if truth == data.classes[answer] else f"wrongly, it is {shorten(truth, 28)}"
        words = f"Taken for {shorten(data.classes[answer], 28)} ({right}), {sure} sure."
        drawing = _drawing(chosen, place, data, longest=longest, speaks=speaks[:, answer], size=(440.0, 110.0))
        figures.append(Figure(drawing, alt=words, caption=f"{words} {chosen.names[place]}"))
    note = (
        "Blue: these steps speak for the answer; orange: against it. The logit of a class is the mean over time of "
        "what is drawn (Zhou et al. 2016); each step also sees its neighbours."
    )
    return Section(title, [Columns(figures)], note=note)


def _samples(data: SeriesSource) -> Section:
    counts = series_counts(data)
    table = [[name, *(counts[split][name] for split in counts)] for name in data.classes]
    totals = ["all", *(sum(counts[split].values()) for split in counts)]
    blocks: list[Block] = [Rows(["class", *counts], [totals, *table], caption="Series per class and split")]
    rows = _first_of_each(data.train, min(len(data.classes), _MOST_CLASSES), each=_SERIES_PER_CLASS)
    lengths = data.train.lengths[rows].tolist()
    tiles = []
    for row, steps in zip(rows, lengths, strict=True):
        name = "" if data.train.labels is None else shorten(data.classes[int(data.train.labels[row])], 28)
        drawing = _drawing(data.train, row, data, longest=max(lengths))
        tiles.append(Picture(drawing, alt=name, caption=name, detail=f"{steps:,} steps"))
    notes = [f"The first {_SERIES_PER_CLASS} training series of each class."]
    if len(data.classes) > _MOST_CLASSES:
        notes.append(f"Of the first {_MOST_CLASSES} classes.")
    if data.train.values.shape[2] > MOST_CHANNELS:
        notes.append(f"The first {MOST_CHANNELS} of {data.train.values.shape[2]} channels.")
    return Section("Samples", [*blocks, Gallery(tiles)], note=" ".join(notes))


def _first_of_each(series: SeriesSet, classes: int, *, each: int) -> list[int]:
    """The places of the first series of each class; of the set where it has no labels."""
    if series.labels is None:
        return list(range(min(len(series), classes)))
    return [row for k in range(classes) for row in (series.labels == k).nonzero()[:each, 0].tolist()]


def _drawing(
    series: SeriesSet,
    place: int,
    data: SeriesSource,
    *,
    longest: int,
    speaks: Tensor | None = None,
    size: tuple[float, float] = (200.0, 72.0),
) -> str:
    steps = int(series.lengths[place])
    return line_chart(
        series.values[place, :steps].numpy(),
        longest=longest,
        limits=_limits(data.train),
        speaks=None if speaks is None else speaks.numpy(),
        channels=() if speaks is None else data.preparation.channels,
        size=size,
    )


def _limits(series: SeriesSet) -> Any:
    """The least and the greatest value of each channel, (C, 2): one scale for all drawings."""
    real = series.values.flatten(0, 1) if series.mask is None else series.values[series.mask]  # (steps, C)
    return torch.stack([real.amin(0), real.amax(0)], dim=1).numpy()
