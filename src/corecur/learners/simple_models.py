"""The simple models beside a network's result: made from the same training split, tested on the same test split.

N samples, U units that are independent of each other, K counts, D features.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from corecur.engine.paired_tests import Difference, Measure, Score, mcnemar, paired_difference
from corecur.errors import ConfigError
from corecur.finding import Finding
from corecur.report.page import Block, Rows, Section
from corecur.report.page import Finding as ShownFinding

Array = NDArray[Any]
Kind = Literal["auto", "none", "majority", "linear", "all"]
KINDS: tuple[Kind, ...] = ("auto", "none", "majority", "linear", "all")

# A baseline that nobody asked for may take so long: seconds, or this share of the training.
_FREE_SECONDS, _FREE_SHARE = 2.0, 0.05


@dataclass(frozen=True)
class Way:
    """One simple model: its name, about how many seconds it takes, and what makes its results on the test split."""

    name: str
    kind: Literal["majority", "linear"]
    seconds: float
    results: Callable[[], Array]


@dataclass(frozen=True)
class Contest:
    """What simple models are set against: the network's results on the test split, (N,) right or wrong, or a table.

    Without a ``score`` the results are right answers, or values whose mean counts; with one, counts (U, K) that it
    turns into the figure.
    """

    results: Array
    ways: Sequence[Way]
    measure: Measure = field(default_factory=lambda: Measure("accuracy"))
    score: Score | None = None
    block: int = 1
    samples: int | None = None


@dataclass(frozen=True)
class Baseline:
    """A simple model's result beside the network's, whose figure is ``difference.a``."""

    name: str
    difference: Difference
    measure: Measure
    seconds: float

    @property
    def gain(self) -> tuple[float, float, float]:
        """By how much the network is better, and the 95 % interval of that."""
        found = self.difference
        if self.measure.higher_is_better:
            return found.difference, found.low, found.high
        return -found.difference, -found.high, -found.low

    @property
    def is_beaten(self) -> bool:
        """Whether the network is shown to be better."""
        return self.difference.is_shown and self.gain[0] > 0

    def sentence(self) -> str:
        """The result in words."""
        places = self.measure.decimals(self.difference.high - self.difference.low)
        own = self.measure.show(self.difference.b, places)
        gain, low, high = (f"{value * (100 if self.measure.percent else 1):.{places}f}" for value in self.gain)
        points = " points" if self.measure.percent else ""
        size = f"{gain}{points}, 95 % interval {low} to {high}"
        if self.is_beaten:
            return f"better than the {self.name} ({self.measure.name} {own}) by {size}"
        if self.difference.is_shown:
            return f"worse than the {self.name} ({self.measure.name} {own}): {size}"
        return f"no better than the {self.name} ({self.measure.name} {own}) as far as can be shown: {size}"

    def finding(self) -> Finding | None:
        """A warning where the network is not shown to be better."""
        if self.is_beaten:
            return None
        return Finding(
            "no-better-than-baseline",
            f"The network is {self.sentence()}.",
            (f"{self.difference.samples:,} test samples",),
            "train longer or on more data; check that labels belong to their samples; or use the simple model",
        )

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values."""
        gain, low, high = self.gain
        found = self.finding()
        return {
            "name": self.name, "figure": self.measure.name, "value": self.difference.b, "network": self.difference.a,
            "gain": gain, "gain_interval": [low, high], "p": self.difference.p, "is_beaten": self.is_beaten,
            "seconds": round(self.seconds, 3), "finding": None if found is None else found.as_json(),
        }  # fmt: skip


def checked_kind(kind: str) -> Kind:
    """The kind of baselines asked for; ConfigError where there is none of that name.

    >>> checked_kind("auto")
    'auto'
    """
    for known in KINDS:
        if kind == known:
            return known
    raise ConfigError(f"there are no baselines {kind!r}", expected=", ".join(KINDS))


def compete(contest: Contest, kind: Kind, *, train_seconds: float) -> tuple[tuple[Baseline, ...], tuple[str, ...]]:
    """The baselines of a kind beside the network, and a sentence for each that was left out.

    >>> right = np.array([True] * 60 + [False] * 4)
    >>> ways = [Way("majority class", "majority", 0.0, lambda: np.array([True] * 32 + [False] * 32))]
    >>> found, _ = compete(Contest(right, ways), "auto", train_seconds=1.0)
    >>> print(found[0].sentence())
    better than the majority class (accuracy 50.0 %) by 43.8 points, 95 % interval 29.8 to 55.1
    """
    found, notes = [], []
    allowed = max(_FREE_SECONDS, _FREE_SHARE * train_seconds)
    for way in contest.ways:
        if kind == "none" or (kind in ("majority", "linear") and way.kind != kind):
            continue
        if kind == "auto" and way.seconds > allowed:
            notes.append(f"the {way.name} is left out: it would take about {way.seconds:.0f} s (--baseline {way.kind})")
            continue
        began = time.perf_counter()
        results = way.results()
        found.append(Baseline(way.name, set_against(contest, results), contest.measure, time.perf_counter() - began))
    return tuple(found), tuple(notes)


