"""Which samples are nearly the same, judged by how near samples of this set usually are to each other.

A fixed threshold calls every pair of handwritten ones a copy, or misses re-encoded photographs. Here a pair counts only
where it is far nearer than the tenth neighbour of both, and nearer than chance puts any pair of so many samples: in m
dimensions the volumes of two balls about a point, with its first and its tenth neighbour on them, are as (d1 / d10) to
the power m / 2 (d: squared distances), and a share of at most 9 times that of all samples has a smaller one by chance.

Shapes: N samples, F numbers that describe one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

#: Samples compared with each other at most; the time grows with the square of their number.
MOST_COMPARED = 100_000
_FAR = 10
# Rows of a block of distances, and how many distances it has at most, whatever the number of samples.
_BLOCK, _ROOM = 1024, 4_000_000
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

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]
    usual: NDArray[np.float64]
    dimension: float

    def pairs(self, share: float) -> list[tuple[int, int, float]]:
        """Pairs (earlier, later, distance) nearer than a share of the usual distance of both, each once.

        >>> near = Neighbours(np.array([[1], [0]]), np.full((2, 1), 0.01, np.float32), np.ones(2), 9.0)
        >>> [pair[:2] for pair in near.pairs(0.5)]
        [(0, 1)]
        """
        found: dict[tuple[int, int], float] = {}
        for row, place in zip(*np.nonzero(self.distances < share * self.usual[:, None]), strict=True):
            other = int(self.rows[row, place])
            if self.distances[row, place] < share * self.usual[other]:
                found[min(int(row), other), max(int(row), other)] = float(self.distances[row, place])
        return sorted((a, b, d) for (a, b), d in found.items())

    def by_chance(self, distance: float, pair: tuple[int, int]) -> float:
        """How many pairs of so many samples are expected to be as near as this one by chance.

        >>> near = Neighbours(np.zeros((9, 1), np.int64), np.zeros((9, 1), np.float32), np.ones(9), 4.0)
        >>> round(near.by_chance(0.1, (0, 1)), 2)
        0.81
        """
        share = distance / min(self.usual[pair[0]], self.usual[pair[1]])
        return float(len(self.usual) * (_FAR - 1) * share ** (self.dimension / 2))

    def copies(self) -> list[tuple[int, int]]:
        """Pairs (earlier, later) that are nearly the same.

        >>> near = Neighbours(np.array([[1], [0]]), np.full((2, 1), 0.01, np.float32), np.ones(2), 9.0)
        >>> near.copies()
        [(0, 1)]
        """
        return [(a, b) for a, b, d in self.pairs(COPY) if self.by_chance(d, (a, b)) < 1]


def neighbours(described: NDArray[np.float32], *, most: int = 5, crowded: bool = False) -> Neighbours:
    """The ``most`` nearest of each of N samples, described by rows (N, F) of norm 1; rows of zeros are near nothing.

    Where ten copies of one sample may stand, ``crowded`` keeps the usual distance from shrinking to theirs. Of few
    samples distances are compared with a fixed one.

    >>> random = np.random.default_rng(0).standard_normal((200, 30)).astype(np.float32)
    >>> random[7] = random[3] + 0.05 * random[9]
    >>> neighbours(random / np.linalg.norm(random, axis=1, keepdims=True)).copies()
    [(3, 7)]
    """
    count = min(len(described), MOST_COMPARED)
    kept = min(max(_FAR, most), max(count - 1, 1))
    rows, distances = np.zeros((count, kept), np.int64), np.full((count, kept), np.inf, np.float32)
    if count < 2:
        return Neighbours(rows[:, :0], distances[:, :0], np.full(count, _USUAL), 1.0)
    known = torch.from_numpy(np.ascontiguousarray(described[:count]))
    empty = (known.abs().sum(1) == 0).nonzero().flatten()
    block = min(_BLOCK, max(1, _ROOM // count))
    for start in range(0, count, block):
        near = known[start : start + block] @ known.T  # (B, N)
        near[:, empty] = -1.0
        near[torch.arange(len(near)), torch.arange(start, start + len(near))] = -2.0
        values, index = near.topk(kept, dim=1)
        rows[start : start + len(near)] = index.numpy()
        distances[start : start + len(near)] = (1 - values).clamp_min(0).numpy()
    distances[empty.numpy()] = np.inf
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
