"""Series to answer for: files, standard input or arrays, and how any of them becomes a network's input.

N series, B batch, T time, C channels.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from corecur.data.batches import Batch
from corecur.data.series.gaps import without_tail
from corecur.data.series.open_series import load_series_split
from corecur.data.series.plain_text import read_text
from corecur.data.series.recordings import BadSeries, Recording, refuse_bad_series
from corecur.data.series.series_augment import SeriesTransform
from corecur.data.series.series_preparation import SeriesPreparation
from corecur.data.series.series_scaling import SeriesScaling
from corecur.data.series.series_set import SeriesSet
from corecur.engine.calibration import COLDEST, HOTTEST
from corecur.errors import DataError
from corecur.finding import Finding
from corecur.layers.masks import mask_of, with_mask

_TABLES = (".csv", ".tsv", ".txt")
_NONE = frozenset({"", "?", "nan", "na"})


class SeriesPreprocess(BaseModel):
    """``preprocess.json``: how a series becomes an input, and between which lengths the training series were."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["series-classification"]
    preparation: SeriesPreparation
    scaling: SeriesScaling
    shortest: int = Field(ge=1, le=2**31 - 1)
    longest: int = Field(ge=1, le=2**31 - 1)
    temperature: float = Field(default=1.0, ge=COLDEST, le=HOTTEST, description="of the probabilities (calibration)")

    def length_findings(self, series: SeriesSet) -> tuple[Finding, ...]:
        """What is said where lengths are far from those learned from."""
        lengths = series.lengths
        outside = int(((lengths * 2 < self.shortest) | (lengths > 2 * self.longest)).sum())
        if not outside:
            return ()
        known = f"{self.shortest:,}" + (f" to {self.longest:,}" if self.longest > self.shortest else "")
        return (
            Finding(
                "lengths",
                f"{outside:,} of {len(series):,} series are less than half or more than twice as long as those learned "
                f"from ({known} steps): answers to them are guesses.",
            ),
        )


class ShortenedTransform:
    """A transform of series whose batches end where their longest series does.

    >>> import torch
    >>> transform = ShortenedTransform(SeriesTransform(SeriesScaling(kind="none")))
    >>> mask = torch.tensor([[True, False, False]])
    >>> transform(Batch((torch.zeros(1, 3, 1), mask), index=torch.tensor([0])), 0).inputs.shape
    torch.Size([1, 1, 1])
    """

    def __init__(self, transform: SeriesTransform) -> None:
        self.transform = transform

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        made = self.transform(batch, epoch)
        inputs = made.inputs
        mask = mask_of(inputs)
        if mask is None or not isinstance(inputs, Tensor):
            return made
        return made._replace(inputs=shortened(inputs, mask))


def shortened(values: Tensor, mask: Tensor) -> Tensor:
    """Values (B, T, C) up to the last real step of any, (B, T', C), carrying the mask where one is still needed.

    >>> import torch
    >>> shortened(torch.zeros(2, 5, 1), torch.tensor([[True] * 3 + [False] * 2] * 2)).shape
    torch.Size([2, 3, 1])
    """
    steps = max(1, int(mask.any(0).sum()))
    values, mask = values[:, :steps], mask[:, :steps]
    return values if bool(mask.all()) else with_mask(values, mask)


def read_inputs(source: Any, preprocess: SeriesPreprocess, *, skip_bad: bool = False) -> list[SeriesSet]:
    """The series of every source, without labels, prepared as those the model was trained on.

    ``source`` is a path, several of them, ``-`` for standard input, one array (T,) or (T, C), an array (N, T, C), or
    (N, T) for a model of one channel, or a list of arrays. Of text, every row of numbers is a series for a model of one
    channel (a label before them is left out); for a model of several, every row is a step, and an empty line parts
    series. Raises DataError for what is none of these and for other channels.
    """
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    if isinstance(source, (list, tuple)) and source and all(isinstance(one, (str, os.PathLike)) for one in source):
        return [_read(Path(one), preprocess, skip_bad=skip_bad) for one in source]
    single = _as_one(source, channels=len(preprocess.preparation.channels))
    read, _ = load_series_split(
        source if single is None else [single], classes=(), preparation=preprocess.preparation, skip_bad=skip_bad,
        labelled=False,
    )  # fmt: skip
    return [_named(read, "series")]


def _as_one(source: Any, *, channels: int) -> Any | None:
    """One series (T,) or (T, C), where the values are that and not several series."""
    if isinstance(source, (list, tuple)) and source and np.ndim(source[0]) > 0:
        return None
    values = np.asarray(source, dtype=np.float64) if isinstance(source, (list, tuple)) else source
    shape = tuple(getattr(values, "shape", ()))
    return values if len(shape) == 1 or (len(shape) == 2 and shape[1] == channels) else None


