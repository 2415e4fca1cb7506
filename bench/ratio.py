"""Ratios of times measured side by side: their median, and how far it can be trusted."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """The median of paired ratios with its bootstrap interval.

    >>> Ratio.of([2.0, 2.2, 1.8], [1.0, 1.0, 1.0]).median
    2.0
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, times: Sequence[float], baseline: Sequence[float], *, level: float = 0.95, seed: int = 0) -> Ratio:
        """From the times of two contenders, the k-th of each taken one right after the other."""
        ratios = [mine / other for mine, other in zip(times, baseline, strict=True)]
        low, high = bootstrap(ratios, level=level, seed=seed)
        return cls(statistics.median(ratios), low, high)

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} … {self.high:.3f})"


def bootstrap(
    values: Sequence[float], *, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval of the median over samples drawn with replacement (Efron 1979).

    >>> bootstrap([3.0, 3.0, 3.0])
    (3.0, 3.0)
    """
    if not values:
        raise ValueError("there is nothing to resample")
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(resamples))
    tail = (1 - level) / 2
    last = resamples - 1
    return medians[round(tail * last)], medians[round((1 - tail) * last)]


def in_pairs(blocks: Sequence[float]) -> list[float]:
    """The sums of each two blocks in a row: first and last of an A B B A round, so that a drift cancels.

    >>> in_pairs([1.0, 3.0, 2.0, 2.0])
    [4.0, 4.0]
    """
    return [first + second for first, second in zip(blocks[::2], blocks[1::2], strict=True)]
