"""Whether two ways to train differ, where each was trained with several seeds: what the seeds do counts as well.

Shapes: R runs of one way, U units of the test, K counts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from corecur.engine.intervals import with_error
from corecur.engine.paired_tests import (
    ALPHA,
    Array,
    Difference,
    Score,
    halved,
    paired_difference,
    t_quantile,
    within_t,
)
from corecur.errors import ConfigError


def seed_spread(tables: Sequence[Array], score: Score) -> float | None:
    """The standard deviation of a figure over the runs, tables (U, K) each; None for a single one.

    >>> import numpy as np
    >>> seed_spread([np.array([[3.0, 4.0]]), np.array([[1.0, 4.0]])], lambda total: total[..., 0] / total[..., 1])
    0.3535533905932738
    """
    figures = [float(score(table.sum(0))) for table in tables]
    return float(np.std(figures, ddof=1)) if len(figures) > 1 else None


def repeated_interval(
    interval: tuple[float, float] | None, tables: Sequence[Array], score: Score, bounds: tuple[float, float]
) -> tuple[float, float] | None:
    """The 95 % interval of the mean over runs: that of the test samples, with what the seeds do beside it.

    >>> import numpy as np
    >>> tables = [np.array([[right, 100.0]]) for right in (90.0, 92.0, 88.0)]
    >>> low, high = repeated_interval((0.85, 0.94), tables, lambda total: total[..., 0] / total[..., 1], (0, 1))
    >>> low < 0.85, 0.94 < high < 1
    (True, True)
    """
    spread = seed_spread(tables, score)
    if interval is None or spread is None:
        return interval
    half = t_quantile(1 - ALPHA, len(tables) - 1) * spread / math.sqrt(len(tables))
    figure = float(np.mean([score(table.sum(0)) for table in tables]))
    return with_error(interval, figure, half, bounds)


def repeated_difference(a: Sequence[Array], b: Sequence[Array], score: Score, *, block: int = 1) -> Difference:
    """Two ways to train by the means of their runs: tables (U, K) of the same units, several of one way or of both.

    The paired test over units says what other test samples would do; to its variance comes that of the mean over seeds,
    s² / R of each way (the other's s where one has a single run). p is the mean of those of Student's t with the
    freedom of the units and with that of the seeds (Welch 1947), weighted by their shares of the variance, as Cochran's
    approximation weighs the quantiles: one freedom for both (Satterthwaite) errs too often where few seeds happen to
    lie close. Of very many units it is Welch's test over the seeds. It is never below that of the test over units.

    >>> random = np.random.default_rng(0)
    >>> runs = [np.stack([random.random(300) < share, np.ones(300)], 1) for share in (0.9,) * 3 + (0.6,) * 3]
    >>> found = repeated_difference(runs[:3], runs[3:], lambda total: total[..., 0] / total[..., 1])
    >>> found.difference > 0.2, found.p < 0.05
    (True, True)
    """
    if not a or not b or max(len(a), len(b)) < 2:
        raise ConfigError("this takes several runs of one way to train at least", got=f"{len(a)} and {len(b)}")
    found = paired_difference(np.mean(np.stack(a), 0), np.mean(np.stack(b), 0), score, block=block)
    of_seeds, freedom = _variance_of_seeds(a, b, score)
    variance = of_seeds + found.error**2
    if variance == 0:
        return found
    error, share = math.sqrt(variance), of_seeds / variance

    def within(t: float) -> float:
        return share * within_t(t, freedom) + (1 - share) * within_t(t, max(1, found.units - 1))

    p = max(found.p, 1 - within(abs(found.difference) / error))
    half = halved(lambda t: within(t) < 1 - ALPHA, 100.0) * error
    low, high = min(found.low, found.difference - half), max(found.high, found.difference + half)
    if p > ALPHA:
        low, high = min(low, 0.0), max(high, 0.0)
    return dataclasses.replace(
        found, low=low, high=high, p=p, error=error, test="paired randomisation and seeds", freedom=freedom
    )


def _variance_of_seeds(a: Sequence[Array], b: Sequence[Array], score: Score) -> tuple[float, int]:
    """The variance that the seeds give the difference of the means, and its degrees of freedom (Welch 1947)."""
    spreads = [seed_spread(tables, score) for tables in (a, b)]
    known = [spread for spread in spreads if spread is not None]
    if len(known) < 2:  # one estimate serves both, and is one estimate only
        runs = max(len(a), len(b))
        return known[0] ** 2 * (1 + 1 / runs), runs - 1
    parts = [spread**2 / len(tables) for spread, tables in zip(known, (a, b), strict=True)]
    squares = sum(part**2 / (len(tables) - 1) for part, tables in zip(parts, (a, b), strict=True))
    least = min(len(a), len(b)) - 1
    return sum(parts), max(least, math.floor(sum(parts) ** 2 / squares)) if squares else least
