"""Confident learning against noise that was planted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from corecur.data.quality.wrong_labels import suspects, wrong_label_findings


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_planted_noise_is_found(share: float) -> None:
    """Out-of-sample probabilities are scikit-learn's."""
    digits = load_digits()
    random = np.random.default_rng(0)
    labels = digits.target.copy()
    wrong = random.choice(len(labels), round(share * len(labels)), replace=False)
    labels[wrong] = (labels[wrong] + random.integers(1, 10, len(wrong))) % 10
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    probabilities = cross_val_predict(model, digits.data, labels, cv=3, method="predict_proba")
    named = {one.row for one in suspects(probabilities, labels)}
    hits = len(named & set(wrong.tolist()))
    assert hits / len(named) >= 0.85 and hits / len(wrong) >= 0.6  # of a model that is right in 95 % of the cases


def test_noise_is_more_than_clean_labels_have() -> None:
    sure = np.eye(3)[np.arange(300) % 3] * 0.9 + 1 / 30
    labels = np.arange(300) % 3
    names = [f"s{row}" for row in range(300)]
    assert wrong_label_findings(sure, labels, names, ["a", "b", "c"], split="test") == []
    labels[7] = 2
    (found,) = wrong_label_findings(sure, labels, names, ["a", "b", "c"], split="test")
    assert found.level == "note" and found.evidence == ("s7: labelled c, looks like b (93 % against 3 %)",)
