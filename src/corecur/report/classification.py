"""The report of a classifier: from what a run knows to one page.

Shapes: N samples, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.report.charts import (
    ClassScore,
    class_bars,
    confusion,
    find_best_epoch,
    learning_curves,
    percent,
)
from corecur.report.page import (
    Block,
    Code,
    Columns,
    Figure,
    Finding,
    Fold,
    Gallery,
    KeyValues,
    Picture,
    Rows,
    Section,
    Text,
    write_page,
)
from corecur.report.reliability import Reliability, calibration_section
from corecur.report.svg import shorten
from corecur.report.thumbnails import data_uri, filter_grid, map_grid

Array = NDArray[Any]
MOST_MISTAKES = 24
MOST_SAMPLE_CLASSES = 20
MOST_SAMPLES_PER_CLASS = 6
MOST_CONFUSIONS = 10
LONGEST_TILE = 16  # characters; a longer value stands in a list


@dataclass(frozen=True)
class Mistake:
    """A sample that was taken for another class: its picture (H, W, C) uint8 and how sure the network was."""

    image: Array
    name: str
    truth: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Activation:
    """What one layer answers to one image: the image (H, W, C) uint8 and the layer's maps (N, h, w)."""

    title: str
    image: Array
    maps: Array


@dataclass(frozen=True)
class ClassificationReport:
    """Everything the report of a classifier can show; what a run does not have stays at its default.

    ``history`` holds one mapping per epoch (epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds,
    waiting: the share of time spent waiting for data). ``test`` holds accuracy, low, high (the ends of its 95 %
    interval) and samples. ``confusion`` is (K, K) with the truth in rows. ``class_counts`` is split → class → samples.
    ``evidence`` are sections in place of those of pictures (mistakes, samples, filters) where samples are no pictures.
    ``filters`` is (N, H, W, C). ``reliability`` says how far the probabilities of the test answers can be believed.
    ``best_epoch`` is the epoch whose weights were kept, where the run knows it.
    """

    title: str
    command: str = ""
    when: str = ""
    verdict: str = ""
    summary: Mapping[str, str] = field(default_factory=dict)
    next_commands: Sequence[str] = ()
    history: Sequence[Mapping[str, float]] = ()
    best_epoch: float | None = None
    test: Mapping[str, float] | None = None
    per_class: Sequence[ClassScore] = ()
    classes: Sequence[str] = ()
    confusion: Array | None = None
    reliability: Reliability | None = None
    mistakes: Sequence[Mistake] = ()
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    sample_images: Mapping[str, Sequence[Array]] = field(default_factory=dict)
    filters: Array | None = None
    activations: Sequence[Activation] = ()
    network_summary: str = ""
    config: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    evidence: Sequence[Section] = ()


def write_classification_report(path: str | os.PathLike[str], report: ClassificationReport) -> Path:
    """Write the report as one HTML file and return its path. Raises RunError where it cannot be written."""
    return write_page(path, report.title, report.when, classification_sections(report))


def classification_sections(report: ClassificationReport) -> list[Section]:
    """The sections of the page in reading order: the answer first, the evidence after it, the settings last.

    >>> [section.title for section in classification_sections(ClassificationReport("digits"))][:3]
    ['Result', 'Curves', 'Confusion']
    """
    return [
        _result(report),
        _curves(report),
        _confusion(report),
        _per_class(report),
        calibration_section(report.reliability),
        *(report.evidence or (_mistakes(report), _samples(report), _first_layers(report))),
        Section(
            "Network", [Code(report.network_summary)] if report.network_summary else [Text("No summary was kept.")]
        ),
        Section("Configuration", [_pairs(flat_config(report.config), "No configuration was kept.")]),
        Section("Environment", [_pairs(report.environment, "Nothing was noted about machine and versions.")]),
        _commands(report),
    ]


