"""Numbers that lie far from all others of their kind.

Shapes: N values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A normal distribution's standard deviation by its median absolute deviation.
_SPREAD = 1.4826
_FEWEST = 12


def far_out(
    values: NDArray[np.float64], *, least: float, spreads: float = 8.0, above: float = -np.inf
) -> NDArray[np.int64]:
    """The places of values (N,) further from the median than ``least`` and than ``spreads`` robust deviations.

    Only those ``above`` a bound that has a meaning of its own. Nothing is far out among fewer than a dozen, nor where
    more than one in ten would be: such values are a part of the data. NaN is passed over.

    >>> far_out(np.array([1.0] * 20 + [9.0]), least=2.0)
    array([20])
    """
    finite = np.isfinite(values)
    if finite.sum() < _FEWEST:
        return np.zeros(0, np.int64)
    middle = np.median(values[finite])
    off = np.where(finite, np.abs(values - middle), 0.0)
    bound = max(least, spreads * _SPREAD * float(np.median(off[finite])))
    found = np.flatnonzero((off > bound) & (values > above))
    return found if len(found) <= max(1, 0.1 * len(values)) else np.zeros(0, np.int64)
