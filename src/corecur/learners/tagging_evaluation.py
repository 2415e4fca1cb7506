"""What a test says about a tagger, and what a tagger says about a sentence.

N sentences, K tags.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.errors import DataError
from corecur.finding import Finding
from corecur.learners.entities import are_entity_tags, entities_in
from corecur.learners.evaluation import LEVEL
from corecur.learners.outcome import Listing
from corecur.learners.tag_confidence import TagConfidence
from corecur.report.charts import ClassScore, percent
from corecur.report.reliability import trust

Tags = tuple[tuple[str, ...], ...]
_RESAMPLES = 2000


@dataclass(frozen=True)
class TaggedSentence:
    """The answer to one sentence: a tag for each of its tokens, and how probable each of these tags is."""

    name: str
    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    probabilities: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values; entities where the tags mark some."""
        answer: dict[str, Any] = {"name": self.name, "tokens": list(self.tokens), "tags": list(self.tags)}
        if self.probabilities:
            answer["probabilities"] = list(self.probabilities)
        if any(tag.startswith(("B-", "I-")) for tag in self.tags):
            answer["entities"] = [
                {"text": " ".join(self.tokens[e.first : e.last]), "kind": e.kind, "first": e.first, "last": e.last}
                for e in entities_in(self.tags)
            ]
        return answer


