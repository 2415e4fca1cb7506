"""Whether two ways to train differ, where each was trained on all folds but one, for each fold: as on other data.

Shapes: K folds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from corecur.engine.intervals import around
from corecur.engine.paired_tests import ALPHA, Difference, t_quantile, within_t
from corecur.errors import ConfigError


def fold_error(figures: Sequence[float], ratio: float) -> float:
    """The standard error of the mean of figures (K,) of folds: ``sqrt((1 / K + ratio) s²)`` (Nadeau & Bengio 2003).

    ``ratio`` is how many samples a fold is tested on for each that it learned from: trainings that share most of their
    data err alike, and s / sqrt(K), as if they did not, is too small by far.

    >>> round(fold_error([0.8, 0.9, 0.7, 0.8, 0.8], ratio=0.25), 4)
    0.0474
    """
    if len(figures) < 2 or not ratio > 0:
        raise ConfigError("this takes two folds or more, and their sizes", got=f"{len(figures)} folds, ratio {ratio}")
    return float(np.std(figures, ddof=1)) * math.sqrt(1 / len(figures) + ratio)


def fold_difference(units: Difference, a: Sequence[float], b: Sequence[float], *, ratio: float) -> Difference:
    """Two ways to train by their figures (K,) on the same held-out folds: the corrected resampled t test.

    Of the differences fold by fold, t is their mean over ``fold_error`` with K - 1 degrees of freedom (Nadeau & Bengio
    2003, "Inference for the generalization error"). ``units`` is the paired test over all held-out samples, whose
    answers come from K networks: p is never below its p, for few folds may differ alike by chance.

    >>> from corecur.engine.paired_tests import mcnemar
    >>> units = mcnemar([True] * 95 + [False] * 5, [True] * 85 + [False] * 15)
    >>> found = fold_difference(units, [0.94, 0.96, 0.95], [0.85, 0.84, 0.86], ratio=0.5)
    >>> round(found.difference, 3), round(found.p, 3), found.units
    (0.1, 0.024, 3)
    """
    if len(a) != len(b):
        raise ConfigError("both ways to train need a figure of each fold", got=f"{len(a)} and {len(b)}")
    apart, folds = np.subtract(a, b), len(a)
    error, mean = fold_error(apart.tolist(), ratio), float(apart.mean())
    within = within_t(abs(mean) / error, folds - 1) if error else float(mean != 0)
    p = max(units.p, 1 - within)
    half = t_quantile(1 - ALPHA, folds - 1) * error
    moved = mean - units.difference  # of figures that are no plain means the folds' mean is another
    low, high = min(units.low + moved, mean - half), max(units.high + moved, mean + half)
    if p > ALPHA:
        low, high = min(low, 0.0), max(high, 0.0)
    pieces = (units.units, units.least) if units.units < units.least else (folds, 2)  # too few samples stay too few
    return dataclasses.replace(
        units, a=float(np.mean(a)), b=float(np.mean(b)), low=low, high=high, p=p, error=max(error, units.error),
        units=pieces[0], least=pieces[1], freedom=folds - 1, test="corrected resampled t test over folds",
    )  # fmt: skip


def fold_interval(
    interval: tuple[float, float] | None, figures: Sequence[float], *, ratio: float, bounds: tuple[float, float]
) -> tuple[float, float] | None:
    """The 95 % interval of the mean of figures (K,), on the scale of `around`, and at least that of the samples.

    >>> low, high = fold_interval(None, [0.8, 0.9, 0.7, 0.8, 0.8], ratio=0.25, bounds=(0, 1))
    >>> round(low, 2), round(high, 2)
    (0.64, 0.9)
    """
    mean = float(np.mean(figures))
    if not np.isfinite(figures).all():
        return interval
    half = t_quantile(1 - ALPHA, len(figures) - 1) * fold_error(figures, ratio)
    low, high = around(mean, half, bounds)
    return (low, high) if interval is None else (min(low, interval[0]), max(high, interval[1]))
