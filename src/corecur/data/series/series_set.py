"""Labelled series in memory, padded to one length, with a mask where their lengths differ.

Shapes: N samples, T time (of the longest series), C channels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from corecur.data.series.series_preparation import SeriesPreparation
from corecur.errors import DataError
from corecur.finding import Finding


@dataclass(frozen=True)
class SeriesSet:
    """Series of one split: values (N, T, C) float32, mask (N, T) or None, class numbers (N,) int64 or None, names (N).

    The mask is True at real steps and None where every series fills all T; values at padded steps are 0.

    >>> series = SeriesSet(torch.zeros(3, 20, 1), None, torch.tensor([0, 1, 1]), ("a", "b", "c"))
    >>> len(series), series.take(torch.tensor([2, 0])).names
    (3, ('c', 'a'))
    """

    values: Tensor
    mask: Tensor | None
    labels: Tensor | None
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        fields = (field for field in (self.values, self.mask, self.labels) if field is not None)
        counts = {len(self.names), *map(len, fields)}
        if len(counts) > 1:
            raise DataError("series, masks, labels and names differ in number", got=sorted(counts))
        if self.values.dim() != 3 or (self.mask is not None and self.mask.shape != self.values.shape[:2]):
            mask = None if self.mask is None else tuple(self.mask.shape)
            raise DataError(
                "these are no padded series",
                got=f"values {tuple(self.values.shape)}, mask {mask}",
                expected="values (series, time, channels), and a mask (series, time) or none",
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def lengths(self) -> Tensor:
        """How many steps of each series are real, (N,) int64."""
        if self.mask is None:
            return torch.full((len(self),), self.values.shape[1], dtype=torch.int64)
        return self.mask.sum(1)

    @property
    def inputs(self) -> Tensor | tuple[Tensor, Tensor]:
        """What batches are made of: the values, or, where lengths differ, values and mask."""
        return self.values if self.mask is None else (self.values, self.mask)

    def contents(self) -> list[bytes]:
        """A digest of the real values of each series."""
        rows = zip(self.values.numpy(), self.lengths.tolist(), strict=True)  # (T, C) each
        return [hashlib.blake2b(np.ascontiguousarray(row[:n]).data, digest_size=16).digest() for row, n in rows]

    def take_values(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """The values (M, T, C) and the mask (M, T) or None of the samples at ``index`` (M,) int64."""
        return self.values[index], None if self.mask is None else self.mask[index]

    def take(self, index: Tensor) -> SeriesSet:
        """The samples at ``index`` (M,) int64, in that order."""
        values, mask = self.take_values(index)
        labels = None if self.labels is None else self.labels[index]
        return SeriesSet(values, mask, labels, tuple(self.names[i] for i in index.tolist()))


@dataclass(frozen=True)
class SeriesSource:
    """Everything a source of labelled series holds, prepared, with what is odd about it in ``findings``.

    ``classes[k]`` is the name of class number k. A split the source does not have is None. The splits may differ in T.
    """

    origin: str
    kind: str
    classes: tuple[str, ...]
    train: SeriesSet
    validation: SeriesSet | None
    test: SeriesSet | None
    preparation: SeriesPreparation
    findings: tuple[Finding, ...]
