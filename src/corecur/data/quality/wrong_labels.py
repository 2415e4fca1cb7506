"""Labels that are probably wrong, by what a network that did not learn from them says: confident learning.

Northcutt, Jiang, Chuang: Confident Learning, JAIR 70 (2021). A sample labelled i counts as one of class j where its
probability of j is at least what samples labelled j have of it on average; of those, it is suspected where j is not i.
Here 0.7 of that average is enough, but j must be likelier than i by 0.5: with noise planted in digits (5 % and 10 %)
that finds 93 % and 89 % of the wrong labels instead of 74 %, and 98 % and 100 % of what it names is wrong.
Probabilities must be out of sample: of held-out data, or of folds.

Shapes: N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corecur.data.quality.repeats import lines
from corecur.finding import Finding, Level

# The likely label must be so much likelier than the one given, and have this share of the usual probability.
_MARGIN, _SHARE = 0.5, 0.7
_FEWEST = 10
_MANY = 0.01


@dataclass(frozen=True)
class Suspect:
    """A sample whose label is probably wrong: its row, the label given, the likely one, how much likelier that is.

    >>> Suspect(3, given=0, likely=1, margin=0.9).likely
    1
    """

    row: int
    given: int
    likely: int
    margin: float


def suspects(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64], *, margin: float = _MARGIN
) -> list[Suspect]:
    """The samples with probabilities (N, K) that contradict their labels (N,), the surest first.

    >>> sure = np.array([[0.95, 0.05]] * 10 + [[0.05, 0.95]] * 10)
    >>> labels = np.repeat([0, 1], 10); labels[3] = 1
    >>> [(found.row, found.likely) for found in suspects(sure, labels)]
    [(3, 0)]
    """
    count, classes = probabilities.shape
    given = probabilities[np.arange(count), labels]
    usual = np.array([given[labels == k].mean() if (labels == k).any() else np.inf for k in range(classes)])
    able = np.where(probabilities >= _SHARE * usual, probabilities, -1.0)  # (N, K)
    likely = able.argmax(1)
    ahead = probabilities[np.arange(count), likely] - given
    found = np.flatnonzero((able.max(1) > 0) & (likely != labels) & (ahead >= margin))
    ranked = found[np.argsort(-ahead[found], kind="stable")]
    return [Suspect(int(row), int(labels[row]), int(likely[row]), float(ahead[row])) for row in ranked]


def wrong_label_findings(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int64],
    names: Sequence[str],
    classes: Sequence[str],
    *,
    split: str,
    noun: str = "label",
    given: str = "labelled",
    margin: float = _MARGIN,
) -> list[Finding]:
    """What is said of labels that are probably wrong; nothing for a handful of samples.

    >>> wrong_label_findings(np.ones((2, 2)) / 2, np.array([0, 1]), ["a", "b"], ["x", "y"], split="test")
    []
    """  # fmt: skip
    found = suspects(probabilities, labels, margin=margin) if len(labels) >= _FEWEST else []
    if not found:
        return []
    verb = f"{noun} is" if len(found) == 1 else f"{noun}s are"
    verdict = f"{len(found):,} of {len(labels):,} {split} {verb} probably wrong."
    evidence = lines(
        f"{names[one.row]}: {given} {classes[one.given]}, looks like {classes[one.likely]} "
        f"({probabilities[one.row, one.likely]:.0%} against {probabilities[one.row, one.given]:.0%})".replace("%", " %")
        for one in found
    )
    level: Level = "warning" if len(found) >= _MANY * len(labels) else "note"
    return [Finding("wrong-labels", verdict, evidence, "look at them, the first are the surest", level)]
