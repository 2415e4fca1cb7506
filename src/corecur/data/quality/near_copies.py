"""Which samples are nearly the same, judged by how near samples of this set usually are to each other.

A fixed threshold calls every pair of handwritten ones a copy, or misses re-encoded photographs. Here a pair counts only
where it is far nearer than the tenth neighbour of both, and nearer than chance puts any pair of so many samples: in m
dimensions the volumes of two balls about a point, with its first and its tenth neighbour on them, are as (d1 / d10) to
the power m / 2 (d: squared distances), and a share of at most 9 times that of all samples has a smaller one by chance.

Shapes: N samples, F numbers that describe one, B rows and C columns of a block of distances, P pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.data.quality.row_file import Rows

#: Samples compared with each other at most; the time grows with the square of their number.
MOST_COMPARED = 100_000
_FAR = 10
# Rows and columns of a block of distances, whatever the number of samples.
_BLOCK, _ACROSS = 512, 2048
#: A pair nearer than this share of the distance to the tenth neighbours is a copy, if chance does not explain it.
COPY = 0.08
#: A pair nearer than this share may be one that was cut or moved: it is worth a second look.
DOUBTFUL = 0.75
#: Below so many samples nothing is known of usual distances.
_FEWEST, _USUAL = 12, 0.2


@dataclass(frozen=True)
class Neighbours:
    """The nearest samples of each: their rows (N, k), squared distances (N, k), and the usual distance there (N,).

    >>> near = Neighbours(np.array([[1], [0]]), np.full((2, 1), 0.01, np.float32), np.ones(2), 9.0)
    >>> near.dimension
    9.0
    """

    rows: NDArray[np.int32]
    distances: NDArray[np.float32]
    usual: NDArray[np.float64]
    dimension: float

    def pairs(self, share: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Pairs (P, 2), earlier and later, nearer than a share of the usual distance of both, each once; and how near.

        >>> near = Neighbours(np.array([[1], [0]]), np.full((2, 1), 0.01, np.float32), np.ones(2), 9.0)
        >>> near.pairs(0.5)[0].tolist()
        [[0, 1]]
        """
        bound = (share * self.usual)[:, None]
        row, place = np.nonzero((self.distances < bound) & (self.distances < bound[self.rows, 0]))
        row = row.astype(np.int32)
        other, distance = self.rows[row, place].astype(np.int32), self.distances[row, place]
        pairs = np.stack([np.minimum(row, other), np.maximum(row, other)], 1)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs, distance = pairs[order], distance[order]
        fresh = np.ones(len(pairs), bool)
        fresh[1:] = (pairs[1:] != pairs[:-1]).any(1)
        return pairs[fresh], distance[fresh]

    def copies(self) -> list[tuple[int, int]]:
        """Pairs (earlier, later) that are nearly the same.

        >>> near = Neighbours(np.array([[1], [0]]), np.full((2, 1), 0.01, np.float32), np.ones(2), 9.0)
        >>> near.copies()
        [(0, 1)]
        """
        pairs, distances = self.pairs(COPY)
        share = distances / self.usual[pairs].min(1)
        by_chance = len(self.usual) * (_FAR - 1) * share ** (self.dimension / 2)
        return [(a, b) for a, b in pairs[by_chance < 1].tolist()]


def neighbours(described: Rows, *, most: int = 5, crowded: bool = False) -> Neighbours:
    """The ``most`` nearest of each of N samples, described by rows (N, F) of norm 1; rows of zeros are near nothing.

    Where ten copies of one sample may stand, ``crowded`` keeps the usual distance from shrinking to theirs. Of few
    samples distances are compared with a fixed one. Beside the rows, which may lie on a disk, no more than a block of
    distances and ten neighbours a sample are in memory.

    >>> random = np.random.default_rng(0).standard_normal((200, 30)).astype(np.float32)
    >>> random[7] = random[3] + 0.05 * random[9]
    >>> neighbours(random / np.linalg.norm(random, axis=1, keepdims=True)).copies()
    [(3, 7)]
    """
    count = min(len(described), MOST_COMPARED)
    kept = min(max(_FAR, most), max(count - 1, 1))
    rows, distances = np.zeros((count, kept), np.int32), np.full((count, kept), np.inf, np.float32)
    if count < 2:
        return Neighbours(rows[:, :0], distances[:, :0], np.full(count, _USUAL), 1.0)
    for start in range(0, count, _BLOCK):
        near = _piece(described, start, min(start + _BLOCK, count))
        values, index = _nearest(near, start, described, count, kept)
        values[near.abs().sum(1) == 0] = -math.inf
        rows[start : start + len(near)] = index.numpy()
        distances[start : start + len(near)] = (1 - values).clamp_min(0).numpy()
    usual, dimension = np.full(count, _USUAL), 10.0
    if count >= _FEWEST:
        far = distances[:, min(_FAR, kept) - 1].astype(np.float64)
        finite = far[np.isfinite(far)]
        middle = float(np.median(finite)) if len(finite) else _USUAL
        usual = np.where(np.isfinite(far), np.maximum(far, middle / 4 if crowded else 0.0), middle)
        halfway = distances[:, min(_FAR, kept) // 2 - 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = float(np.nanmedian(halfway / far)) if len(finite) else 0.5
        dimension = 2 * math.log(0.5) / math.log(min(max(ratio, 1e-3), 0.97))
    return Neighbours(rows[:, :most], distances[:, :most], np.maximum(usual, 1e-9), dimension)


def _piece(described: Rows, start: int, stop: int) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(described[start:stop]))


def _nearest(near: Tensor, start: int, described: Rows, count: int, kept: int) -> tuple[Tensor, Tensor]:
    """Products with the nearest of all rows, and where those stand: (B, kept) each; ``near`` begins at ``start``."""
    values = torch.full((len(near), 0), 0.0)
    index = torch.zeros(len(near), 0, dtype=torch.int64)
    for first in range(0, count, _ACROSS):
        across = _piece(described, first, min(first + _ACROSS, count))
        products = near @ across.T  # (B, C)
        products[:, across.abs().sum(1) == 0] = -1.0
        low, high = max(start, first), min(start + len(near), first + len(across))
        own = torch.arange(low, max(low, high))  # rows and columns of the same samples
        products[own - start, own - first] = -2.0
        best, place = products.topk(min(kept, len(across)), dim=1)
        best, place = torch.cat([values, best], 1), torch.cat([index, place + first], 1)
        values, order = best.topk(min(kept, best.shape[1]), dim=1)
        index = place.gather(1, order)
    return values, index
