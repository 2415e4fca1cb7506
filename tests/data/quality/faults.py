"""Faults planted in sources: what is spoiled, and what a check must name; precision and recall of what it says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from corecur.finding import Finding
from corecur.learners.data_check import check

Random = np.random.Generator


@dataclass(frozen=True)
class Planted:
    """What was planted: the kinds of finding that speak of it, and the words each of the planted things is known by.

    ``known`` is a set of words per planted thing: one of them in a line of evidence names it. ``whole`` is a fault of
    the source as a whole: its kind alone counts.
    """

    kinds: frozenset[str]
    known: tuple[tuple[str, ...], ...] = ()
    whole: bool = False


Plant = Callable[[Path, Random], Planted]


@dataclass
class Score:
    """Planted things found and missed; lines of evidence that speak of them, and lines that do not."""

    found: int = 0
    planted: int = 0
    right: int = 0
    said: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """The share of planted things that were named."""
        return self.found / max(1, self.planted)

    @property
    def precision(self) -> float:
        """The share of what was said that speaks of planted things."""
        return self.right / max(1, self.said)

    def add(self, title: str, planted: Planted, findings: list[Finding], clean: set[tuple[str, str]]) -> None:
        """Count the findings on a spoiled source; what is said of the clean one too is no answer to the fault."""
        fresh = {
            (found.kind, line): found
            for found in findings
            for line in (found.evidence or (found.verdict,))
            if (found.kind, line) not in clean
        }
        own = {(kind, line) for kind, line in fresh if kind in planted.kinds}
        if planted.whole:
            named, wanted = int(bool(own)), 1
        else:
            hits = [any(word in line for _, line in own for word in words) for words in planted.known]
            named, wanted = sum(hits), len(hits)
            if named < wanted:
                missed = [words[0] for words, hit in zip(planted.known, hits, strict=True) if not hit]
                self.remarks.append(f"{title}: missed {', '.join(missed[:4])}")
        if planted.whole and not named:
            self.remarks.append(f"{title}: missed")
        self.found += named
        self.planted += wanted
        for (kind, line), found in fresh.items():
            speaks = kind in planted.kinds and (
                planted.whole or any(word in line for words in planted.known for word in words)
            )
            if not speaks and (found.level == "note" or kind in {other for other, _ in clean}):
                continue  # a remark is no accusation; and what is said of the clean source is said in other words here
            self.said += 1
            self.right += speaks
            if not speaks:
                self.remarks.append(f"{title}: {kind} said of {line[:100]}")


def lines_of(findings: list[Finding]) -> set[tuple[str, str]]:
    """The findings line by line."""
    return {(found.kind, line) for found in findings for line in (found.evidence or (found.verdict,))}


def measure(
    base: Path, faults: dict[str, Plant], score: Score, *, scratch: Path, seed: int = 0, task: str = "auto"
) -> list[Finding]:
    """Plant each fault in a copy of a source, check it, and count. Returns what is said of the clean source."""
    clean = list(check(base, task=task).findings)
    for number, (title, plant) in enumerate(faults.items()):
        spoiled = scratch / f"{base.stem}-{number}" / base.name
        spoiled.parent.mkdir(parents=True)
        if base.is_dir():
            shutil.copytree(base, spoiled)
        else:
            shutil.copy(base, spoiled)
        planted = plant(spoiled, np.random.default_rng([seed, number]))
        score.add(f"{base.name}, {title}", planted, list(check(spoiled, task=task).findings), lines_of(clean))
        shutil.rmtree(spoiled.parent)
    return clean
