"""What a comparison comes to: a row for each model, a verdict for each pair and part, samples that tell apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corecur.comparison.latency import Latency
from corecur.engine.paired_tests import ALPHA, Difference, Measure
from corecur.engine.progress import clock
from corecur.learners.outcome import Listing

_MOST_TOLD = 1000


@dataclass(frozen=True)
class Standing:
    """One model, or one way to train with several seeds or folds: figures with their 95 % intervals, and what it costs.

    ``figure`` is the one that counts; of several ``runs`` it is the mean, ``spread`` the standard deviation over what
    ``repeats`` names: runs that differ in their seed, or folds.

    >>> row = Standing("gru", ("gru",), 0.9, (0.8, 0.95), (), 1000, 4096, 12.0, None)
    >>> cost(row), seeds_in_words(row, Measure("accuracy"))
    (('1,000', '4 kB', '12 s', 'not measured', ''), 'one run')
    """

    name: str
    runs: tuple[str, ...]
    figure: float
    interval: tuple[float, float] | None
    others: tuple[tuple[Measure, float, tuple[float, float] | None], ...]
    parameters: int
    size: int
    train_seconds: float | None
    latency: Latency | None
    spread: float | None = None
    repeats: str = "runs"

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        latency = None if self.latency is None else {
            "p50": self.latency.p50, "p95": self.latency.p95, "calls": self.latency.calls,
        }  # fmt: skip
        return {
            "name": self.name, "runs": list(self.runs), "figure": _finite(self.figure),
            "interval": None if self.interval is None else list(self.interval),
            f"spread_over_{'seeds' if self.repeats == 'runs' else self.repeats}": self.spread,
            "others": {m.name: {"figure": _finite(f), "interval": i and list(i)} for m, f, i in self.others},
            "parameters": self.parameters, "bytes": self.size, "train_seconds": self.train_seconds,
            "latency_seconds": latency,
        }  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """Two models against each other, in words too; ``corrected`` is p after a correction for all tests beside it.

    >>> from corecur.engine.paired_tests import mcnemar
    >>> Verdict("a", "b", mcnemar([True], [True]), 1.0, "no difference shown").is_shown
    False
    """

    a: str
    b: str
    difference: Difference
    corrected: float
    words: str
    title: str = ""

    @property
    def is_shown(self) -> bool:
        """Whether a difference is shown."""
        return self.corrected <= ALPHA

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values."""
        found = {"a_name": self.a, "b_name": self.b, **self.difference.as_json(), "p_corrected": self.corrected}
        title = {"title": self.title} if self.title else {}
        return title | found | {"different": self.is_shown, "verdict": self.words}


@dataclass(frozen=True)
class Apart:
    """A sample on which the models differ: its name, the truth, and what each of them made of it.

    >>> Apart(0, "a.png", "cat", ("cat", "dog")).answers
    ('cat', 'dog')
    """

    place: int
    name: str
    truth: str
    answers: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True)
