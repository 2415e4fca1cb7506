"""What a forecaster is trained on: tables over time, cut into training, validation and test rows.

T time, C columns.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from corecur.data.series.open_tables import load_tables
from corecur.data.series.series_samples import SERIES_SAMPLES
from corecur.data.series.time_splits import Part, split_in_time
from corecur.data.series.time_stamps import could_be_time
from corecur.data.series.time_table import TimeTable, check_table
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding, remark

# Shares of the rows where nothing is asked for; a part holds one horizon at least.
VALIDATION, TEST = 0.1, 0.2
_LARGEST = 1e100


class ForecastReading(BaseModel):
    """How a table is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: tuple[str, ...] | None = Field(None, description="columns to forecast, by default all that are numeric")
    time_column: str | None = Field(None, description="the column of times, by default found by name and content")
    series_column: str | None = Field(None, description="the column that tells the series of a panel apart")
    rows: int | None = Field(None, ge=2, description="use only the first so many rows of each series")
    fill_gaps: bool = Field(True, description="put in rows that are missing in the grid of times")


class Stretch(NamedTuple):
    """Rows of a table whose values are forecast; windows may look back into the rows before them."""

    table: TimeTable
    rows: range

    @property
    def values(self) -> Tensor:
        """The rows, (T, C)."""
        return self.table.values[self.rows.start : self.rows.stop]


