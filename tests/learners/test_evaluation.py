from __future__ import annotations

import json
import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support

from corecur.engine.intervals import wilson
from corecur.errors import DataError
from corecur.learners.evaluation import evaluate_classifier, predictions

CLASSES = ("a", "b", "c")


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_the_figures_are_those_of_scikit_learn(n: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=random)
    probabilities = torch.rand(n, 3, generator=random, dtype=torch.float64).softmax(1)
    found, answers = evaluate_classifier(probabilities, labels, CLASSES), probabilities.argmax(1)
    assert found.accuracy == pytest.approx(accuracy_score(labels, answers))
    assert found.confusion.tolist() == confusion_matrix(labels, answers, labels=[0, 1, 2]).tolist()
    assert found.loss == pytest.approx(log_loss(labels, probabilities, labels=[0, 1, 2]))
    assert found.interval == wilson(found.correct, n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = precision_recall_fscore_support(labels, answers, labels=[0, 1, 2], zero_division=math.nan)
    for row, values in zip(found.per_class, zip(*wanted, strict=True), strict=True):
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(values, nan_ok=True)


def test_json_holds_no_nan() -> None:
    found = evaluate_classifier(torch.tensor([[0.8, 0.1, 0.1]]), torch.tensor([0]), CLASSES).as_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["per_class"]["b"] == {"precision": None, "recall": None, "f1": None, "samples": 0}
    assert found["accuracy"] == 1.0 and found["interval"][1] == 1.0


def test_the_sentence_says_it_all() -> None:
    found = evaluate_classifier(torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 1]), CLASSES)
    assert found.sentence() == "test accuracy 75.00 %, 95 % interval 30.06 % to 95.44 % (3 of 4 samples)"


def test_nothing_to_evaluate() -> None:
    with pytest.raises(DataError, match="no samples"):
        evaluate_classifier(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), CLASSES)


def test_predictions_are_sorted_by_probability() -> None:
    (answer,) = predictions(torch.tensor([[0.2, 0.5, 0.3]]), ["x.png"], CLASSES)
    assert answer.label == "b" and list(answer.probabilities) == ["b", "c", "a"]
    assert answer.as_json()["file"] == "x.png" and answer.as_json()["probability"] == answer.probability


def test_a_temperature_changes_no_label() -> None:
    shares = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
    labels = torch.randint(0, 3, (200,), generator=torch.Generator().manual_seed(1))
    before, after = (evaluate_classifier(shares, labels, CLASSES, temperature=t) for t in (1.0, 0.2))
    assert before.accuracy == after.accuracy and before.confusion.tolist() == after.confusion.tolist()
    assert before.calibration["before"] is None
    assert after.calibration["before"]["nll"] == before.loss == before.calibration["nll"] != after.loss