def _read(path: Path, preprocess: SeriesPreprocess, *, skip_bad: bool) -> SeriesSet:
    standard = str(path) == "-"
    text = sys.stdin.read() if standard else None
    if text is None and path.suffix.casefold() in _TABLES and path.expanduser().is_file():
        text = read_text(path.expanduser())
    name = "standard input" if standard else str(path)
    found = None if text is None else _series_in(text, preprocess, where=name)
    if found is not None:
        return _named(_prepared(found, preprocess, where=name, skip_bad=skip_bad), "-" if standard else name)
    if standard:
        names = preprocess.preparation.channels
        several = f"a step a row, {len(names)} numbers parted by commas ({', '.join(names[:6])})"
        expected = "a series a row, numbers parted by commas" if len(names) == 1 else several
        raise DataError("there are no series here", where=name, expected=expected)
    read, _ = load_series_split(path, classes=(), preparation=preprocess.preparation, skip_bad=skip_bad, labelled=False)
    return _named(read, name)


def _named(series: SeriesSet, name: str) -> SeriesSet:
    """The series called after where they are from, with their number where they are several."""
    names = (name,) if len(series) == 1 else tuple(f"{name}[{number}]" for number in range(len(series)))
    return SeriesSet(series.values, series.mask, None, names)


def _prepared(found: Sequence[Recording], preprocess: SeriesPreprocess, *, where: str, skip_bad: bool) -> SeriesSet:
    preparation = preprocess.preparation
    reasons = [preparation.objection(one) for one in found]
    bad: list[BadSeries] = [(f"series {n}", reason) for n, reason in enumerate(reasons) if reason is not None]
    kept = [one for one, reason in zip(found, reasons, strict=True) if reason is None]
    if not skip_bad or not kept:
        refuse_bad_series(bad, total=len(found), where=where)
    values, mask = preparation.padded(kept)
    return SeriesSet(values, mask, None, tuple(f"series {n}" for n in range(len(kept))))


def _series_in(text: str, preprocess: SeriesPreprocess, *, where: str) -> list[Recording] | None:
    """Series (T, C) written as rows of numbers, or None where the text is something else, as a table with a header."""
    if not text.strip():
        raise DataError("there are no series here", where=where, got="nothing", expected="rows of numbers")
    channels = len(preprocess.preparation.channels)
    blocks = list(_blocks(text))
    if channels > 1:
        tables = [_table(block, preprocess.preparation.channels) for block in blocks]
        return None if any(table is None for table in tables) else [table for table in tables if table is not None]
    rows = [row for block in blocks for row in block]
    if all(len(row) == 1 for row in rows):
        table = _table(rows, preprocess.preparation.channels)
        return None if table is None else [table]
    numbers = [[_number(cell) for cell in row] for row in rows]
    if any(len(row) < 3 or None in row[1:] for row in numbers):
        return None
    first = 1 if _label_first(rows, preprocess) else 0
    return [without_tail(np.array(row[first:], dtype=np.float64)[:, None]) for row in numbers]


def _blocks(text: str) -> Iterator[list[list[str]]]:
    """The rows of cells between empty lines."""
    block: list[list[str]] = []
    for line in (*text.splitlines(), ""):
        if line.strip():
            block.append(_cells(line))
        elif block:
            yield block
            block = []


def _cells(line: str) -> list[str]:
    """The cells of a line, parted by tabs, semicolons or commas, and where there are none by blanks."""
    mark = next((mark for mark in "\t;," if mark in line.strip()), None)
    return [cell.strip() for cell in line.strip().split(mark)]


def _table(rows: Sequence[Sequence[str]], channels: Sequence[str]) -> Recording | None:
    """Rows of steps as a series (T, C), under a header of the channels' names or without; None for another table."""
    order = list(range(len(channels)))
    header = [_number(cell) is None for cell in rows[0]]
    if any(header):
        if not set(channels) <= set(rows[0]):
            return None
        order, rows = [rows[0].index(name) for name in channels], rows[1:]
    width = len(header) if any(header) else len(channels)
    if not rows or any(len(row) != width for row in rows):
        return None
    numbers = [[_number(row[place]) for place in order] for row in rows]
    if any(number is None for row in numbers for number in row):
        return None
    return without_tail(np.array(numbers, dtype=np.float64))


def _label_first(rows: Iterable[Sequence[str]], preprocess: SeriesPreprocess) -> bool:
    """Whether rows begin with a label: no number, or a whole one that makes the row longer than all learned from."""
    rows = list(rows)
    if any(_number(row[0]) is None for row in rows):
        return True
    whole = all(float(_number(row[0]) or 0).is_integer() for row in rows)
    return whole and min(len(row) for row in rows) == preprocess.longest + 1


def _number(cell: str) -> float | None:
    """A cell as a number, NaN where it says that one is missing, None where it is text."""
    if cell.casefold() in _NONE:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None
