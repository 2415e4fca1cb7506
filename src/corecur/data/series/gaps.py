"""Missing values: where they are, and two rules to fill them, one for whole series and one that never looks ahead.

Shapes: T time, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def missing_runs(missing: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The stretches of missing values (T,), each as its first step and the step after its last.

    >>> missing_runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    edges = np.diff(np.concatenate([[0], missing.astype(np.int8), [0]]))  # (T + 1,)
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def fill_linear(series: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """A series (T, C) without NaN: linear in time between real values, the nearest real value at the ends.

    A channel with no real value becomes its mean ``means`` (C,). The argument is not written to.

    >>> fill_linear(np.array([[np.nan], [1.0], [np.nan], [3.0]]), np.zeros(1)).ravel().tolist()
    [1.0, 1.0, 2.0, 3.0]
    """
    missing = np.isnan(series)
    if not missing.any():
        return series
    filled = series.copy()
    steps = np.arange(len(series))
    for channel in np.flatnonzero(missing.any(0)).tolist():
        gaps = missing[:, channel]
        if gaps.all():
            filled[:, channel] = means[channel]
        else:
            filled[gaps, channel] = np.interp(steps[gaps], steps[~gaps], series[~gaps, channel])
    return filled


def fill_forward(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (T, C) in which a missing one repeats the last real one before it; NaN stays where there is none before.

    >>> fill_forward(np.array([[np.nan], [1.0], [np.nan], [3.0]])).ravel().tolist()
    [nan, 1.0, 1.0, 3.0]
    """
    steps = np.arange(len(values))[:, None]  # (T, 1)
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, steps), axis=0)  # (T, C), 0 before the first real one
    filled: NDArray[np.float64] = np.take_along_axis(values, last, axis=0)
    return filled


def without_tail(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """A series (T, C) up to its last step with a real value: formats of one width pad short series with gaps.

    >>> without_tail(np.array([[1.0], [np.nan], [2.0], [np.nan]])).ravel().tolist()
    [1.0, nan, 2.0]
    """
    real = np.flatnonzero(~np.isnan(series).all(1))
    return series[: int(real[-1]) + 1] if len(real) else series[:0]
