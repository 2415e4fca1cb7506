"""What a comparison comes to: a row for each model, a verdict for each pair and part, samples that tell apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """One model, or one way to train with several seeds: its figures with their 95 % intervals, and what it costs.

    ``figure`` is the one that counts; of several ``runs`` it is the mean, ``spread`` the standard deviation over seeds.
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

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        latency = None if self.latency is None else {
            "p50": self.latency.p50, "p95": self.latency.p95, "calls": self.latency.calls,
        }  # fmt: skip
        return {
            "name": self.name, "runs": list(self.runs), "figure": _finite(self.figure),
            "interval": None if self.interval is None else list(self.interval), "spread_over_seeds": self.spread,
            "others": {m.name: {"figure": _finite(f), "interval": i and list(i)} for m, f, i in self.others},
            "parameters": self.parameters, "bytes": self.size, "train_seconds": self.train_seconds,
            "latency_seconds": latency,
        }  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """Two models against each other, in words too; ``corrected`` is p after a correction for all tests beside it."""

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
    """A sample on which the models differ: its name, the truth, and what each of them made of it."""

    place: int
    name: str
    truth: str
    answers: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True)
class Comparison:
    """What came of comparing models, the best first."""

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

    def sentence(self) -> str:
        """The result in words: the verdict of two models; of more, what is shown about the best."""
        if len(self.standings) == 2:
            return self.verdicts[0].words
        best = self.standings[0]
        own = [verdict for verdict in self.verdicts if best.name in (verdict.a, verdict.b)]
        worse = [v.b if v.a == best.name else v.a for v in own if v.is_shown]
        alike = [v.b if v.a == best.name else v.a for v in own if not v.is_shown]
        words = f"{best.name} has the best {self.measure.name}, {self.measure.show(best.figure)}"
        words += f"; it is better than {', '.join(worse)}" if worse else ""
        return words + (f"; no difference shown from {', '.join(alike)}" if alike else "")

    def listing(self) -> Listing:
        """The models as a table for people."""
        measure, several = self.measure, any(standing.spread is not None for standing in self.standings)
        header = ("model", measure.name, "95 % interval", *(("over seeds",) if several else ()))
        rows = []
        for row in self.standings:
            seeds = (seeds_in_words(row, measure),) if several else ()
            rows.append(
                (row.name, measure.show(row.figure), interval_in_words(row.interval, measure), *seeds, *cost(row))
            )
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
    """How far the runs of one way to train lie apart."""
    if row.spread is None:
        return "one run"
    shown = f"{100 * row.spread:.1f} points" if measure.percent else f"{row.spread:.3f}"
    return f"± {shown}, {len(row.runs)} runs"


def cost(row: Standing) -> tuple[str, str, str, str, str]:
    """Parameters, size, training time and latency of a model, in words."""
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
