"""How far a measured share can be trusted."""

from __future__ import annotations

import math
from statistics import NormalDist

from corecur.errors import ConfigError


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a share: every p that a two-sided score test of ``level`` would not refuse.

    The ends solve (k/n - p)² = z² p (1 - p) / n (Wilson 1927, "Probable inference, the law of succession, and
    statistical inference"). It stays inside [0, 1] and has a width at 0 and at n successes. Raises ConfigError.

    >>> low, high = wilson(354, 360)
    >>> f"{low:.4f} {high:.4f}"
    '0.9641 0.9923'
    """
    if not (n >= 1 and 0 <= successes <= n):
        raise ConfigError("no share to put an interval on", got=f"{successes} of {n}", expected="0 <= successes <= n")
    if not 0 < level < 1:
        raise ConfigError("confidence level out of range", got=level, expected="between 0 and 1, often 0.95")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, pull = successes / n, z * z / n
    centre = (share + pull / 2) / (1 + pull)
    half = math.sqrt(pull * (share * (1 - share) + pull / 4)) / (1 + pull)
    # The ends are exactly 0 and 1 there; rounding would leave 1e-17.
    return (0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)