class Repeats:
    """The figure of each training where all models were trained with the same seeds, or on the same folds.

    ``figures`` holds those of each model by its name, in the order of the ``labels``.

    >>> found = Repeats("seed", ("seed 1", "seed 2"), {"gru": (0.9, 0.8), "lstm": (0.7, 0.75)})
    >>> found.listing(Measure("accuracy"))[1]
    [('seed 1', '90.0 %', '70.0 %', '+20.0'), ('seed 2', '80.0 %', '75.0 %', '+5.0')]
    """

    kind: str
    labels: tuple[str, ...]
    figures: dict[str, tuple[float, ...]]

    @property
    def gaps(self) -> tuple[float, ...]:
        """Of two models the figure of the first less that of the second, training by training; else nothing."""
        if len(self.figures) != 2:
            return ()
        one, two = self.figures.values()
        return tuple(a - b for a, b in zip(one, two, strict=True))

    def listing(self, measure: Measure, names: Sequence[str] = ()) -> Listing:
        """A table for people; ``names`` stand for those of the models."""
        unit = " in points" if measure.percent else ""
        scale, places = (100, 1) if measure.percent else (1, 3)
        header = (self.kind, *(names or self.figures), *((f"difference{unit}",) if self.gaps else ()))
        rows = []
        for place, label in enumerate(self.labels):
            gap = f"{scale * self.gaps[place]:+.{places}f}".replace("-", "−") if self.gaps else ""
            shown = tuple(measure.show(values[place]) for values in self.figures.values())
            rows.append((label, *shown, *((gap,) if gap else ())))
        return header, rows, ""

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values."""
        figures = {name: [_finite(value) for value in values] for name, values in self.figures.items()}
        found = {"kind": self.kind, "labels": list(self.labels), "figures": figures}
        return found | ({"differences": [_finite(gap) for gap in self.gaps]} if self.gaps else {})


@dataclass(frozen=True)
class Comparison:
    """What came of comparing models, the best first; ``basis`` says in words on what."""

    task: str
    measure: Measure
    samples: int
    noun: str
    standings: tuple[Standing, ...]
    verdicts: tuple[Verdict, ...]
    slices: tuple[Verdict, ...]
    too_small: tuple[str, ...]
    apart: tuple[Apart, ...]
    apart_count: int
    apart_words: str
    columns: tuple[str, ...]
    findings: tuple[str, ...]
    threads: int
    page: Path | None = None
    pictures: dict[int, str] = field(default_factory=dict, repr=False)
    repeats: Repeats | None = None

    @property
    def basis(self) -> str:
        """What all figures are of."""
        if self.repeats is not None and self.repeats.kind == "fold":
            return f"{self.samples:,} held-out {self.noun} of {len(self.repeats.labels)} folds"
        several = f", {len(self.repeats.labels)} seeds" if self.repeats is not None else ""
        return f"{self.samples:,} test {self.noun} in common{several}"

    def sentence(self, short: Mapping[str, str] | None = None) -> str:
        """The result in words: the verdict of two models; of more, what is shown about the best.

        ``short`` are other names for those that are not the best.
        """
        if len(self.standings) == 2:
            return self.verdicts[0].words
        best = self.standings[0]
        own = [verdict for verdict in self.verdicts if best.name in (verdict.a, verdict.b)]
        worse = [v.b if v.a == best.name else v.a for v in own if v.is_shown]
        alike = [v.b if v.a == best.name else v.a for v in own if not v.is_shown]
        words = f"{best.name} has the best {self.measure.name}, {self.measure.show(best.figure)}"
        others = "both others" if len(own) == 2 else f"all {len(own)} others"
        named = [[(short or {}).get(name, name) for name in names] for names in (worse, alike)]
        words += f"; it is better than {others if not alike else ', '.join(named[0])}" if worse else ""
        return words + (f"; no difference shown from {others if not worse else ', '.join(named[1])}" if alike else "")

    def listing(self) -> Listing:
        """The models as a table for people."""
        measure, several = self.measure, any(standing.spread is not None for standing in self.standings)
        kind = "folds" if self.standings[0].repeats == "folds" else "seeds"
        header = ("model", measure.name, "95 % interval", *((f"over {kind}",) if several else ()))
        rows = []
        for row in self.standings:
            seeds = (seeds_in_words(row, measure),) if several else ()
            rows.append(
                (row.name, measure.show(row.figure), interval_in_words(row.interval, measure), *seeds, *cost(row))
            )
        if all(row.latency is None for row in self.standings):
            return (*header, "parameters", "size", "training"), [row[:-2] for row in rows], ""
        return (*header, "parameters", "size", "training", "latency p50", "p95"), rows, ""

    def as_json(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "task": self.task, "measure": self.measure.name, "higher_is_better": self.measure.higher_is_better,
            "samples": self.samples, "unit": self.noun, "verdict": self.sentence(),
            "models": [row.as_json() for row in self.standings], "pairs": [v.as_json() for v in self.verdicts],
            "slices": [v.as_json() for v in self.slices], "slices_too_small": list(self.too_small),
            "differing": self.apart_count,
            "differing_samples": [
                {"name": one.name, "truth": one.truth, "answers": dict(zip(self.columns, one.answers, strict=True))}
                for one in self.apart[:_MOST_TOLD]
            ],
            "repeats": None if self.repeats is None else self.repeats.as_json(),
            "threads": self.threads, "findings": list(self.findings),
            "page": None if self.page is None else str(self.page),
        }  # fmt: skip


def interval_in_words(interval: tuple[float, float] | None, measure: Measure) -> str:
    """Both ends of an interval.

    >>> interval_in_words((0.9, 0.95), Measure("accuracy")), interval_in_words(None, Measure("accuracy"))
    ('90.0 % to 95.0 %', 'too few samples')
    """
    if interval is None or not all(map(math.isfinite, interval)):
        return "too few samples"
    return " to ".join(measure.show(end) for end in interval)


def seeds_in_words(row: Standing, measure: Measure) -> str:
    """How far the runs of one way to train lie apart, or its folds.

    >>> row = Standing("gru", ("gru", "gru-1"), 0.9, None, (), 1000, 4096, None, None, spread=0.01)
    >>> seeds_in_words(row, Measure("accuracy"))
    '± 1.0 points, 2 runs'
    """
    if row.spread is None:
        return "one run"
    shown = f"{100 * row.spread:.1f} points" if measure.percent else f"{row.spread:.3f}"
    return f"± {shown}, {len(row.runs)} {row.repeats}"


def cost(row: Standing) -> tuple[str, str, str, str, str]:
    """Parameters, size, training time and latency of a model, in words.

    >>> cost(Standing("gru", ("gru",), 0.9, None, (), 1000, 2_500_000, None, Latency(0.002, 0.02, 20)))
    ('1,000', '2.5 MB', 'not known', '2.00 ms', '20.0 ms')
    """
    latency = (
        ("not measured", "") if row.latency is None else tuple(map(_short_time, (row.latency.p50, row.latency.p95)))
    )
    training = "not known" if row.train_seconds is None else clock(row.train_seconds)
    return f"{row.parameters:,}", _bytes(row.size), training, latency[0], latency[1]


def _short_time(seconds: float) -> str:
    return f"{1000 * seconds:.{2 if seconds < 0.01 else 1}f} ms"


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def names_in_words(names: Sequence[str], most: int = 12) -> str:
    """Some names, and how many more there are.

    >>> names_in_words(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")
