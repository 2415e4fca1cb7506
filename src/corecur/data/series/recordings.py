"""What a kind of source hands over before series become samples.

Shapes: T time of one series, C channels, N series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corecur.data.gathered import natural_key
from corecur.errors import DataError
from corecur.finding import Finding

#: One series: (T, C) float64, NaN where a value is missing.
Recording: TypeAlias = NDArray[np.float64]
#: A series that cannot be used: where it stands, and why.
BadSeries: TypeAlias = tuple[str, str]

SHOWN = 10


@dataclass(frozen=True)
class SeriesPart:
    """One split as the source holds it: series of their own lengths, labels (N,) as written there, a name for each."""

    series: Sequence[Recording]
    labels: NDArray[Any] | None
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class GatheredSeries:
    """A source of series, looked through: its splits, channels, the order of its classes where it fixes one, oddities.

    >>> part = SeriesPart([np.zeros((5, 1))] * 2, np.array(["b", "a"]), ["x", "y"])
    >>> series_classes(GatheredSeries("arrays", {"train": part}))
    ('a', 'b')
    """

    kind: str
    parts: dict[str, SeriesPart]
    channels: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()
    bad: tuple[BadSeries, ...] = ()

    def with_part(self, split: str, part: SeriesPart) -> GatheredSeries:
        """The same with another split."""
        return replace(self, parts={**self.parts, split: part})


@dataclass
class Reading:
    """The series of one file while it is read; what cannot be used goes to ``bad`` with its reason.

    >>> reading = Reading()
    >>> reading.add(np.zeros((3, 1)), "a", "row 1"); reading.part().labels.tolist()
    ['a']
    """

    series: list[Recording] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    bad: list[BadSeries] = field(default_factory=list)

    def add(self, series: Recording, label: str | None, name: str) -> None:
        """One more series (T, C)."""
        self.series.append(series)
        self.labels.append(label)
        self.names.append(name)

    def part(self) -> SeriesPart:
        """What was read, as a split; without labels where no series has one."""
        labelled = any(label is not None for label in self.labels)
        return SeriesPart(self.series, np.array(self.labels, dtype=np.str_) if labelled else None, self.names)


def series_classes(gathered: GatheredSeries) -> tuple[str, ...]:
    """Class names: the source's own order, or those of the training labels in natural order.

    Raises DataError where the training series have no labels.

    >>> part = SeriesPart([np.zeros((5, 1))] * 3, np.array([10, 9, 10]), ["x", "y", "z"])
    >>> series_classes(GatheredSeries("arrays", {"train": part}))
    ('9', '10')
    """
    labels = gathered.parts["train"].labels
    if labels is None:
        raise DataError("the series have no labels: nothing says what they are", expected="a label for each series")
    if gathered.classes is not None:
        return gathered.classes
    return tuple(sorted({str(label) for label in np.unique(labels)}, key=natural_key))


def list_bad_series(bad: Sequence[BadSeries], *, separator: str = "; ") -> str:
    """The first ten series that cannot be used with the reason of each, and the number of the others.

    >>> list_bad_series([("a.csv", "it is empty")])
    'a.csv: it is empty'
    """
    lines = [f"{place}: {reason}" for place, reason in bad[:SHOWN]]
    if len(bad) > SHOWN:
        lines.append(f"… and {len(bad) - SHOWN:,} more")
    return separator.join(lines)


def refuse_bad_series(bad: Sequence[BadSeries], *, total: int, where: object) -> None:
    """Raise one DataError that names the first ten bad series and counts the rest; nothing where there are none.

    >>> refuse_bad_series([], total=3, where="data")
    """
    if bad:
        raise DataError(
            f"{len(bad):,} of {total:,} series cannot be used",
            where=where,
            got=list_bad_series(bad, separator="\n            "),
            do="mend or remove them, or set them aside with skip_bad=True (--skip-bad)",
        )
