"""The metrics by name.

Shapes: B batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from torch import Tensor

from corecur.engine.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from corecur.engine.auc import AUC
from corecur.engine.confusion import ConfusionMatrix
from corecur.engine.loss import Loss, spread
from corecur.engine.losses import LOSSES
from corecur.engine.metric import Average, Mean, Metric, wide
from corecur.engine.precision_recall import F1Score, Precision, Recall
from corecur.engine.regression_metrics import MeanAbsoluteError, MeanSquaredError, R2Score, RootMeanSquaredError
from corecur.errors import ConfigError
from corecur.names import Table

__all__ = [
    "AUC",
    "METRICS",
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "ConfusionMatrix",
    "F1Score",
    "FunctionMetric",
    "LossMetric",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "find_metric",
]

MetricFunction = Callable[[Tensor, Tensor], Tensor]
MetricSpec = str | Metric | type[Metric] | Loss | MetricFunction


@dataclass(eq=False)
class FunctionMetric(Average):
    """The mean of a user's function of (target, output), which returns a scalar per batch or values (B, …).

    >>> import torch
    >>> metric = FunctionMetric(lambda target, output: (target - output).abs(), name="distance")
    >>> metric.update(torch.zeros(2), torch.tensor([1.0, 3.0]))
    >>> metric.result()
    2.0
    """

    function: MetricFunction
    _: KW_ONLY
    name: str = "function"

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        values = self.function(target, output).detach()
        return values if values.dim() else values.expand(len(output))  # a batch's scalar counts once per sample


@dataclass(eq=False)
class LossMetric(Average):
    """A loss as a metric: the mean over samples, or over positions where each has a weight of its own (or a mask).

    >>> import torch
    >>> metric = LossMetric(LOSSES["mse"](), name="mse")
    >>> metric.update(torch.zeros(1, 2), torch.tensor([[1.0, 9.0]]), torch.tensor([[1.0, 0.0]]))
    >>> metric.result()
    1.0
    """

    loss: Loss
    _: KW_ONLY
    name: str = "loss"

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        return self.loss.per_sample(target, output)

    def update(self, target: Tensor, output: Tensor, weights: Tensor | None = None) -> None:
        if weights is None or weights.dim() < 2:
            return super().update(target, output, weights)
        losses = self.loss.elements(target, output.detach())  # (B, T, …)
        real = self.loss.real(target)
        weights = spread(weights, losses).to(wide(losses.device)).expand_as(losses)
        if real is not None:
            weights = weights * spread(real, losses)
        self._add(total=(losses * weights).sum(), count=weights.sum())
        return None


METRICS: Table[type[Metric]] = Table(
    "metric",
    {
        "accuracy": Accuracy,
        "auc": AUC,
        "binary_accuracy": BinaryAccuracy,
        "categorical_accuracy": CategoricalAccuracy,
        "confusion_matrix": ConfusionMatrix,
        "f1_score": F1Score,
        "mean_absolute_error": MeanAbsoluteError,
        "mean_squared_error": MeanSquaredError,
        "precision": Precision,
        "r2_score": R2Score,
        "recall": Recall,
        "root_mean_squared_error": RootMeanSquaredError,
        "sparse_categorical_accuracy": SparseCategoricalAccuracy,
        "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
        "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    },
    aliases={
        "acc": "accuracy",
        "f1": "f1_score",
        "mae": "mean_absolute_error",
        "mse": "mean_squared_error",
        "r2": "r2_score",
        "rmse": "root_mean_squared_error",
        "top_k_accuracy": "sparse_top_k_categorical_accuracy",
    },
)


def find_metric(spec: MetricSpec) -> Metric:
    """The metric meant by a name, a metric, its class, a loss (or its name), or a function of (target, output).

    A metric found by name goes by that name in a history, as in Keras. Raises ConfigError.

    >>> find_metric("mae")
    MeanAbsoluteError(name='mae')
    """
    if isinstance(spec, str):
        if spec not in METRICS and spec in LOSSES:
            return LossMetric(LOSSES[spec](), name=spec)
        return _made(METRICS[spec], name=spec)
    if isinstance(spec, Metric):
        return spec
    if isinstance(spec, type):
        return _made(spec)
    if isinstance(spec, Loss):
        return LossMetric(spec, name=type(spec).__name__)
    if callable(spec):
        return FunctionMetric(spec, name=getattr(spec, "__name__", "function"))
    raise _no_metric(spec)


def _made(kind: type, **name: str) -> Metric:
    if not issubclass(kind, Metric):
        raise _no_metric(kind)
    missing = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
    if missing:
        call = f"{kind.__name__}({missing[0]}=…)"
        raise ConfigError(f"the metric {kind.__name__} needs {', '.join(missing)}", do=f"pass {call}")
    return kind(**name)


def _no_metric(spec: object) -> ConfigError:
    return ConfigError("not a metric", got=repr(spec), expected="a name, a Metric, or a function of (target, output)")
