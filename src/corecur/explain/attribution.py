"""What an explanation is: a score for every place of a sample, or pictures of what goes on inside a network.

H height, W width, C channels, T time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.explain.question import Kind, Shown

Array = NDArray[Any]
_DIGITS = 6


@dataclass(frozen=True)
class Faithfulness:
    """Whether scores say what the network used: answers left while parts are taken away or put back in their order.

    ``deletion`` is the mean share of the answer that is left (small is good), ``insertion`` the mean share that is
    there already (large is good); the intervals hold nine of ten random orders. ``randomised`` is the rank correlation
    with the scores of a network of shuffled weights (Adebayo et al. 2018): near 1, the scores do not depend on what
    was learned.

    >>> Faithfulness(0.1, 0.9, 0.5, 0.5, (0.4, 0.6), (0.4, 0.6), 20, 0.0, (), 0.1).is_faithful
    True
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float
    deletion_interval: tuple[float, float]
    insertion_interval: tuple[float, float]
    rankings: int
    randomised: float | None
    problems: tuple[str, ...]
    seconds: float

    @property
    def is_faithful(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.problems

    def sentence(self) -> str:
        """The figures in words; what speaks against the explanation first."""
        figures = (
            f"deletion {self.deletion:.2f} (random {self.random_deletion:.2f}, {_span(self.deletion_interval)}), "
            f"insertion {self.insertion:.2f} (random {self.random_insertion:.2f}, {_span(self.insertion_interval)})"
        )
        if self.randomised is not None:
            figures += f", correlation with shuffled weights {self.randomised:+.2f}"
        if self.is_faithful:
            return f"better than {self.rankings} random rankings: {figures}"
        return f"not faithful here: {'; '.join(self.problems)}. {figures[0].upper()}{figures[1:]}"

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "faithful": self.is_faithful,
            "problems": list(self.problems),
            "deletion": _short(self.deletion),
            "insertion": _short(self.insertion),
            "random_deletion": {"mean": _short(self.random_deletion), "interval": _pair(self.deletion_interval)},
            "random_insertion": {"mean": _short(self.random_insertion), "interval": _pair(self.insertion_interval)},
            "random_rankings": self.rankings,
            "correlation_with_shuffled_weights": None if self.randomised is None else _short(self.randomised),
            "seconds": round(self.seconds, 4),
        }


@dataclass(frozen=True)
class Attribution:
    """A score for every place of one sample: pixels (H, W), words (T,), or values (T, C).

    A ``signed`` score says what a place adds to the answer, any other how much it matters. ``total`` is what the
    scores add up to by the method's own rule, where it has one; ``gap`` how far they are from it.

    >>> shown = Shown(words=("so", "good"))
    >>> scores, parts = np.array([0.1, 2.0]), np.arange(2)
    >>> Attribution("a", "text", "lime", "+", "", scores, parts, True, "", shown, 0.1).top(1)
    [('good', 2.0)]
    """

    name: str
    kind: Kind
    method: str
    target: str
    answer: str
    scores: Array
    parts: Array
    signed: bool
    removed: str
    shown: Shown
    seconds: float
    total: float | None = None
    faithfulness: Faithfulness | None = None
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> float | None:
        """How far the scores' sum is from what it should be."""
        return None if self.total is None else float(self.scores.sum()) - self.total

    def by_part(self) -> Array:
        """The scores added up over each part (P,)."""
        return np.bincount(self.parts.ravel(), weights=self.scores.ravel().astype(float))

    def heading(self) -> str:
        """What is explained, and how, in a line."""
        return f"{self.answer}; {self.method} for {self.target}"

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The parts that matter most, in words, the strongest first."""
        totals = self.by_part()
        order = np.argsort(-np.abs(totals), kind="stable")[:count]
        return [(self.part_name(int(part)), float(totals[part])) for part in order if totals[part]]

    def part_name(self, part: int) -> str:
        """A part in words: the word, the steps of a channel, or the pixels."""
        places = np.argwhere(self.parts == part)
        first, last = places[0], places[-1]
        if self.kind == "text":
            words = [self.shown.words[place] for place in range(first[0], last[0] + 1)]
            return (" " if self.shown.spaced else "").join(words)
        if self.kind == "image":
            return f"rows {first[0]}–{last[0]}, columns {first[1]}–{last[1]}"
        rows = self.shown.rows
        named = [rows[place] if rows else f"{place}" for place in (int(first[0]), int(last[0]))]
        steps = named[0] if named[0] == named[1] else f"{named[0]} to {named[1]}"
        column = self.shown.columns[first[1]] if len(self.shown.columns) > 1 else ""
        return f"{column} {steps}".strip() if rows else f"{column} steps {steps}".strip()

    def as_json(self) -> dict[str, Any]:
        """The explanation as JSON values; words, columns and rows beside the scores where there are some."""
        found: dict[str, Any] = {
            "name": self.name,
            "method": self.method,
            "target": self.target,
            "answer": self.answer,
            "signed": self.signed,
            "removed": self.removed,
            "scores": np.round(self.scores.astype(float), _DIGITS).tolist(),
            "seconds": round(self.seconds, 4),
            "faithfulness": None if self.faithfulness is None else self.faithfulness.as_json(),
            "notes": list(self.notes),
        }
        if self.total is not None:
            found |= {"sum_expected": _short(self.total), "gap": _short(self.gap or 0.0)}
        for key, names in (("words", self.shown.words), ("columns", self.shown.columns), ("rows", self.shown.rows)):
            if names:
                found[key] = list(names)
        return found


@dataclass(frozen=True)
class Panel:
    """One picture of a look inside: values (rows, columns), or pixels (H, W, C) uint8, or words.

    >>> Panel("states", np.zeros((1, 2))).as_json()
    {'title': 'states', 'values': [[0.0, 0.0]]}
    """

    title: str
    values: Array | None = None
    words: str = ""
    across: str = ""
    down: str = ""

    def as_json(self) -> dict[str, Any]:
        """The panel as JSON values; pixels are left out."""
        values = self.values
        numbers = None if values is None or values.dtype == np.uint8 else np.round(values.astype(float), _DIGITS)
        found: dict[str, Any] = {"title": self.title}
        if numbers is not None:
            gaps = np.isnan(numbers)  # between tiles
            found["values"] = numbers.tolist()
            if gaps.any():
                written = numbers.astype(object)
                written[gaps] = None
                found["values"] = written.tolist()
        return found | ({"words": self.words} if self.words else {})


@dataclass(frozen=True)
class Look:
    """What goes on inside a network for one sample: filters, activation maps, hidden states and gates, neighbours.

    It ranks nothing, so there is no faithfulness to measure.

    >>> Look("a", "filters", "taken for b", (), 0.1).heading()
    'taken for b; filters'
    """

    name: str
    method: str
    answer: str
    panels: tuple[Panel, ...]
    seconds: float
    shown: Shown = field(default_factory=Shown)
    notes: tuple[str, ...] = ()

    def heading(self) -> str:
        """What is looked at, in a line."""
        return f"{self.answer}; {self.method}"

    def as_json(self) -> dict[str, Any]:
        """The panels as JSON values."""
        return {
            "name": self.name,
            "method": self.method,
            "answer": self.answer,
            "panels": [panel.as_json() for panel in self.panels],
            "seconds": round(self.seconds, 4),
            "notes": list(self.notes),
        }


Explanation = Attribution | Look


def _short(value: float) -> float:
    return round(float(value), _DIGITS)


def _pair(interval: tuple[float, float]) -> list[float]:
    return [_short(end) for end in interval]


def _span(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"