def set_against(contest: Contest, results: Array) -> Difference:
    """The contest's results against others on the same samples, in pairs."""
    if contest.score is None and contest.results.dtype == bool:
        return mcnemar(contest.results, results)
    return paired_difference(contest.results, results, contest.score, block=contest.block, samples=contest.samples)


def baseline_section(baselines: Sequence[Baseline]) -> Section:
    """The section of a report that sets the network beside simple models.

    >>> baseline_section([]).title
    'Beside simple models'
    """
    measure = baselines[0].measure if baselines else Measure("accuracy")
    rows = [["the network", measure.show(baselines[0].difference.a), "", ""]] if baselines else []
    for one in baselines:
        gain, low, high = (f"{value * (100 if one.measure.percent else 1):.3g}" for value in one.gain)
        rows.append([one.name, measure.show(one.difference.b), f"{gain} ({low} to {high})", f"{one.seconds:.1f} s"])
    header = ["", measure.name, f"the network is better by{' (points)' if measure.percent else ''}", "made in"]
    blocks: list[Block] = [Rows(header, rows)]
    for finding in (one.finding() for one in baselines):
        if finding is not None:
            blocks.append(ShownFinding(finding.verdict, "; ".join(finding.evidence), finding.remedy, "warning"))
    note = "Made from the same training split, on the same test samples; in brackets the 95 % interval, in pairs."
    return Section("Beside simple models", blocks, note=note)


def class_contest(
    right: Array, train: Array, test: Array, features: Mapping[str, Callable[[], tuple[Any, Any]]], *, size: float
) -> Contest:
    """A contest of classifiers: the network's ``right`` answers (N,), labels of both splits, features for a linear one.

    ``features`` names the linear model and gives the features of training and test samples; ``size`` is how many
    numbers those of the training split hold.
    """
    classes = int(max(train.max(), test.max())) + 1
    commonest = int(np.bincount(train).argmax())
    ways = [Way("majority class", "majority", 0.0, lambda: test == commonest)]
    for name, made in features.items():
        seconds = linear_seconds(size, classes)
        ways.append(Way(name, "linear", seconds, functools.partial(_linear_results, made, train, test)))
    return Contest(right, ways)


def _linear_results(made: Callable[[], tuple[Any, Any]], train: Array, test: Array) -> Array:
    seen, held = made()
    right: Array = linear_answers(seen, held, train) == test
    return right


#: How often the linear model looks at all of the training split, at most.
_PASSES = 100


def linear_seconds(size: float, classes: int) -> float:
    """About how long a linear model takes: ``size`` features of all samples, about 10⁹ products a second.

    >>> linear_seconds(1e6, 10) < 5
    True
    """
    outputs = 1 if classes == 2 else classes
    return 0.1 + 2 * _PASSES * size * outputs / 1e9


def linear_answers(train: Any, test: Any, labels: Array) -> Array:
    """What logistic regression (l2, C = 1, lbfgs) says of the rows of ``test``: (N, D) features, dense or sparse.

    Draws no random number; on as many threads as torch has.

    >>> rows = np.array([[0.0], [0.1], [0.9], [1.0]] * 10)
    >>> linear_answers(rows, np.array([[0.05], [0.95]]), np.array([0, 0, 1, 1] * 10)).tolist()
    [0, 1]
    """
    import warnings

    import torch
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if len(np.unique(labels)) == 1:
        return np.full(test.shape[0], labels[0])
    with warnings.catch_warnings(), threadpool_limits(torch.get_num_threads()):
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = LogisticRegression(C=1.0, max_iter=_PASSES).fit(train, labels)
        answers: Array = fitted.predict(test)
    return answers


def standardised(train: Array, test: Array) -> tuple[Array, Array]:
    """Features (N, D) with mean 0 and deviation 1 of the training rows; constant ones become 0.

    >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[2.0, 5.0]]))[1].tolist()
    [[0.0, 0.0]]
    """
    mean, deviation = train.mean(0), train.std(0)
    scale = np.where(deviation > 1e-12, 1 / np.maximum(deviation, 1e-12), 0.0)
    return (train - mean) * scale, (test - mean) * scale
