"""Whether two ways to train differ, where each was trained with several seeds: what the seeds do counts as well.

Shapes: R runs of one way, U units of the test, K counts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from corecur.engine.paired_tests import ALPHA, Array, Difference, Score, paired_difference, t_quantile, within_t
from corecur.errors import ConfigError


def seed_spread(tables: Sequence[Array], score: Score) -> float | None:
    """The standard deviation of a figure over the runs, tables (U, K) each; None for a single one.

    >>> import numpy as np
    >>> seed_spread([np.array([[3.0, 4.0]]), np.array([[1.0, 4.0]])], lambda total: total[..., 0] / total[..., 1])
    0.3535533905932738
    """
    figures = [float(score(table.sum(0))) for table in tables]
    return float(np.std(figures, ddof=1)) if len(figures) > 1 else None


def repeated_difference(a: Sequence[Array], b: Sequence[Array], score: Score, *, block: int = 1) -> Difference:
    """Two ways to train by the means of their runs: tables (U, K) of the same units, several of one way or of both.

    The paired test over units says what other test samples would do; to its variance comes that of the mean over seeds,
    s² / R of each way (the other's s where one has a single run), and p is that of Student's t with the degrees of
    freedom of both parts (Satterthwaite 1946). It is never below that of the test over units.

    >>> random = np.random.default_rng(0)
    >>> runs = [np.stack([random.random(300) < share, np.ones(300)], 1) for share in (0.9, 0.9, 0.6, 0.6)]
    >>> found = repeated_difference(runs[:2], runs[2:], lambda total: total[..., 0] / total[..., 1])
    >>> found.difference > 0.2, found.p < 0.05
    (True, True)
    """
    if not a or not b or max(len(a), len(b)) < 2:
        raise ConfigError("this takes several runs of one way to train at least", got=f"{len(a)} and {len(b)}")
    found = paired_difference(np.mean(np.stack(a), 0), np.mean(np.stack(b), 0), score, block=block)
    spreads = [seed_spread(tables, score) for tables in (a, b)]
    known = [spread for spread in spreads if spread is not None]
    of_seeds = sum(
        (max(known) if spread is None else spread) ** 2 / len(tables)
        for spread, tables in zip(spreads, (a, b), strict=True)
    )
    freedom_of_seeds = sum(len(tables) - 1 for tables in (a, b))
    variance = found.error**2 + of_seeds
    if variance == 0:
        return found
    parts = found.error**4 / max(1, found.units - 1) + of_seeds**2 / freedom_of_seeds
    freedom = max(1, math.floor(variance**2 / parts)) if parts else max(1, found.units - 1)
    error = math.sqrt(variance)
    p = max(found.p, 1 - within_t(abs(found.difference) / error, freedom))
    half = t_quantile(1 - ALPHA, freedom) * error
    low, high = min(found.low, found.difference - half), max(found.high, found.difference + half)
    if p > ALPHA:
        low, high = min(low, 0.0), max(high, 0.0)
    return dataclasses.replace(found, low=low, high=high, p=p, error=error, test="paired randomisation and seeds")
