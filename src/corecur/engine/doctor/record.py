"""What was measured of a training, read from its rows: the numbers that diagnoses are made of.

A row is a dict of plain values: ``facts`` once, ``look`` at some steps, ``epoch`` after each, ``end`` at the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import fmean, median, stdev
from typing import Any, NamedTuple


class Progress(NamedTuple):
    """Losses over a stretch of steps: their mean, and how far that can be trusted."""

    mean: float
    error: float


class Record:
    """A training as its rows tell it; a number that was not finite is ``math.inf``.

    >>> record = Record([{"row": "epoch", "steps": 4, "curve": [[2.0, 2], [1.0, 2]], "results": {}}])
    >>> record.steps, record.first_loss, record.late.mean
    (4, 2.0, 1.0)
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        of = {kind: [row for row in rows if row.get("row") == kind] for kind in ("facts", "look", "epoch", "end")}
        self.facts: Mapping[str, Any] = of["facts"][0] if of["facts"] else {}
        self.looks = of["look"]
        self.epochs = of["epoch"]
        self.finished = bool(of["end"])
        self.healed = [str(row["done"]) for row in rows if row.get("row") == "healed"]
        self.blind = next((str(row["why"]) for row in rows if row.get("row") == "blind"), "")
        self.broken = any(row.get("broken") for row in of["end"])

    @cached_property
    def curve(self) -> list[tuple[float, int]]:
        """Mean losses of stretches of steps, each with how many steps it stands for.

        >>> Record([{"row": "epoch", "curve": [["nan", 2]], "results": {}}]).curve
        [(inf, 2)]
        """
        return [(number(loss), int(steps)) for row in self.epochs for loss, steps in row["curve"]]

    @property
    def steps(self) -> int:
        """Steps so far.

        >>> Record([]).steps
        0
        """
        return sum(int(row["steps"]) for row in self.epochs)

    @property
    def refused(self) -> int:
        """Steps that were left out because a number was none.

        >>> Record([{"row": "epoch", "refused": 2}]).refused
        2
        """
        return sum(int(row.get("refused", 0)) for row in self.epochs)

    @cached_property
    def finite(self) -> list[tuple[float, int]]:
        """The part of the curve that is finite.

        >>> Record([{"row": "epoch", "curve": [["nan", 2], [1.0, 2]]}]).finite
        [(1.0, 2)]
        """
        return [(loss, steps) for loss, steps in self.curve if math.isfinite(loss)]

    @property
    def first_loss(self) -> float:
        """The first loss: of the first look, else of the first stretch."""
        if self.looks:
            return number(self.looks[0]["loss"])
        return self.curve[0][0] if self.curve else math.inf

    @cached_property
    def late(self) -> Progress:
        """The losses of the last fifth of the steps.

        >>> Record([]).late.mean
        inf
        """
        return self.part(0.8, 1.0)

    def part(self, start: float, stop: float) -> Progress:
        """The losses between two shares of the training."""
        total, low, high, found = self.steps, start * self.steps, stop * self.steps, []
        done = 0.0
        for loss, steps in self.curve:
            middle = done + steps / 2
            if low <= middle <= high and math.isfinite(loss):
                found.append(loss)
            done += steps
        if not found or not total:
            last = self.finite[-1][0] if self.finite else math.inf
            return Progress(last, math.inf)
        spread = stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.inf
        return Progress(fmean(found), spread)

    @cached_property
    def is_falling(self) -> bool:
        """Whether the loss still falls over the second half of the training, by more than chance.

        >>> Record([]).is_falling
        False
        """
        before, after = self.part(0.5, 0.75), self.part(0.75, 1.0)
        drop = before.mean - after.mean
        scale = self.baseline or max(abs(before.mean), 1e-12)
        error = math.hypot(before.error, after.error)
        return drop > 0.004 * scale and (drop > 2 * error or not math.isfinite(error))

    @cached_property
    def baseline(self) -> float | None:
        """The loss of the best answer that does not look at the input, where that is known.

        >>> Record([{"row": "look", "step": 16, "baseline": 2.0}]).baseline
        2.0
        """
        found = [(int(row["step"]), number(row["baseline"])) for row in self.looks if row.get("baseline") is not None]
        known = [value for step, value in found if step >= 16 and math.isfinite(value)]
        if known:
            return median(known)
        return max((value for _, value in found if math.isfinite(value)), default=None)

    @property
    def blind_loss(self) -> float | None:
        """The loss of an answer that knows nothing: where there are classes, at least that of naming all alike."""
        outputs = self.looks[0].get("outputs") if self.looks else None
        if self.baseline is None or self.majority is None or not isinstance(outputs, int):
            return self.baseline
        return max(self.baseline, math.log(max(2, outputs)))

    @cached_property
    def first_epoch(self) -> float:
        """The loss over the last third of the first epoch: of samples that were never seen before."""
        curve = [number(loss) for loss, _ in self.epochs[0]["curve"]] if self.epochs else []
        return fmean(curve[-max(1, len(curve) // 3) :]) if curve else math.inf

    def skill(self, loss: float) -> float | None:
        """How much of the baseline's loss is gone: 0 for no better, 1 for all of it.

        >>> Record([{"row": "look", "step": 16, "baseline": 2.0}]).skill(0.5)
        0.75
        """
        if self.baseline is None or self.baseline <= 1e-9:
            return None
        return -math.inf if not math.isfinite(loss) else 1 - loss / self.baseline

    @cached_property
    def train_skill(self) -> float | None:
        """The skill at the end of the training, on training data.

        >>> Record([]).train_skill is None
        True
        """
        return self.skill(self.late.mean)

    def results(self, name: str) -> list[float]:
        """A result by epoch, where there is one; ``accuracy`` also under the names of its kinds."""
        found = []
        for row in self.epochs:
            for key, value in row["results"].items():
                if key == name or (name.endswith("accuracy") and key.endswith("accuracy")
                                   and key.startswith("val_") == name.startswith("val_")):  # fmt: skip
                    found.append(number(value))
                    break
        return found

    @property
    def majority(self) -> float | None:
        """The share of the most frequent class.

        >>> Record([{"row": "look", "majority": 0.5}]).majority
        0.5
        """
        return None if not self.looks else self.looks[-1].get("majority")

    @property
    def classes(self) -> int:
        """How many classes were seen.

        >>> Record([{"row": "look", "classes": 3}]).classes
        3
        """
        return 0 if not self.looks else int(self.looks[-1].get("classes") or 0)

    def updates(self, look: Mapping[str, Any]) -> list[float]:
        """How far the step of a look moved the weights of each layer, as a share of their size.

        >>> Record([]).updates({"layers": [{"u": 0.01}, {"u": None}]})
        [0.01]
        """
        return [number(row["u"]) for row in look["layers"] if row.get("u") is not None]

    def sensitivity(self, look: Mapping[str, Any]) -> float:
        """The largest ``|gradient| · |weights| / loss`` of a layer: the % by which 1 % of its size changes the loss."""
        loss = max(abs(number(look["loss"])), 0.1 * (self.baseline or 0.0), 1e-12)
        products = [number(row["g"]) * number(row["w"]) for row in look["layers"]]
        return max((math.inf if not math.isfinite(p) else p / loss for p in products), default=0.0)


def number(value: Any) -> float:
    """A number of a row; words stand for what is no finite number.

    >>> number(0.5), number("nan"), number("-inf")
    (0.5, inf, inf)
    """
    if isinstance(value, (int, float)):
        return float(value) if math.isfinite(value) else math.inf
    return math.inf
