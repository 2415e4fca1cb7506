"""How far a mean of values that resemble their neighbours can be trusted: the bootstrap by blocks.

Shapes: N values in the order of time, K kinds of values, R resamples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from corecur.errors import ConfigError, ShapeError

RESAMPLES = 2000
# An interval from fewer independent pieces than this says more than is known.
LEAST_BLOCKS = 5


def resampled_means(
    values: NDArray[np.float64], *, block: int, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """Means of ``resamples`` series made of blocks drawn from the values: (N,) -> (R,), (N, K) -> (R, K).

    Neighbouring values (errors of windows that overlap) are alike, so single values drawn at random would make the mean
    look surer than it is. Drawn are blocks of ``block`` neighbours, which keep the likeness within them; the series is
    taken as a circle, so that every value is drawn equally often (Politis & Romano 1992). The same seed gives the same
    means, and the columns of one call are drawn together, so that their differences are those of pairs. Raises
    ConfigError for a block below 1, ShapeError where there are no values.

    >>> means = resampled_means(np.array([1.0, 1.0, 3.0, 3.0]), block=2, resamples=500)
    >>> means.shape, round(float(means.mean()), 1)
    ((500,), 2.0)
    """
    if block < 1 or resamples < 1:
        raise ConfigError("blocks and resamples are counted from 1", got=f"block {block}, {resamples} resamples")
    count = len(values)
    if values.ndim not in (1, 2) or not count:
        raise ShapeError("the bootstrap takes values in the order of time", got=values.shape, expected="(N,) or (N, K)")
    block = min(block, count)
    table = values.reshape(count, -1)  # (N, K)
    # Sums over every block of the circle, so that a resample is a sum of a few of them.
    total = np.concatenate([np.zeros((1, table.shape[1])), np.cumsum(np.concatenate([table, table[:block]]), axis=0)])
    sums = total[block : block + count] - total[:count]  # (N, K)
    drawn = math.ceil(count / block)
    starts = np.random.default_rng(seed).integers(0, count, (resamples, drawn))
    means = np.stack([column[starts].mean(1) for column in sums.T], axis=1) / block  # (R, K)
    return means[:, 0] if values.ndim == 1 else means


def block_interval(
    values: NDArray[np.float64], *, block: int, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """The middle ``level`` of the resampled means of values (N,); None where they hold fewer than five blocks.

    >>> values = np.sin(np.arange(400.0))
    >>> low, high = block_interval(values, block=20)
    >>> low < float(values.mean()) < high, block_interval(values[:80], block=20)
    (True, None)
    """
    if not 0 < level < 1:
        raise ConfigError("confidence level out of range", got=level, expected="between 0 and 1, often 0.95")
    if len(values) < LEAST_BLOCKS * block:
        return None
    means = resampled_means(values, block=block, seed=seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
