"""The rows of a comparison: single models, ways to train with several seeds, or with folds; their figures and tests.

Shapes: U units of the test, K counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corecur.comparison.candidates import Candidate
from corecur.comparison.latency import Latency
from corecur.comparison.verdicts import Repeats, Standing, Verdict
from corecur.engine.fold_tests import fold_difference, fold_interval
from corecur.engine.intervals import wilson
from corecur.engine.paired_tests import Difference, figure_interval, holm, mcnemar, paired_difference, verdict
from corecur.engine.repeated_runs import repeated_difference, repeated_interval, seed_spread
from corecur.learners.answer_record import AnswerRecord, Figure

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
# Slices below this many units say nothing that could be relied on.
_LEAST_SLICE = 20
_MOST_SLICES = 200
_THIRDS = ("short", "middle", "long")


@dataclass(frozen=True)
class Folds:
    """Of which fold each unit (U,) of a record is, and how many are tested on for each that is learned from.

    >>> Folds(np.array([0, 0, 1]), 0.5).count
    2
    """

    of: Rows
    ratio: float

    @property
    def count(self) -> int:
        """How many folds there are."""
        return int(self.of.max()) + 1


@dataclass(frozen=True)
class Entry:
    """One row: a model, the runs of one way to train, each with a record, or the folds of one, with one record."""

    name: str
    members: tuple[Candidate, ...]
    records: tuple[AnswerRecord, ...]
    labels: tuple[str, ...] = ()
    folds: Folds | None = None

    def tables(self, figure: Figure, rows: Rows | None = None, part: str | None = None) -> list[Array]:
        """The counts of each record, of all units or of some, of the whole or of a part."""
        found = [record.table(figure, part) for record in self.records]
        return found if rows is None else [table[rows] for table in found]

    def by_fold(self, figure: Figure, rows: Rows | None = None, part: str | None = None) -> list[Array]:
        """The counts of each fold."""
        if self.folds is None:
            return []
        of = self.folds.of if rows is None else self.folds.of[rows]
        (table,) = self.tables(figure, rows, part)
        return [table[of == number] for number in range(self.folds.count)]

    def figures(self, figure: Figure) -> list[float]:
        """The figure of each run, or of each fold."""
        tables = self.tables(figure) if self.folds is None else self.by_fold(figure)
        return [float(figure.score(table.sum(0))) for table in tables]

    def value(self, figure: Figure) -> float:
        """Their mean."""
        return float(np.mean(self.figures(figure)))

    def interval(self, figure: Figure) -> tuple[float, float] | None:
        """The 95 % interval of the mean: what other samples would do, and the seeds or the folds where there are."""
        tables, bounds = self.tables(figure), figure.measure.bounds
        mean = np.mean(tables, axis=0)
        if figure.measure.name == "accuracy":
            found: tuple[float, float] | None = wilson(round(float(mean[:, 0].sum())), len(mean))
        else:
            found = figure_interval(mean, figure.score, block=self.records[0].block, bounds=bounds)
        if self.folds is not None:
            return fold_interval(found, self.figures(figure), ratio=self.folds.ratio, bounds=bounds)
        return repeated_interval(found, tables, figure.score, bounds)

    def standing(self, figures: Sequence[Figure], latency: Latency | None) -> Standing:
        """The row of the table."""
        known = [member.train_seconds for member in self.members if member.train_seconds is not None]
        first, of_folds = self.members[0], self.figures(figures[0])
        return Standing(
            name=self.name,
            runs=tuple(member.name for member in self.members),
            figure=self.value(figures[0]),
            interval=self.interval(figures[0]),
            others=tuple((figure.measure, self.value(figure), self.interval(figure)) for figure in figures[1:]),
            parameters=first.parameters,
            size=first.size,
            train_seconds=float(np.mean(known)) if known else None,
            latency=latency,
            spread=seed_spread(self.tables(figures[0]), figures[0].score)
            if self.folds is None
            else float(np.std(of_folds, ddof=1)),
            repeats="runs" if self.folds is None else "folds",
        )


def repeats_of(entries: Sequence[Entry], figure: Figure) -> Repeats | None:
    """The figures seed by seed, or fold by fold, where all entries have the same ones; None where they have not."""
    labels = {entry.labels for entry in entries}
    if len(labels) != 1 or not entries[0].labels:
        return None
    figures = {entry.name: tuple(entry.figures(figure)) for entry in entries}
    return Repeats("seed" if entries[0].folds is None else "fold", entries[0].labels, figures)


def _difference(a: Entry, b: Entry, figure: Figure, rows: Rows | None = None, part: str | None = None) -> Difference:
    """The paired test that fits: of right and wrong McNemar's, else swaps; with the seeds or the folds on top."""
    one, two = a.tables(figure, rows, part), b.tables(figure, rows, part)
    found = (
        repeated_difference(one, two, figure.score, block=a.records[0].block)
        if len(one) + len(two) > 2
        else _of_units(one[0], two[0], figure, a.records[0].block)
    )
    if a.folds is not None:
        pairs = [
            (float(figure.score(first.sum(0))), float(figure.score(second.sum(0))))
            for first, second in zip(a.by_fold(figure, rows, part), b.by_fold(figure, rows, part), strict=True)
            if len(first)
        ]
        if len(pairs) > 1:
            found = fold_difference(found, *zip(*pairs, strict=True), ratio=a.folds.ratio)
    if not figure.measure.percent:
        return found
    return dataclasses.replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))