def largest_confusions(matrix: Array, classes: Sequence[str], *, most: int = MOST_CONFUSIONS) -> list[str]:
    """The most frequent confusions in words, from a count matrix (K, K) with the truth in rows.

    >>> largest_confusions(np.array([[9, 1], [0, 8]]), ["7", "1"])
    ['7 was taken for 1: once (of 10)']
    """
    matrix = np.asarray(matrix)
    errors = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-errors, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(matrix)) for place in order]
    return [
        f"{classes[i]} was taken for {classes[j]}: {_times(int(errors[i, j]))} (of {int(matrix[i].sum())})"
        for i, j in pairs
        if errors[i, j] > 0
    ]


def flat_config(config: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings as one level of dotted names.

    >>> flat_config({"seed": 1, "optimizer": {"name": "sgd", "betas": [0.9, 0.99]}})
    {'seed': 1, 'optimizer.name': 'sgd', 'optimizer.betas': '0.9, 0.99'}
    """
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flat_config(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            flat[f"{prefix}{key}"] = ", ".join(map(str, value)) or "none"
        else:
            flat[f"{prefix}{key}"] = "none" if value is None or value == {} else value
    return flat


def _result(report: ClassificationReport) -> Section:
    tiles: dict[str, object] = {}
    blocks: list[Block] = []
    if report.test:
        samples = int(report.test.get("samples", 0))
        decimals = 1 if samples < 2000 else 2
        accuracy, low, high = (report.test.get(key, float("nan")) for key in ("accuracy", "low", "high"))
        tiles["Test accuracy"] = percent(accuracy, decimals)
        if np.isfinite([low, high]).all():
            tiles["95 % interval"] = f"{100 * low:.{decimals}f}–{percent(high, decimals)}"
        tiles["Test samples"] = f"{samples:,}"
    known = {name.casefold() for name in tiles}
    tiles |= {key: value for key, value in report.summary.items() if key.casefold() not in known}
    if report.verdict:
        blocks.append(Text(report.verdict, lead=True))
    short = {key: value for key, value in tiles.items() if len(str(value)) <= LONGEST_TILE}
    blocks += [KeyValues(short, tiles=True)] if short else []
    if not report.test:
        blocks.append(
            Finding(
                "No test set",
                "Nothing here was measured on data that played no part in training.",
                "give a test set with --test, or compare validation figures with care",
                "warning",
            )
        )
    long = {key: value for key, value in tiles.items() if key not in short}
    return Section("Result", [*blocks, *report.findings, *([KeyValues(long)] if long else [])])


def _curves(report: ClassificationReport) -> Section:
    figures = learning_curves(report.history, best_epoch=report.best_epoch)
    if not figures:
        return Section("Curves", [Text("No training history was kept.")])
    notes = []
    if len(report.history) == 1:
        notes.append("One epoch only: points instead of curves.")
    else:
        notes.append(f"{len(report.history)} epochs.")
    best = find_best_epoch(report.history) if report.best_epoch is None else report.best_epoch
    if best is not None:
        notes.append(f"The best by validation is epoch {best:g}.")
    blocks: list[Block] = [Columns(figures), Fold("The figures of every epoch", [_history_table(report.history)])]
    return Section("Curves", blocks, note=" ".join(notes) or None)


def _history_table(history: Sequence[Mapping[str, float]]) -> Rows:
    keys = list(dict.fromkeys(key for row in history for key in row))
    header = [key.replace("_", " ") for key in keys]
    return Rows(header, [[f"{row[key]:.5g}" if key in row else "" for key in keys] for row in history], fold_after=200)


def _confusion(report: ClassificationReport) -> Section:
    if report.confusion is None or not len(report.classes):
        return Section("Confusion", [Text("There is no test set to count confusions on.")])
    blocks: list[Block] = [confusion(report.confusion, report.classes)]
    words = largest_confusions(report.confusion, report.classes)
    if words:
        blocks.append(Rows(["The most frequent confusions"], [[word] for word in words]))
    else:
        blocks.append(Text("Not one sample was taken for another class."))
    return Section("Confusion", [Columns(blocks)])


def _per_class(report: ClassificationReport) -> Section:
    rows = [ClassScore(*row) for row in report.per_class]
    if not rows:
        return Section("Per class", [Text("There is no test set to score the classes on.")])
    many = len(rows) > 25
    if many:
        rows.sort(key=lambda row: (row.f1 if np.isfinite(row.f1) else 1.0, row.name))
    table = Rows(
        ["class", "precision", "recall", "F1", "samples"],
        [[row.name, *(percent(share).removesuffix(" %") for share in row[1:4]), row.support] for row in rows],
    )
    note = "In percent. Precision: how many of its answers are right; recall: how many of the class were found."
    return Section(
        "Per class", [Columns([table, class_bars(rows)])], note=note + (" The weakest classes first." if many else "")
    )


def _mistakes(report: ClassificationReport) -> Section:
    if not report.mistakes:
        words = "No mistakes on the test set." if report.test else "There is no test set to make mistakes on."
        return Section("Worst mistakes", [Text(words)])
    shown = report.mistakes[:MOST_MISTAKES]
    tiles = [
        Picture(
            data_uri(mistake.image, smallest=96),
            alt=f"{mistake.truth}, taken for {mistake.predicted}",
            caption=f"{shorten(mistake.truth, 28)} → {shorten(mistake.predicted, 28)}",
            detail=f"{percent(mistake.probability)} sure · {mistake.name}",
        )
        for mistake in shown
    ]
    return Section("Worst mistakes", [Gallery(tiles)], note="Truth → answer, the surest wrong answers first.")


def _samples(report: ClassificationReport) -> Section:
    blocks: list[Block] = []
    splits = list(report.class_counts)
    if splits:
        names = list(
            dict.fromkeys([*report.classes, *(name for split in splits for name in report.class_counts[split])])
        )
        counts = [[name, *(report.class_counts[split].get(name, 0) for split in splits)] for name in names]
        totals = ["all", *(sum(report.class_counts[split].values()) for split in splits)]
        blocks.append(Rows(["class", *splits], [totals, *counts], caption="Samples per class and split"))
    tiles = [
        Picture(
            tuple(data_uri(image, smallest=44, largest=64) for image in images[:MOST_SAMPLES_PER_CLASS]),
            alt=name,
            caption=name,
        )
        for name, images in list(report.sample_images.items())[:MOST_SAMPLE_CLASSES]
        if len(images)
    ]
    if tiles:
        blocks.append(Gallery(tiles, wide=True))
    left_out = len(report.sample_images) - MOST_SAMPLE_CLASSES
    note = (
        f"Pictures of the first {MOST_SAMPLE_CLASSES} classes; {left_out} more are not shown." if left_out > 0 else None
    )
    return Section("Samples", blocks or [Text("No samples were kept.")], note=note)


def _first_layers(report: ClassificationReport) -> Section:
    blocks: list[Block] = []
    if report.filters is not None and len(report.filters):
        count, height, width, channels = report.filters.shape
        colours = "in their colours" if channels == 3 else "blue below zero, white at zero, red above"
        blocks.append(
            Figure(
                filter_grid(report.filters),
                alt=f"{count} filters of the first convolution",
                title=f"Filters of the first convolution, {height} × {width}",
                caption=f"{_shown(count, 'filters')}, {colours}; each on a scale of its own.",
            )
        )
    for seen in report.activations:
        blocks.append(
            Figure(
                map_grid(seen.maps),
                alt=f"Maps of {seen.title}",
                title=seen.title,
                beside=data_uri(seen.image, smallest=96),
                caption=f"The image and {_shown(len(seen.maps), 'maps')}: dark is the least of each, yellow the most.",
            )
        )
    title = "What the first layers see"
    return Section(title, blocks or [Text("The network has no convolution whose filters could be shown.")])


def _commands(report: ClassificationReport) -> Section:
    blocks: list[Block] = [
        Code(report.command, command=True) if report.command else Text("The run was started from Python.")
    ]
    if report.next_commands:
        blocks += [Text("What to try next:"), *(Code(command, command=True) for command in report.next_commands)]
    note = "The command that made this run. A click selects it whole."
    return Section("Commands", blocks, note=note if report.command else None)


def _pairs(values: Mapping[str, object], otherwise: str) -> Block:
    return KeyValues(values) if values else Text(otherwise)


def _shown(count: int, what: str, most: int = 64) -> str:
    return f"{count} {what}" if count <= most else f"{most} of {count} {what}"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")
