"""Metrics for real values.

Shapes: B batch, T time (or any inner axes), R values per position, P = B·T positions.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from corecur.engine.loss import aligned, spread
from corecur.engine.metric import Average, Metric, Value, require, wide

Aggregation = Literal["uniform_average", "variance_weighted_average"] | None
AGGREGATIONS = ("uniform_average", "variance_weighted_average", None)


@dataclass(eq=False)
class MeanAbsoluteError(Average):
    """The mean of |y - ŷ|.

    >>> metric = MeanAbsoluteError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [4.0]]))
    >>> metric.result()
    1.0
    """

    _: KW_ONLY
    name: str = "mean_absolute_error"

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        return (aligned(target, output) - output).abs()


@dataclass(eq=False)
class MeanSquaredError(Average):
    """The mean of (y - ŷ)².

    >>> metric = MeanSquaredError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [4.0]]))
    >>> metric.result()
    2.0
    """

    _: KW_ONLY
    name: str = "mean_squared_error"

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        return (aligned(target, output) - output).square()


@dataclass(eq=False)
class RootMeanSquaredError(Average):
    """The square root of the mean of (y - ŷ)², in the units of y.

    >>> metric = RootMeanSquaredError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([[4.0], [6.0]]))
    >>> round(metric.result(), 4)
    3.5355
    """

    _: KW_ONLY
    name: str = "root_mean_squared_error"

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        return (aligned(target, output) - output).square()

    def result(self) -> float:
        return math.sqrt(super().result())


@dataclass(eq=False)
class R2Score(Metric):
    """1 - Σ (y - ŷ)² / Σ (y - ȳ)² of each of the R values, averaged over them as ``class_aggregation`` says.

    Where y is constant: 1 if every answer is right, else 0, as in scikit-learn. Means and squares of batches are merged
    by the update of Chan, Golub and LeVeque (1979), so a large offset of y costs no digits.

    >>> metric = R2Score()
    >>> metric.update(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0], [2.0], [4.0]]))
    >>> metric.result()
    0.5
    """

    class_aggregation: Aggregation = "uniform_average"
    _: KW_ONLY
    name: str = "r2_score"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = ", ".join(map(str, AGGREGATIONS))
        require(self.class_aggregation in AGGREGATIONS, "unknown class_aggregation", self.class_aggregation, known)

    def update(self, target: Tensor, output: Tensor, weights: Tensor | None = None) -> None:
        units = 1 if output.dim() == 1 else output.shape[-1]
        dtype = wide(output.device)
        y = aligned(target, output).to(dtype)
        w = torch.ones_like(y) if weights is None else spread(weights, y).to(dtype).expand_as(y)
        error = (y - output.detach().to(dtype)).reshape(-1, units)  # (P, R)
        y, w = y.reshape(-1, units), w.reshape(-1, units)
        count = w.sum(0)  # (R,)
        mean = (w * y).sum(0) / count.clamp(min=torch.finfo(dtype).tiny)
        self._merge(count, mean, (w * (y - mean).square()).sum(0), (w * error.square()).sum(0))

    def _merge(self, count: Tensor, mean: Tensor, squares: Tensor, errors: Tensor) -> None:
        zero = torch.zeros_like(count)
        old = {key: torch.as_tensor(self._totals.get(key, zero)) for key in ("count", "mean", "squares", "errors")}
        whole = old["count"] + count
        part = count / whole.clamp(min=torch.finfo(count.dtype).tiny)
        step = mean - old["mean"]
        self._totals = {
            "count": whole,
            "mean": old["mean"] + step * part,
            "squares": old["squares"] + squares + step.square() * old["count"] * part,
            "errors": old["errors"] + errors,
        }

    def result(self) -> Value:
        if not self._totals:
            return float("nan")
        squares, errors = (
            torch.as_tensor(self._totals[key]).cpu().double().numpy() for key in ("squares", "errors")
        )  # (R,), (R,)
        unexplained = np.divide(errors, squares, out=(errors > 0).astype(np.float64), where=squares > 0)
        scores: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = 1 - unexplained
        if self.class_aggregation is None:
            return scores
        by_variance = self.class_aggregation == "variance_weighted_average" and squares.sum() > 0
        return float(np.average(scores, weights=squares if by_variance else None))
