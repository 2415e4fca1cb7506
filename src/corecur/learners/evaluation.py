"""What a test says about a classifier, and what a classifier says about a sample.

N samples, K classes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.data.quality.wrong_labels import wrong_label_findings
from corecur.engine.calibration import Bins, Calibration, brier, calibration_bins, nll, tempered
from corecur.engine.intervals import wilson
from corecur.errors import DataError
from corecur.finding import Finding
from corecur.learners.outcome import Listing, Outcome
from corecur.report.charts import ClassScore, percent
from corecur.report.reliability import Reliability, trust

LEVEL = 0.95
_MOST_CLASSES = 40
# Right so often, a network may doubt the labels of what it did not learn from.
_TRUSTED = 0.85


@dataclass(frozen=True)
class Prediction:
    """The answer to one sample: its label, how probable it is, and all probabilities by label."""

    name: str
    label: str
    probability: float
    probabilities: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values."""
        return {
            "file": self.name,
            "label": self.label,
            "probability": self.probability,
            "probabilities": self.probabilities,
        }


@dataclass(frozen=True)
class Evaluation:
    """A test of a classifier: accuracy with its 95 % Wilson interval, and the parts it is made of.

    ``uncalibrated`` are the probabilities before a ``temperature`` other than 1 was applied.
    """

    classes: tuple[str, ...]
    confusion: np.ndarray[Any, Any]  # (K, K), the truth in rows
    probabilities: Tensor  # (N, K)
    labels: Tensor  # (N,)
    loss: float
    findings: tuple[Finding, ...] = ()  # what is odd about the samples
    temperature: float = 1.0
    uncalibrated: Tensor | None = None  # (N, K)

    @property
    def samples(self) -> int:
        """Number of samples tested."""
        return len(self.labels)

    @property
    def correct(self) -> int:
        """Number of samples answered rightly."""
        return int(np.trace(self.confusion))

    @property
    def right(self) -> np.ndarray[Any, Any]:
        """Which samples were answered rightly, (N,)."""
        return (self.probabilities.argmax(1) == self.labels).numpy()

    @property
    def accuracy(self) -> float:
        """Share of samples answered rightly."""
        return self.correct / self.samples

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval of the accuracy."""
        return wilson(self.correct, self.samples, LEVEL)

    @functools.cached_property
    def bins(self) -> Bins:
        """How far the probabilities of the answers can be believed."""
        return _bins(self.probabilities, self.labels)

    @functools.cached_property
    def bins_before(self) -> Bins | None:
        """The same before a temperature was applied; None where there was none."""
        return None if self.uncalibrated is None else _bins(self.uncalibrated, self.labels)

    def reliability(self, fitted: Calibration | None = None) -> Reliability:
        """What a report shows of the probabilities; ``fitted`` is what was done to them after the training."""
        sure = self.probabilities.max(1).values.double().numpy()
        words = "" if fitted is None else fitted.sentence()
        return Reliability(sure, self.bins, self.calibration, before=self.bins_before, fitted=words)

    @property
    def calibration(self) -> dict[str, Any]:
        """Expected calibration error with its interval, Brier score and negative log-likelihood, now and before."""
        before = self.uncalibrated
        return {
            "temperature": self.temperature,
            **_reliability(self.probabilities, self.labels, self.bins),
            "before": None
            if before is None or self.bins_before is None
            else _reliability(before, self.labels, self.bins_before),
        }

    @property
    def per_class(self) -> list[ClassScore]:
        """Precision, recall, F1 and sample count of each class; NaN where there is nothing to take a share of."""
        hits = np.diag(self.confusion).astype(float)
        taken, there = self.confusion.sum(0), self.confusion.sum(1)
        with np.errstate(invalid="ignore"):
            precision, recall, f1 = hits / taken, hits / there, 2 * hits / (taken + there)
        return [
            ClassScore(name, float(precision[k]), float(recall[k]), float(f1[k]), int(there[k]))
            for k, name in enumerate(self.classes)
        ]

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "level": LEVEL,
            "samples": self.samples,
            "correct": self.correct,
            "loss": self.loss,
            "calibration": self.calibration,
            "per_class": {
                row.name: {
                    "precision": _finite(row.precision),
                    "recall": _finite(row.recall),
                    "f1": _finite(row.f1),
                    "samples": row.support,
                }
                for row in self.per_class
            },
        }

    def listing(self) -> Listing:
        """The classes as a table for people; of many, the weakest."""
        rows, left_out = self.per_class, max(0, len(self.classes) - _MOST_CLASSES)
        if left_out:
            rows = sorted(rows, key=lambda row: row.f1 if math.isfinite(row.f1) else 1.0)[:_MOST_CLASSES]
        cells = [(r.name, *map(percent, (r.precision, r.recall, r.f1)), f"{r.support:,}") for r in rows]
        remarks = [f"… and {left_out:,} classes that do better; the report and --json have them all"] * (left_out > 0)
        return (
            ("class", "precision", "recall", "F1", "samples"),
            cells,
            "\n".join([*remarks, trust(self.bins, self.bins_before)]),
        )

    def sentence(self) -> str:
        """The result in words."""
        low, high = self.interval
        return (
            f"test accuracy {percent(self.accuracy, 2)}, 95 % interval {percent(low, 2)} to {percent(high, 2)} "
            f"({self.correct:,} of {self.samples:,} samples)"
        )


def _finite(share: float) -> float | None:
    return share if math.isfinite(share) else None


def _bins(probabilities: Tensor, labels: Tensor) -> Bins:
    sure, answers = probabilities.max(1)
    return calibration_bins(sure.double().numpy(), (answers == labels).numpy())


def _reliability(probabilities: Tensor, labels: Tensor, bins: Bins) -> dict[str, Any]:
    return {
        "ece": bins.error,
        "ece_interval": list(bins.interval),
        "brier": brier(probabilities, labels),
        "nll": nll(probabilities, labels),
    }


def evaluate_classifier(
    probabilities: Tensor, labels: Tensor, classes: Sequence[str], *, temperature: float = 1.0
) -> Evaluation:
    """Compare probabilities (N, K), at this temperature, with labels (N,).

    >>> found = evaluate_classifier(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 0]), ["a", "b"])
    >>> found.accuracy, found.confusion.tolist()
    (0.5, [[1, 1], [0, 0]])
    """
    if len(labels) == 0:
        raise DataError("there are no samples to evaluate on")
    _refuse_no_numbers(probabilities, [f"sample {row + 1}" for row in range(len(labels))])
    given = probabilities
    probabilities = tempered(given, temperature)
    answers = probabilities.argmax(1)
    pairs = labels * len(classes) + answers
    confusion = torch.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), len(classes))
    return Evaluation(
        tuple(classes), confusion.numpy(), probabilities, labels, nll(probabilities, labels), temperature=temperature,
        uncalibrated=None if temperature == 1.0 else given,
    )  # fmt: skip


def doubtful_labels(data: Any, test: Outcome | None, judge: Callable[[Any], Evaluation]) -> list[Finding]:
    """Labels of the validation and test samples of ``data`` that are probably wrong; ``judge`` tests samples.

    Nothing where there is no test, or the network is wrong too often: then it, not the label, is what to doubt.

    >>> doubtful_labels(None, None, lambda held: held)
    []
    """
    if not isinstance(test, Evaluation) or data.test is None:
        return []
    judged = {"validation": None if data.validation is None else judge(data.validation), "test": test}
    return [
        finding
        for split, found in judged.items() if found is not None and found.accuracy >= _TRUSTED
        for finding in wrong_label_findings(
            found.probabilities.double().numpy(), found.labels.numpy(), getattr(data, split).names, found.classes,
            split=split,
        )
    ]  # fmt: skip


def _refuse_no_numbers(probabilities: Tensor, names: Sequence[str]) -> None:
    lost = (~probabilities.isfinite().all(1)).nonzero().flatten().tolist()
    if lost:
        raise DataError(
            "the answer of the network is no number: the values lie too far from what was learned",
            where=names[lost[0]],
            got=f"{len(lost):,} such samples of {len(probabilities):,}",
            do="mend these samples, or leave them out",
        )


def predictions(probabilities: Tensor, names: Sequence[str], classes: Sequence[str]) -> list[Prediction]:
    """The answers for probabilities (N, K), the likeliest labels first in each; DataError where one is no number."""
    _refuse_no_numbers(probabilities, names)
    found = []
    for name, row in zip(names, probabilities.tolist(), strict=True):
        ranked = sorted(zip(classes, row, strict=True), key=lambda pair: -pair[1])
        found.append(Prediction(name, ranked[0][0], ranked[0][1], dict(ranked)))
    return found


def probabilities_listing(answers: Sequence[Prediction], *, what: str, top: int) -> Listing:
    """A table of the answers, with the next most probable labels; ``what`` heads the column of names.

    >>> answers = predictions(torch.tensor([[0.75, 0.25]]), ["a.png"], ["cat", "dog"])
    >>> probabilities_listing(answers, what="file", top=2)[1]
    [('a.png', 'cat', '75.0 %', 'dog 25.0 %')]
    """
    rows = []
    for answer in answers:
        others = list(answer.probabilities.items())[1:top]
        then = ", ".join(f"{label} {percent(share)}" for label, share in others)
        rows.append((answer.name, answer.label, percent(answer.probability), then)[: 3 + (top > 1)])
    return (what, "label", "probability", "then")[: 3 + (top > 1)], rows, ""


def probabilities_spreadsheet(
    answers: Sequence[Prediction], classes: Sequence[str], *, what: str
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The answers with the probability of every class, as header and rows of a CSV file.

    >>> probabilities_spreadsheet([], ["cat", "dog"], what="file")[0]
    ['file', 'label', 'probability', 'cat', 'dog']
    """
    rows = [
        [a.name, a.label, f"{a.probability:.6f}", *(f"{a.probabilities[name]:.6f}" for name in classes)]
        for a in answers
    ]
    return [what, "label", "probability", *classes], rows