@dataclass(frozen=True)
class ForecastData:
    """Tables of the same columns, and which of their rows are for what; several tables are the series of a panel."""

    origin: str
    kind: str
    tables: tuple[TimeTable, ...]
    train: tuple[Stretch, ...] = ()
    validation: tuple[Stretch, ...] = ()
    test: tuple[Stretch, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What is forecast."""
        return self.tables[0].names

    @property
    def train_values(self) -> Tensor:
        """All training rows, (T, C) float64."""
        return torch.cat([stretch.values for stretch in self.train])


def read_tables(source: Any, reading: ForecastReading) -> tuple[TimeTable, ...]:
    """The tables of a source, with the columns to forecast and nothing else.

    A source is what `load_tables` takes. Raises DataError.

    >>> (table,) = read_tables("demand", ForecastReading(target=("load",), rows=48))
    >>> table.names, len(table)
    (('load',), 48)
    """
    tables = load_tables(
        source, time=reading.time_column, targets=reading.target, columns=reading.target, id=reading.series_column,
        fill_gaps=reading.fill_gaps,
    )  # fmt: skip
    if reading.rows is None:
        return tables
    for table in tables:
        if len(table) < reading.rows:
            raise DataError(
                "the table has fewer rows than are to be used",
                where=table.title,
                got=f"{len(table):,} rows, rows={reading.rows:,}",
                do="leave the setting rows out",
            )
    return tuple(_first_rows(table, reading.rows) for table in tables)


def _first_rows(table: TimeTable, count: int) -> TimeTable:
    notes = [remark(f"The first {count:,} of {len(table):,} rows are used.")] if count < len(table) else []
    return dataclasses.replace(table.rows(range(count)), findings=(*table.findings, *notes))


def split_tables(
    data: ForecastData, *, horizon: int, reading: ForecastReading, validation: Any = None, test: Any = None
) -> ForecastData:
    """The data cut in time; ``validation`` and ``test`` are shares, numbers of rows, dates, or sources of their own.

    By default a tenth and a fifth of the rows, and one horizon at least. Series of a panel that are too short are left
    out. Raises DataError where all are.
    """
    cut: dict[str, list[Stretch]] = {"train": [], "validation": [], "test": []}
    findings, short = list(data.findings), []
    for table in data.tables:
        parts = [
            part_in(asked) if asked is not None else max(horizon, round(share * len(table)))
            for asked, share in ((validation, VALIDATION), (test, TEST))
        ]
        try:
            splits = split_in_time(table, validation=parts[0], test=parts[1])
        except DataError as error:
            short.append((table, error))
            continue
        for name in cut:
            rows = getattr(splits, name)
            if rows is not None:
                cut[name].append(Stretch(table, rows))
        findings += [note for note in splits.notes if note not in findings]
    if not cut["train"]:
        raise short[0][1]
    if short:
        named = ", ".join(repr(table.name) for table, _ in short[:5]) + (" …" if len(short) > 5 else "")
        findings.append(remark(f"{len(short):,} series are too short to learn from and were left out: {named}."))
    for name, source in (("validation", validation), ("test", test)):
        if source is not None and part_in(source) is None:
            own = _own_tables(source, data, reading)
            cut[name] = [Stretch(table, range(len(table))) for table in own]
            findings += [
                dataclasses.replace(note, verdict=f"{name}: {note.verdict}") for table in own for note in table.findings
            ]
    train, held, tested = (tuple(cut[name]) for name in ("train", "validation", "test"))
    return dataclasses.replace(data, train=train, validation=held, test=tested, findings=tuple(findings))


def part_in(value: Any) -> Part:
    """A validation or test argument as a share, a number of rows or a date; None where it is a source of its own.

    >>> part_in("0.2"), part_in("2880"), part_in("2017-07-01"), part_in("later.csv")
    (0.2, 2880, '2017-07-01', None)
    """
    if isinstance(value, str):
        text = value.strip()
        if could_be_time(text):
            return text
        try:
            value = float(text)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if value < 0 or (value >= 1 and value != int(value)):
        raise ConfigError(
            "this is no part of a table", got=value, expected="a share below 1, a number of rows, or a date"
        )
    return int(value) if value >= 1 else float(value)


def _own_tables(source: Any, data: ForecastData, reading: ForecastReading) -> tuple[TimeTable, ...]:
    """The tables of a validation or test source, which must be like those of the training data."""
    wanted = reading.model_copy(update={"target": data.columns, "rows": None})
    tables = read_tables(source, wanted)
    for table in tables:
        check_like(table, data.tables[0].frequency)
    return tables


def check_like(table: TimeTable, frequency: object) -> None:
    """Refuse a table whose rows are further apart in time, or closer, than those of the training data (DataError)."""
    if frequency is not None and table.frequency is not None and table.frequency != frequency:
        raise DataError(
            "the rows of this table are not as far apart as those the model learns from",
            where=table.title,
            got=f"one row each {table.frequency}",
            expected=f"one row each {frequency}",
            do="resample the table",
        )


def unseen_rows(stretches: list[Stretch], seen_until: str | None, horizon: int) -> tuple[list[Stretch], list[Finding]]:
    """The rows of dated tables after the last one that training and validation saw, and what is to be said of them.

    All rows where there are no dates, where all are later, and where no horizon is left.

    >>> (table,) = read_tables("demand", ForecastReading(rows=240))
    >>> (later,), notes = unseen_rows([Stretch(table, range(240))], "2024-01-05T23:00:00", 24)
    >>> later.rows, notes[0].verdict
    (range(120, 240), 'Tested on the rows from 2024-01-06 00:00 on; training or validation saw those before.')
    """
    later: list[Stretch] = []
    for table, rows in stretches:
        if seen_until is None or table.times is None or table.times.dtype.kind != "M":
            return stretches, []
        first = int(np.searchsorted(table.times, np.datetime64(seen_until, "us"), side="right"))
        if first == 0:
            return stretches, []
        if len(rows) - first >= horizon:
            later.append(Stretch(table, range(first, len(rows))))
    if not later:
        verdict = "Training or validation saw these rows: the errors on new ones will be larger."
        return stretches, [Finding("seen", verdict)]
    start = min(stretch.table.time_of(stretch.rows.start) for stretch in later)
    return later, [remark(f"Tested on the rows from {start} on; training or validation saw those before.")]


def check_size(data: ForecastData) -> None:
    """Refuse numbers so large that their squares are infinite (DataError)."""
    for table in data.tables:
        large = (table.values.abs() > _LARGEST).nonzero()
        if len(large):
            row, place = large[0].tolist()
            raise DataError(
                f"the column {table.names[place]!r} holds a number too large to compute with",
                where=f"{table.title}, {table.time_of(row)}",
                got=f"{float(table.values[row, place]):g}",
                do="leave the cell empty, or give the column in larger units",
            )


def without_constants(data: ForecastData, *, named: bool) -> ForecastData:
    """The data without columns that never change in the training rows; DataError where they were asked for by name.

    A column that is constant in all rows to learn from holds nothing to learn.
    """
    values = data.train_values
    constant = [name for name, column in zip(data.columns, values.T, strict=True) if bool((column == column[0]).all())]
    if not constant:
        return data
    kept = [place for place, name in enumerate(data.columns) if name not in constant]
    if named or not kept:
        for stretch in data.train:
            check_table(stretch.table, stretch.rows)
    names = tuple(data.columns[place] for place in kept)

    def narrow(table: TimeTable) -> TimeTable:
        made_up = None if table.made_up is None else table.made_up[:, kept]
        return dataclasses.replace(table, values=table.values[:, kept], names=names, targets=names, made_up=made_up)

    shown = ", ".join(map(repr, constant[:5])) + (" …" if len(constant) > 5 else "")
    train, validation, test = (
        tuple(Stretch(narrow(stretch.table), stretch.rows) for stretch in part)
        for part in (data.train, data.validation, data.test)
    )
    note = remark(f"Columns that never change in the training rows were left out: {shown}.", kind="constant")
    return ForecastData(
        data.origin, data.kind, tuple(map(narrow, data.tables)), train, validation, test, (*data.findings, note)
    )


def kind_of(source: Any) -> str:
    """Which form a source has, in a word.

    >>> kind_of("demand"), kind_of("a.csv"), kind_of([1.0, 2.0])
    ('sample', 'csv', 'arrays')
    """
    if isinstance(source, str) and source in SERIES_SAMPLES:
        return "sample"
    if isinstance(source, (str, os.PathLike)):
        return Path(source).suffix.casefold().lstrip(".") or "csv"
    return "arrays"


def splits_of(data: ForecastData) -> Sequence[tuple[str, tuple[Stretch, ...]]]:
    """The parts by name, in the order of time."""
    return ("training", data.train), ("validation", data.validation), ("test", data.test)
