"""How far a measured figure can be trusted: shares, and figures with bounds that no interval may pass."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
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


def around(figure: float, half: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """The interval of a figure and its half width, taken on a scale on which the bounds are infinitely far away.

    The scale is the logarithm for figures of 0 and more, the logit for shares; the half width is carried over by its
    slope at the figure (the delta method). At a bound, where the scale has no figure, the interval is cut off.

    >>> [round(end, 3) for end in around(0.1, 0.15, (0, math.inf))]
    [0.022, 0.448]
    >>> [round(end, 3) for end in around(0.95, 0.04, (0, 1))]
    [0.891, 0.978]
    """
    there, slope, back = _scale(figure, bounds)
    if not math.isfinite(there):
        return max(bounds[0], figure - half), min(bounds[1], figure + half)
    return back(there - half * slope), back(there + half * slope)


def with_error(
    interval: tuple[float, float], figure: float, half: float, bounds: tuple[float, float]
) -> tuple[float, float]:
    """An interval to which an independent error of this half width comes, on the scale of ``around``.

    The squares of both half widths add up, on either side by itself.

    >>> with_error((0.7, 1.3), 1.0, 0.4, (-math.inf, math.inf))
    (0.5, 1.5)
    """
    there, slope, back = _scale(figure, bounds)
    if not math.isfinite(there):
        low, high = around(figure, half, bounds)
        return min(low, interval[0]), max(high, interval[1])
    reaches = [abs(_scale(end, bounds)[0] - there) for end in interval]
    low, high = (math.hypot(reach, half * slope) for reach in reaches)
    return back(there - low), back(there + high)


def _scale(figure: float, bounds: tuple[float, float]) -> tuple[float, float, Callable[[float], float]]:
    """Where a figure is on the unbounded scale, the scale's slope there, and the way back.

    A figure so near to 0 that the slope is no number of its own is at the bound.
    """
    if bounds == (0, 1):
        if not sys.float_info.min <= figure < 1:
            return math.copysign(math.inf, figure - 0.5), math.inf, lambda value: value
        return math.log(figure / (1 - figure)), 1 / (figure * (1 - figure)), _logistic
    if bounds == (0, math.inf):
        if figure < sys.float_info.min:
            return -math.inf, math.inf, lambda value: value
        return math.log(figure), 1 / figure, _exponential
    return figure, 1.0, lambda value: value


def _logistic(value: float) -> float:
    return 0.0 if value < -700 else 1 / (1 + math.exp(-value))


def _exponential(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
