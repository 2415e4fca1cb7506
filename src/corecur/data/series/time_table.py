"""Values at regular times: what a forecaster learns from.

Shapes: T time, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from corecur.data.series.frequency import Frequency, later_times
from corecur.data.series.time_stamps import Times
from corecur.errors import ConfigError, DataError, nearest
from corecur.finding import Finding


@dataclass(frozen=True)
class TimeTable:
    """A table over time: values (T, C) float64 without NaN, the names of its columns, and those to forecast.

    ``times`` (T,) are rising datetime64[us] or plain numbers, None where the rows are only counted; ``frequency`` is
    None where they follow no grid. ``made_up`` (T, C) is True where a missing value was filled with the last one
    before it, None where nothing was missing. ``name`` tells the tables of a panel apart.

    >>> table = TimeTable(torch.arange(6.0, dtype=torch.float64).view(3, 2), None, ("load", "wind"), ("load",))
    >>> len(table), table.target_places, table.rows(range(1, 3)).values.shape
    (3, (0,), torch.Size([2, 2]))
    """

    values: Tensor
    times: Times | None
    names: tuple[str, ...]
    targets: tuple[str, ...]
    frequency: Frequency | None = None
    origin: str = "arrays"
    name: str = ""
    made_up: Tensor | None = None
    findings: tuple[Finding, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.values.dim() != 2 or self.values.shape[1] != len(self.names):
            raise DataError(
                "values and names of a table differ in number",
                where=self.origin,
                got=f"values {tuple(self.values.shape)}, names {', '.join(self.names)}",
                expected="values (time, columns), a name for each column",
            )
        if self.times is not None and len(self.times) != len(self.values):
            raise DataError("values and times differ in number", got=f"{len(self.values)} and {len(self.times)}")
        for target in self.targets:
            if target not in self.names:
                raise DataError("the target is no column of the table", where=self.origin, got=target)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def target_places(self) -> tuple[int, ...]:
        """The numbers of the target columns, in the order of ``targets``."""
        return tuple(self.names.index(target) for target in self.targets)

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.origin}, series {self.name!r}" if self.name else self.origin

    def rows(self, rows: range) -> TimeTable:
        """Some rows that follow each other."""
        part = slice(rows.start, rows.stop)
        return replace(
            self,
            values=self.values[part],
            times=None if self.times is None else self.times[part],
            made_up=None if self.made_up is None else self.made_up[part],
        )

    def with_targets(self, targets: Sequence[str]) -> TimeTable:
        """The same table to forecast other columns; raises ConfigError for a name it does not have."""
        for target in targets:
            if target not in self.names:
                guess = nearest(target, self.names)
                raise ConfigError(
                    f"the table has no column {target!r}",
                    got="columns " + ", ".join(self.names),
                    do=f"did you mean {guess!r}?" if guess else None,
                )
        return replace(self, targets=tuple(targets))

    def time_of(self, row: int) -> str:
        """When a row is, in words: its time, or its number where the table has no times.

        >>> TimeTable(torch.zeros(2, 1), None, ("x",), ("x",)).time_of(1)
        'row 2'
        """
        return f"row {row + 1}" if self.times is None else time_words(self.times, row)

    def times_after(self, count: int) -> Times | None:
        """The next ``count`` times after the last row; None where the table has no regular times."""
        if self.times is None or self.frequency is None:
            return None
        return later_times(self.times, self.frequency, count)


def time_words(times: Times, row: int) -> str:
    """One of some times as people write it, no finer than it needs to be.

    >>> import numpy as np
    >>> time_words(np.array(["2020-01-01"], dtype="datetime64[us]"), 0), time_words(np.array([1.5]), 0)
    ('2020-01-01', '1.5')
    """
    if times.dtype.kind != "M":
        return f"{times[row]:g}"
    point = times[row]
    if len(times) > 1 and (times == times.astype("datetime64[M]")).all():
        return str(point.astype("datetime64[M]"))
    if (times == times.astype("datetime64[D]")).all():
        return str(point.astype("datetime64[D]"))
    unit = "m" if (times == times.astype("datetime64[m]")).all() else "s"
    return str(point.astype(f"datetime64[{unit}]")).replace("T", " ")


def check_table(table: TimeTable, rows: range | None = None) -> None:
    """Refuse a table from whose ``rows`` (all, by default) nothing can be learned about a target: it never changes.

    Raises DataError.

    >>> check_table(TimeTable(torch.tensor([[1.0], [2.0]]), None, ("x",), ("x",)))
    """
    values = table.values if rows is None else table.values[rows.start : rows.stop]
    for target, place in zip(table.targets, table.target_places, strict=True):
        column = values[:, place]
        if len(column) and bool(torch.isfinite(column).all()) and bool((column == column[0]).all()):
            raise DataError(
                f"the target {target!r} is {float(column[0]):g} in every row to learn from: nothing to forecast",
                where=table.title,
                got=f"{len(column):,} rows",
                do="name other targets, or give a longer table",
            )
