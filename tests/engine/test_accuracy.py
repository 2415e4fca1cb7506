from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, top_k_accuracy_score
from torch import Tensor

from corecur.engine.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from corecur.engine.metric import Metric
from corecur.errors import ConfigError, ShapeError

SEEDED = torch.Generator().manual_seed(0)
LABELS = torch.randint(0, 5, (60,), generator=SEEDED)
OUTPUT, WEIGHTS = torch.rand(60, 5, generator=SEEDED), torch.rand(60, generator=SEEDED)


def value(metric: Metric, *batch: Tensor) -> float:
    metric.update(*batch)
    result = metric.result()
    assert isinstance(result, float)
    return result


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_against_scikit_learn(weights: Tensor | None) -> None:
    extra = () if weights is None else (weights,)
    want = accuracy_score(LABELS, OUTPUT.argmax(-1), sample_weight=weights)
    one_hot = F.one_hot(LABELS, 5)
    for metric, target in [
        (Accuracy(), LABELS),
        (Accuracy(), LABELS[:, None]),
        (Accuracy(), LABELS.float()),
        (Accuracy(), one_hot),
        (SparseCategoricalAccuracy(), LABELS),
        (CategoricalAccuracy(), one_hot),
    ]:
        assert value(metric, target, OUTPUT, *extra) == pytest.approx(want, rel=1e-6)
    for k in (1, 2, 4):
        want = top_k_accuracy_score(LABELS, OUTPUT, k=k, sample_weight=weights, labels=range(5))
        assert value(SparseTopKCategoricalAccuracy(k), LABELS, OUTPUT, *extra) == pytest.approx(want, rel=1e-6)
        assert value(TopKCategoricalAccuracy(k), one_hot, OUTPUT, *extra) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("shapes", [((60,), (60, 1)), ((60, 1), (60, 1)), ((60,), (60,)), ((60, 1), (60,))])
def test_binary(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    y, p = torch.randint(0, 2, (60,)), torch.rand(60)
    target, output = y.reshape(shapes[0]), p.reshape(shapes[1])
    assert value(BinaryAccuracy(threshold=0.3), target, output) == pytest.approx(accuracy_score(y, p > 0.3))
    if output.dim() == 2 or target.dim() == 1:
        assert value(Accuracy(), target, output) == pytest.approx(accuracy_score(y, p > 0.5))


def test_multi_label_counts_every_unit() -> None:
    y, p = torch.randint(0, 2, (20, 3)), torch.rand(20, 3)
    assert value(BinaryAccuracy(), y, p) == pytest.approx(np.mean((p > 0.5).numpy() == y.numpy()))


def test_a_network_that_gives_nan_is_not_in_the_top_k() -> None:
    assert value(SparseTopKCategoricalAccuracy(3), torch.tensor([1]), torch.full((1, 5), float("nan"))) == 0


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="k out of range"):
        TopKCategoricalAccuracy(0)
    with pytest.raises(ShapeError):
        CategoricalAccuracy().update(LABELS, OUTPUT)
    with pytest.raises(ShapeError):
        SparseCategoricalAccuracy().update(F.one_hot(LABELS, 5), OUTPUT)
