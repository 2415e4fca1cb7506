"""What a check of data or a doctor of trainings says: a verdict, the evidence for it, and a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["note", "warning", "problem"]

#: The levels, the gravest first.
GRAVITY: tuple[Level, ...] = ("problem", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing found: its kind (a fixed name for programs), a verdict in words, evidence, what to do, and how grave.

    ``evidence`` are short lines a person can check: names of files, rows, counts, measured values.

    >>> found = Finding("duplicates", "2 pictures are copies of others.", ("b.png of a.png",), "remove one of each")
    >>> print(found)
    2 pictures are copies of others. (b.png of a.png) Remedy: remove one of each.
    """

    kind: str
    verdict: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    level: Level = "warning"

    def __str__(self) -> str:
        shown = f" ({listed(self.evidence)})" if self.evidence else ""
        return f"{self.verdict}{shown}" + (f" Remedy: {self.remedy.rstrip('.')}." if self.remedy else "")

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values.

        >>> Finding("copies", "1 copy.").as_json()["level"]
        'warning'
        """
        return asdict(self) | {"evidence": list(self.evidence)}


def by_gravity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, the gravest first, else in their order.

    >>> [found.level for found in by_gravity([Finding("a", "A."), Finding("b", "B.", level="problem")])]
    ['problem', 'warning']
    """
    return tuple(sorted(findings, key=lambda found: GRAVITY.index(found.level)))


def listed(evidence: Sequence[str], most: int = 5) -> str:
    """The first lines of some evidence, and the number of the others.

    >>> listed(("a", "b", "c"), most=2)
    'a; b and 1 more'
    """
    more = f" and {len(evidence) - most:,} more" if len(evidence) > most else ""
    return "; ".join(evidence[:most]) + more


def remark(verdict: str, *evidence: str, kind: str = "reading") -> Finding:
    """A note on how data were read: nothing is wrong, but a person should know.

    >>> remark("Rows are steps.").level
    'note'
    """
    return Finding(kind, verdict, evidence, level="note")
