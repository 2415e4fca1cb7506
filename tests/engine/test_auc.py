from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from corecur.engine.auc import AUC
from corecur.errors import ConfigError


@given(st.integers(2, 60), st.integers(1, 5), st.booleans(), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_exact_with_ties_and_weights(n: int, levels: int, weighted: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    y[:2] = (0, 1)
    scores = random.integers(0, levels, n) / levels  # few levels: many ties
    weights = random.random(n) + 0.1 if weighted else None
    batch = [torch.tensor(y), torch.tensor(scores)] + ([] if weights is None else [torch.tensor(weights)])
    for curve, reference in (("ROC", roc_auc_score), ("PR", average_precision_score)):
        metric = AUC(curve)  # type: ignore[arg-type]
        metric.update(*batch)
        assert metric.result() == pytest.approx(reference(y, scores, sample_weight=weights), rel=1e-6)


def test_many_classes_are_averaged_one_against_the_rest() -> None:
    labels, output = torch.arange(60) % 4, torch.softmax(torch.randn(60, 4), -1)
    for curve, want in (
        ("ROC", roc_auc_score(labels, output / output.sum(-1, keepdim=True), multi_class="ovr", average="macro")),
        ("PR", average_precision_score(F.one_hot(labels, 4), output, average="macro")),
    ):
        for target in (labels, F.one_hot(labels, 4)):
            metric = AUC(curve)  # type: ignore[arg-type]
            metric.update(target, output)
            assert metric.result() == pytest.approx(want, rel=1e-6)


def test_logits_do_as_well() -> None:
    y, z = torch.arange(40) % 2, torch.randn(40, 1)
    by_logits, by_probability = AUC(), AUC()
    by_logits.update(y, z)
    by_probability.update(y, torch.sigmoid(z))
    assert by_logits.result() == pytest.approx(by_probability.result())


def test_one_kind_alone_has_no_area() -> None:
    metric = AUC()
    metric.update(torch.ones(4), torch.rand(4))
    assert math.isnan(metric.result())
    metric.reset()
    metric.update(torch.tensor([0, 1, 1, 0]), torch.rand(4, 3))  # class 2 never occurs and does not count
    assert 0 <= metric.result() <= 1


def test_refusals() -> None:
    with pytest.raises(ConfigError):
        AUC("roc")  # type: ignore[arg-type]
