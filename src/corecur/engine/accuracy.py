"""Accuracies: the share of positions where the network is right.

Shapes: B batch, T time (or any inner axes), K classes (the last axis).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor

from corecur.engine.loss import aligned
from corecur.engine.metric import Average, is_binary, labels, misfit, require


@dataclass(eq=False)
class Accuracy(Average):
    """The share of right answers, whatever form targets have: binary (one unit), class numbers, or one-hot.

    >>> metric = Accuracy()
    >>> metric.update(torch.tensor([1, 0]), torch.tensor([[0.7], [0.6]]))
    >>> metric.result()
    0.5
    """

    _: KW_ONLY
    name: str = "accuracy"

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        if is_binary(target, output):
            return binary_hits(target, output, 0.5)
        return output.argmax(-1) == labels(target, output)  # (B, …)


@dataclass(eq=False)
class BinaryAccuracy(Average):
    """The share of units (B, …, K) on the right side of the threshold.

    >>> metric = BinaryAccuracy(threshold=0.5)
    >>> metric.update(torch.tensor([[1, 0]]), torch.tensor([[0.7, 0.6]]))
    >>> metric.result()
    0.5
    """

    _: KW_ONLY
    threshold: float = 0.5
    name: str = "binary_accuracy"

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        return binary_hits(target, output, self.threshold)


@dataclass(eq=False)
class CategoricalAccuracy(Average):
    """The share of positions where the largest output is the largest target; targets one-hot (B, …, K).

    >>> metric = CategoricalAccuracy()
    >>> metric.update(torch.tensor([[0, 1]]), torch.tensor([[0.7, 0.6]]))
    >>> metric.result()
    0.0
    """

    _: KW_ONLY
    name: str = "categorical_accuracy"

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        return output.argmax(-1) == one_hot_labels(target, output)  # (B, …)


@dataclass(eq=False)
class SparseCategoricalAccuracy(Average):
    """The share of positions where the largest output is the target; targets class numbers (B, …) or (B, …, 1).

    >>> metric = SparseCategoricalAccuracy()
    >>> metric.update(torch.tensor([0]), torch.tensor([[0.7, 0.6]]))
    >>> metric.result()
    1.0
    """

    _: KW_ONLY
    name: str = "sparse_categorical_accuracy"

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        return output.argmax(-1) == sparse_labels(target, output)  # (B, …)


@dataclass(eq=False)
class TopKCategoricalAccuracy(Average):
    """The share of positions whose class is among the ``k`` largest outputs; targets one-hot (B, …, K).

    >>> metric = TopKCategoricalAccuracy(2)
    >>> metric.update(torch.tensor([[0, 1, 0]]), torch.tensor([[0.5, 0.3, 0.2]]))
    >>> metric.result()
    1.0
    """

    k: int = 5
    _: KW_ONLY
    name: str = "top_k_categorical_accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.k >= 1, "k out of range", self.k, "1 or more")

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        return top_k_hits(one_hot_labels(target, output), output, self.k)


@dataclass(eq=False)
class SparseTopKCategoricalAccuracy(Average):
    """The share of positions whose class is among the ``k`` largest outputs; targets class numbers.

    >>> metric = SparseTopKCategoricalAccuracy(2)
    >>> metric.update(torch.tensor([2]), torch.tensor([[0.5, 0.3, 0.2]]))
    >>> metric.result()
    0.0
    """

    k: int = 5
    _: KW_ONLY
    name: str = "sparse_top_k_categorical_accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.k >= 1, "k out of range", self.k, "1 or more")

    def values(self, target: Tensor, output: Tensor) -> Tensor:
        return top_k_hits(sparse_labels(target, output), output, self.k)


def binary_hits(target: Tensor, output: Tensor, threshold: float) -> Tensor:
    """Whether each unit is on its target's side of the threshold."""
    return (output > threshold) == (aligned(target, output) > 0.5)


def top_k_hits(target: Tensor, output: Tensor, k: int) -> Tensor:
    """Whether fewer than ``k`` outputs exceed that of the target (so ties count as hits, as in Keras)."""
    score = output.gather(-1, target.long().unsqueeze(-1))  # (B, …, 1)
    # Nothing exceeds a NaN, and a network that gives NaN is not right.
    return ((output > score).sum(-1) < k) & torch.isfinite(score.squeeze(-1))  # (B, …)


def one_hot_labels(target: Tensor, output: Tensor) -> Tensor:
    """Class numbers of one-hot or soft targets; ShapeError for other targets."""
    if target.shape != output.shape:
        raise misfit(target, output)
    return target.argmax(-1)


def sparse_labels(target: Tensor, output: Tensor) -> Tensor:
    """Class numbers (B, …); ShapeError for one-hot targets."""
    if target.shape == output.shape:
        raise misfit(target, output)
    return labels(target, output)
