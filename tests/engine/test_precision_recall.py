from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score, precision_score, recall_score
from torch import Tensor

from corecur.engine.precision_recall import ClassCounts, F1Score, Precision, Recall
from corecur.errors import ConfigError

SEEDED = torch.Generator().manual_seed(0)
LABELS = torch.randint(0, 4, (80,), generator=SEEDED)
OUTPUT = torch.softmax(2 * torch.randn(80, 4, generator=SEEDED), -1)
WEIGHTS = torch.rand(80, generator=SEEDED)
PAIRS: list[tuple[type[Precision] | type[Recall] | type[F1Score], Callable[..., Any]]] = [
    (Precision, precision_score),
    (Recall, recall_score),
    (F1Score, f1_score),
]


def value(metric: ClassCounts, *batch: Tensor) -> Any:
    metric.update(*batch)
    return metric.result()


@pytest.mark.parametrize(("kind", "reference"), PAIRS)
@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_classes_against_scikit_learn(kind: Any, reference: Any, average: Any, weights: Tensor | None) -> None:
    by_largest = {} if kind is F1Score else {"top_k": 1}
    want = reference(LABELS, OUTPUT.argmax(-1), average=average, sample_weight=weights, zero_division=0)
    for target in (LABELS, LABELS[:, None], F.one_hot(LABELS, 4)):
        batch = (target, OUTPUT) if weights is None else (target, OUTPUT, weights)
        np.testing.assert_allclose(value(kind(average=average, **by_largest), *batch), want, rtol=1e-6)


@pytest.mark.parametrize(("kind", "reference"), PAIRS)
def test_binary_and_multi_label_against_scikit_learn(kind: Any, reference: Any) -> None:
    threshold = "threshold" if kind is F1Score else "thresholds"
    y, p = torch.randint(0, 2, (50,)), torch.rand(50)
    want = reference(y, p > 0.5)
    for target, output in [(y, p[:, None]), (y[:, None], p[:, None]), (y, p)]:
        assert value(kind(), target, output) == pytest.approx(want)
    assert value(kind(**{threshold: 0.3}), y, p) == pytest.approx(reference(y, p > 0.3))
    many, scores = torch.randint(0, 2, (50, 3)), torch.rand(50, 3)
    for average in ("micro", "macro"):
        got = value(kind(average=average, **{threshold: 0.4}), many, scores)
        assert got == pytest.approx(reference(many, scores > 0.4, average=average))


def test_one_class_alone_and_keras_pooled_default() -> None:
    one_hot = F.one_hot(LABELS, 4)
    assert value(Precision(class_id=2), one_hot, OUTPUT) == pytest.approx(
        precision_score(LABELS == 2, OUTPUT[:, 2] > 0.5, zero_division=0)
    )
    assert value(Recall(), LABELS, OUTPUT) == pytest.approx(recall_score(one_hot.reshape(-1), OUTPUT.reshape(-1) > 0.5))


def test_among_the_top_two() -> None:
    hits = (OUTPUT.topk(2, -1).indices == LABELS[:, None]).any(-1).float().mean()
    assert value(Recall(top_k=2), LABELS, OUTPUT) == pytest.approx(float(hits))
    assert value(Precision(top_k=2), LABELS, OUTPUT) == pytest.approx(float(hits) / 2)


def test_nothing_predicted_is_zero() -> None:
    assert value(Precision(), torch.tensor([1]), torch.tensor([[0.1]])) == 0
    assert value(F1Score(), torch.tensor([0]), torch.tensor([[0.1]])) == 0


@pytest.mark.parametrize("arguments", [{"average": "mean"}, {"thresholds": [0.1, 0.2]}, {"top_k": 0}])
def test_refusals(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Precision(**arguments)