def _of_units(one: Array, two: Array, figure: Figure, block: int) -> Difference:
    if figure.measure.name == "accuracy":
        return mcnemar(one[:, 0] > 0, two[:, 0] > 0)
    return paired_difference(one, two, figure.score, block=block)


def verdicts_on(asked: Sequence[tuple[Entry, Entry, Rows | str | None, str]], figure: Figure) -> tuple[Verdict, ...]:
    """A verdict each, p corrected for all of them: of two entries, on all units, some rows or a part, and its title."""
    tested = []
    for a, b, where, _ in asked:
        rows, part = (None, where) if isinstance(where, str) else (where, None)
        tested.append(_difference(a, b, figure, rows, part))
    corrected = holm([found.p for found in tested])
    return tuple(
        Verdict(
            a=a.name, b=b.name, difference=found, corrected=p, title=title,
            words=verdict(
                found, (a.name, b.name), figure.measure, corrected=p, pairs=len(asked), noun=a.records[0].noun
            ),
        )
        for (a, b, _, title), found, p in zip(asked, tested, corrected, strict=True)
    )  # fmt: skip


def slices_of(a: Entry, b: Entry, figure: Figure) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
    """The two best on parts of the test: by class, by size, by column; and the slices that hold too few samples."""
    record = a.records[0]
    rows: list[tuple[str, Rows]] = []
    if record.kind == "classes":
        truth = np.array(record.truth, dtype=object)
        labels = [label for label in record.labels if (truth == label).any()]
        rows += [(f"class {label}", np.flatnonzero(truth == label)) for label in labels]
    rows += _by_size(record)
    parts = [name for name in record.parts if all(name in each.parts for e in (a, b) for each in e.records)]
    small = [f"{name} ({len(index):,})" for name, index in rows if len(index) < _LEAST_SLICE]
    asked: list[tuple[Entry, Entry, Rows | str | None, str]] = [
        (a, b, index, f"{name} ({len(index):,})") for name, index in rows if len(index) >= _LEAST_SLICE
    ]
    for name in parts:
        holding = int(record.table(figure, name)[:, [count != "units" for count in figure.counts]].any(1).sum())
        if holding < _LEAST_SLICE:
            small.append(f"{name} ({holding:,})")
        else:
            asked.append((a, b, name, f"{name} ({holding:,})"))
    return verdicts_on(asked[:_MOST_SLICES], figure), tuple(small)


def _by_size(record: AnswerRecord) -> list[tuple[str, Rows]]:
    """The shortest third of the samples, the middle and the longest, where they differ in length."""
    if not record.sizes or len(record) < 3 * _LEAST_SLICE:
        return []
    sizes = np.array(record.sizes)
    low, high = np.quantile(sizes, [1 / 3, 2 / 3])
    masks = (sizes <= low, (sizes > low) & (sizes <= high), sizes > high)
    if not all(mask.any() for mask in masks):
        return []
    unit = "steps" if record.task == "series-classification" else "words"
    return [
        (f"{name}, {int(sizes[mask].min()):,} to {int(sizes[mask].max()):,} {unit}", np.flatnonzero(mask))
        for name, mask in zip(_THIRDS, masks, strict=True)
    ]
