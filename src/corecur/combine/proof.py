"""A combination against its members on the test split: intervals, and a paired test against each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corecur.combine.members import Member
from corecur.combine.unseen_splits import in_order
from corecur.engine.intervals import wilson
from corecur.engine.paired_tests import Difference, Measure, figure_interval, holm, verdict
from corecur.errors import ConfigError
from corecur.learners.language_score import LanguageScore
from corecur.learners.learner import Learner
from corecur.learners.outcome import Listing, Outcome
from corecur.learners.simple_models import Contest, set_against
from corecur.learners.tagging_evaluation import TaggingEvaluation
from corecur.report.charts import percent

COMBINATION = "combination"


@dataclass(frozen=True)
class Rival:
    """One model on the test split: its figure with its interval, its weights, its size in bytes, and other figures."""

    name: str
    figure: float
    interval: tuple[float, float] | None
    parameters: int
    outcome: Outcome


@dataclass(frozen=True)
class Proof:
    """The combination first, then its members; ``differences`` are those of the combination from each member.

    ``split`` is what they answered to.
    """

    rivals: tuple[Rival, ...]
    differences: tuple[Difference, ...]
    measure: Measure
    split: str = "test"

    @property
    def best(self) -> int:
        """The place of the member with the best test figure."""
        figures = [one.figure if self.measure.higher_is_better else -one.figure for one in self.rivals[1:]]
        return max(range(len(figures)), key=lambda place: (figures[place], -place))

    def verdict(self) -> str:
        """The combination against its best member, in words."""
        found = self.differences[self.best]
        corrected = holm([one.p for one in self.differences])[self.best]
        names = (COMBINATION, f"its best member {self.rivals[1 + self.best].name}")
        return verdict(found, names, self.measure, corrected=corrected, pairs=len(self.differences))

    def lines(self) -> list[str]:
        """Every model's result and the verdict, in words."""
        return [*(f"{one.name}: {one.outcome.sentence()}" for one in self.rivals), self.verdict()]

    def listing(self) -> Listing:
        """The models as a table for people."""
        calibrated = all(getattr(one.outcome, "calibration", None) is not None for one in self.rivals)
        more = ("calibration error", "negative log-likelihood") if calibrated else ()
        rows = []
        for one in self.rivals:
            low_high = "–" if one.interval is None else " to ".join(self.measure.show(end) for end in one.interval)
            row = [one.name, self.measure.show(one.figure), low_high, f"{one.parameters:,}"]
            if calibrated:
                found: Any = one.outcome
                row += [percent(found.calibration["ece"], 2), f"{found.calibration['nll']:.4f}"]
            rows.append(row)
        return ("model", f"{self.split} {self.measure.name}", "95 % interval", "weights", *more), rows, ""

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values."""
        return {
            "figure": self.measure.name,
            "split": self.split,
            "models": [
                {
                    "name": one.name,
                    "value": one.figure,
                    "interval": None if one.interval is None else list(one.interval),
                    "parameters": one.parameters,
                    "test": one.outcome.as_json(),
                }
                for one in self.rivals
            ],
            "differences": {
                one.name: found.as_json() for one, found in zip(self.rivals[1:], self.differences, strict=True)
            },
            "best_member": self.rivals[1 + self.best].name,
            "verdict": self.verdict(),
        }


def prove(learner: Learner[Any, Any, Any], members: Sequence[Member], data: Any) -> Proof:
    """Test the combination and its members, each once, on the same test split (a text may have none: validation)."""
    rivals, contests = [], []
    for name, one in ((COMBINATION, learner), *((member.name, member.learner) for member in members)):
        shown = in_order(data, one.classes) if one.classes else data
        outcome = one.test(shown)
        contest = None if outcome is None else one.contest(shown, outcome)
        if outcome is None or contest is None:
            raise ConfigError(f"a {one.title} cannot be set against others", where=name)
        contests.append(contest)
        rivals.append(Rival(name, *_figure(contest, outcome), one.network.count_params(), outcome))
    differences = tuple(set_against(contests[0], other.results) for other in contests[1:])
    split = getattr(rivals[0].outcome, "split", "test")
    return Proof(tuple(rivals), differences, contests[0].measure, split)


def _figure(contest: Contest, outcome: Outcome) -> tuple[float, tuple[float, float] | None]:
    """The figure of a model's results, and its 95 % interval: the one its own sentence tells, where it has one."""
    results = contest.results
    if contest.score is None and results.dtype == bool:
        return float(results.mean()), wilson(int(results.sum()), len(results))
    total = results.mean() if contest.score is None else contest.score(results.sum(0))
    if isinstance(outcome, (TaggingEvaluation, LanguageScore)):
        return float(np.asarray(total)), outcome.interval
    return float(np.asarray(total)), figure_interval(results, contest.score, block=contest.block)
