"""Precision, recall and F1, from three counts per class: hits, predicted, actual.

Shapes: B batch, T time (or any inner axes), K classes or units (the last axis), P = B·T positions.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.engine.loss import aligned, spread
from corecur.engine.metric import Metric, Value, is_binary, is_sparse, labels, require, wide

Mode = Literal["micro", "macro", "weighted"] | None
Counts = NDArray[np.float64]  # (K,)
MODES = ("micro", "macro", "weighted", None)


@dataclass(eq=False)
class ClassCounts(Metric):
    """A ratio of the counts of each class, and one number from those of all classes.

    ``average`` is ``micro`` (pool the counts), ``macro`` (mean over classes), ``weighted`` (mean weighted by how often
    a class occurs) or None (``result`` is an array). ``class_id`` looks at one class alone. 0 / 0 counts as 0, as in
    Keras and scikit-learn.
    """

    _: KW_ONLY
    average: Mode = "micro"
    class_id: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.average in MODES, "unknown average", self.average, "micro, macro, weighted or None")

    @abstractmethod
    def predicted(self, output: Tensor) -> Tensor:
        """Which classes are predicted: True/False (P, K) from outputs (P, K)."""

    @abstractmethod
    def ratio(self, hits: Counts, predicted: Counts, actual: Counts) -> Counts:
        """The value of each class."""

    def update(self, target: Tensor, output: Tensor, weights: Tensor | None = None) -> None:
        truth, scores = by_position(target, output.detach())  # (P, K), (P, K)
        predicted = self.predicted(scores)
        hits = truth & predicted
        dtype = wide(output.device)
        if weights is None:
            self._add(
                hits=hits.sum(0, dtype=dtype),  # (K,)
                predicted=predicted.sum(0, dtype=dtype),
                actual=truth.sum(0, dtype=dtype),
            )
        else:
            w = position_weights(weights, output).to(dtype)  # (P, 1)
            self._add(hits=(hits * w).sum(0), predicted=(predicted * w).sum(0), actual=(truth * w).sum(0))

    def result(self) -> Value:
        if not self._totals:
            return float("nan")
        chosen = slice(None) if self.class_id is None else slice(self.class_id, self.class_id + 1)
        hits, predicted, actual = (
            torch.as_tensor(self._totals[key]).cpu().double().numpy()[chosen] for key in ("hits", "predicted", "actual")
        )
        if self.average == "micro":
            return float(self.ratio(hits.sum(), predicted.sum(), actual.sum()))
        ratios = self.ratio(hits, predicted, actual)  # (K,)
        if self.average is None:
            return ratios
        return float(ratios.mean() if self.average == "macro" else divided((ratios * actual).sum(), actual.sum()))


@dataclass(eq=False)
class Precision(ClassCounts):
    """Of what was predicted, the share that is true.

    Predicted is a class whose output exceeds ``thresholds`` (0.5), or with ``top_k`` one among the ``top_k`` largest.
    By Keras' rule the counts of all classes are pooled; a classifier's mean over classes, as scikit-learn has it, is
    ``Precision(top_k=1, average="macro")``.

    >>> metric = Precision()
    >>> metric.update(torch.tensor([1, 0, 1]), torch.tensor([[0.9], [0.8], [0.1]]))
    >>> metric.result()
    0.5
    """

    thresholds: float | None = None
    _: KW_ONLY
    top_k: int | None = None
    name: str = "precision"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decision(self.thresholds, self.top_k)

    def predicted(self, output: Tensor) -> Tensor:
        return decided(output, self.thresholds, self.top_k)

    def ratio(self, hits: Counts, predicted: Counts, actual: Counts) -> Counts:
        return divided(hits, predicted)


@dataclass(eq=False)
class Recall(ClassCounts):
    """Of what is true, the share that was predicted; arguments as in ``Precision``.

    >>> metric = Recall()
    >>> metric.update(torch.tensor([1, 0, 1, 1]), torch.tensor([[0.9], [0.8], [0.1], [0.2]]))
    >>> round(metric.result(), 4)
    0.3333
    """

    thresholds: float | None = None
    _: KW_ONLY
    top_k: int | None = None
    name: str = "recall"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decision(self.thresholds, self.top_k)

    def predicted(self, output: Tensor) -> Tensor:
        return decided(output, self.thresholds, self.top_k)

    def ratio(self, hits: Counts, predicted: Counts, actual: Counts) -> Counts:
        return divided(hits, actual)


@dataclass(eq=False)
class F1Score(ClassCounts):
    """The harmonic mean of precision and recall: 2 hits / (predicted + actual).

    Predicted is the largest output, or with ``threshold`` every one above it; one unit is compared with 0.5. The
    default ``average`` is ``macro``, one number for a history (Keras' None gives an array).

    >>> metric = F1Score()
    >>> metric.update(torch.tensor([0, 1, 1]), torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]))
    >>> round(metric.result(), 4)
    0.6667
    """

    average: Mode = "macro"
    _: KW_ONLY
    threshold: float | None = None
    name: str = "f1_score"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decision(self.threshold, None)

    def predicted(self, output: Tensor) -> Tensor:
        largest = self.threshold is None and output.shape[-1] > 1
        return decided(output, self.threshold, 1 if largest else None)

    def ratio(self, hits: Counts, predicted: Counts, actual: Counts) -> Counts:
        return divided(2 * hits, predicted + actual)


def by_position(target: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """Truth (P, K), True/False, and scores (P, K), from targets of any form and outputs (B, …, K)."""
    if is_binary(target, output):
        return aligned(target, output).reshape(-1, 1) > 0.5, output.reshape(-1, 1)
    classes = output.shape[-1]
    scores = output.reshape(-1, classes)
    if is_sparse(target, output):
        numbers = torch.arange(classes, device=output.device)
        return labels(target, output).reshape(-1, 1) == numbers, scores
    return aligned(target, output).reshape(-1, classes) > 0.5, scores


def position_weights(weights: Tensor, output: Tensor) -> Tensor:
    """Weights (B,) or (B, T, …) as a column (P, 1)."""
    positions = output if output.dim() == 1 else output[..., 0]
    return spread(weights, positions).expand_as(positions).reshape(-1, 1)


def decided(output: Tensor, threshold: float | None, top_k: int | None) -> Tensor:
    """Which of (P, K) are above the threshold (0.5), or among the ``top_k`` largest."""
    if top_k is None:
        return output > (0.5 if threshold is None else threshold)
    chosen = output.argmax(-1, keepdim=True) if top_k == 1 else output.topk(top_k, -1).indices  # (P, top_k)
    return torch.zeros_like(output, dtype=torch.bool).scatter_(-1, chosen, True)  # (P, K)


def check_decision(threshold: object, top_k: int | None) -> None:
    """ConfigError for a threshold that is not one number, or a ``top_k`` below 1."""
    one_number = threshold is None or isinstance(threshold, float | int)
    require(one_number, "one threshold can be given", threshold, "a number, or None")
    require(top_k is None or top_k >= 1, "top_k out of range", top_k, "1 or more")


def divided(part: Counts, whole: Counts) -> Counts:
    """part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=np.asarray(whole) != 0)