@dataclass(frozen=True)
class TaggingEvaluation:
    """A test of a tagger: token accuracy and, where tags mark entities, their F1, with 95 % intervals.

    Tokens of a sentence are not independent of each other: the intervals are those of 2,000 resamples of whole
    sentences (percentile bootstrap, Efron 1979, with a fixed seed). ``confidence`` is what the probabilities of the
    answers say, where they are known.
    """

    truth: Tags
    answers: Tags
    findings: tuple[Finding, ...] = ()
    confidence: TagConfidence | None = None

    @functools.cached_property
    def entities(self) -> bool:
        """Whether the tags mark entities."""
        return are_entity_tags(tag for sentence in self.truth for tag in sentence)

    @property
    def calibration(self) -> dict[str, Any] | None:
        """How far the probabilities of the tags can be believed: what `Evaluation.calibration` holds, by token."""
        return None if self.confidence is None else self.confidence.figures

    @functools.cached_property
    def counts(self) -> NDArray[np.float64]:
        """Of each sentence: tokens, right tokens, entities there, entities answered, entities right (N, 5)."""
        rows = []
        for truth, answer in zip(self.truth, self.answers, strict=True):
            right = sum(map(str.__eq__, truth, answer))
            there, found = (set(entities_in(tags)) if self.entities else set() for tags in (truth, answer))
            rows.append((len(truth), right, len(there), len(found), len(there & found)))
        return np.array(rows, dtype=np.float64).reshape(-1, 5)

    @property
    def tokens(self) -> int:
        """Number of tokens tested."""
        return int(self.counts[:, 0].sum())

    @property
    def correct(self) -> int:
        """Number of tokens with the right tag."""
        return int(self.counts[:, 1].sum())

    @property
    def accuracy(self) -> float:
        """Share of tokens with the right tag."""
        return float(_accuracy(self.counts.sum(0)))

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall over whole entities (Tjong Kim Sang 2002): place and kind are right."""
        return float(_f1(self.counts.sum(0)))

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the figure that counts: F1 of entities, else accuracy."""
        draws = np.random.default_rng(0).multinomial(
            len(self.counts), np.full(len(self.counts), 1 / len(self.counts)), size=_RESAMPLES
        )  # (resamples, N)
        totals = draws @ self.counts  # (resamples, 5)
        figures = (_f1 if self.entities else _accuracy)(totals.T)
        low, high = np.quantile(figures, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)

    @functools.cached_property
    def per_class(self) -> list[ClassScore]:
        """Precision, recall, F1 and count of each tag, or of each kind of entity."""
        there, taken, right = Counter[str](), Counter[str](), Counter[str]()
        for truth, answer in zip(self.truth, self.answers, strict=True):
            if self.entities:
                found, given = set(entities_in(truth)), set(entities_in(answer))
                there.update(e.kind for e in found)
                taken.update(e.kind for e in given)
                right.update(e.kind for e in found & given)
            else:
                there.update(truth)
                taken.update(answer)
                right.update(t for t, a in zip(truth, answer, strict=True) if t == a)
        return [
            ClassScore(
                name,
                right[name] / taken[name] if taken[name] else float("nan"),
                right[name] / there[name] if there[name] else float("nan"),
                2 * right[name] / (there[name] + taken[name]),
                there[name],
            )
            for name in sorted(there | taken)
        ]

    def confusions(self) -> Counter[tuple[str, str]]:
        """How often a token with one tag (first) was given another (second)."""
        pairs = (pair for both in zip(self.truth, self.answers, strict=True) for pair in zip(*both, strict=True))
        return Counter((truth, answer) for truth, answer in pairs if truth != answer)

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        found: dict[str, Any] = {"accuracy": self.accuracy, "interval": list(self.interval), "level": LEVEL}
        if self.entities:
            found |= {"f1": self.f1, "interval_of": "f1"}
        return found | {
            "sentences": len(self.truth),
            "tokens": self.tokens,
            "correct": self.correct,
            "calibration": self.calibration,
            "per_class": {
                row.name: {
                    "precision": None if np.isnan(row.precision) else row.precision,
                    "recall": None if np.isnan(row.recall) else row.recall,
                    "f1": row.f1,
                    "samples": row.support,
                }
                for row in self.per_class
            },
        }

    def score(self, total: NDArray[np.float64]) -> Any:
        """The figure that counts, from sums of ``counts`` (…, 5)."""
        return (_f1 if self.entities else _accuracy)(np.moveaxis(np.asarray(total), -1, 0))

    def sentence(self) -> str:
        """The result in words."""
        low, high = (percent(end, 2) for end in self.interval)
        size = f"{self.tokens:,} tokens of {len(self.truth):,} sentences"
        if self.entities:
            return (
                f"test F1 of entities {percent(self.f1, 2)}, 95 % interval {low} to {high}; "
                f"token accuracy {percent(self.accuracy, 2)} ({size})"
            )
        return f"test accuracy {percent(self.accuracy, 2)}, 95 % interval {low} to {high} ({size})"

    def listing(self) -> Listing:
        """The tags, or the kinds of entities, as a table for people."""
        rows = [(r.name, *map(percent, (r.precision, r.recall, r.f1)), f"{r.support:,}") for r in self.per_class]
        sure = self.confidence
        note = "" if sure is None else trust(sure.bins, None if sure.before is None else sure.before.bins)
        return ("entity" if self.entities else "tag", "precision", "recall", "F1", "there"), rows, note


def evaluate_tagging(
    truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], *, confidence: TagConfidence | None = None
) -> TaggingEvaluation:
    """Compare two taggings of the same sentences.

    >>> found = evaluate_tagging([["B-x", "I-x", "O"], ["O"]], [["B-x", "O", "O"], ["O"]])
    >>> found.accuracy, found.f1
    (0.75, 0.0)
    """
    if not any(map(len, truth)):
        raise DataError("there are no tokens to evaluate on")
    return TaggingEvaluation(tuple(map(tuple, truth)), tuple(map(tuple, answers)), confidence=confidence)


def _accuracy(counts: NDArray[np.float64]) -> Any:
    """Right tokens by tokens, from counts (5, …)."""
    return counts[1] / np.maximum(counts[0], 1)


def _f1(counts: NDArray[np.float64]) -> Any:
    """2 right / (there + answered), from counts (5, …); 1 where there is nothing and nothing was answered."""
    both = counts[2] + counts[3]
    return np.where(both > 0, 2 * counts[4] / np.maximum(both, 1), 1.0)
