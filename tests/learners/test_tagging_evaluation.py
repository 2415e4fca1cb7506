from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from corecur.errors import DataError
from corecur.learners.tagging_evaluation import TaggedSentence, evaluate_tagging

rng = np.random.default_rng(0)
TRUTH = [[str(tag) for tag in rng.choice(["DET", "NOUN", "VERB"], size)] for size in rng.integers(1, 12, 80)]
ANSWERS = [[tag if rng.random() < 0.8 else "NOUN" for tag in tags] for tags in TRUTH]


def test_accuracy_and_scores_are_those_of_scikit_learn() -> None:
    found = evaluate_tagging(TRUTH, ANSWERS)
    truth, answers = sum(TRUTH, []), sum(ANSWERS, [])
    assert found.accuracy == pytest.approx(accuracy_score(truth, answers))
    wanted = precision_recall_fscore_support(truth, answers, labels=["DET", "NOUN", "VERB"])
    for name, *scores in zip(["DET", "NOUN", "VERB"], *wanted, strict=True):
        row = next(row for row in found.per_class if row.name == name)
        assert [row.precision, row.recall, row.f1, row.support] == pytest.approx(scores)
    low, high = found.interval
    assert low < found.accuracy < high and high - low < 0.2


def test_entities_count_whole_or_not_at_all() -> None:
    truth = [["B-a", "I-a", "O", "B-b"], ["O", "B-a"]]
    answers = [["B-a", "O", "O", "B-b"], ["B-b", "B-a"]]
    found = evaluate_tagging(truth, answers)
    assert found.f1 == pytest.approx(2 * 2 / (3 + 4))  # of three entities two are found among four answers
    assert "F1 of entities 57.14" in found.sentence()
    assert found.as_json()["per_class"]["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "samples": 2}


def test_a_wider_interval_for_fewer_sentences() -> None:
    wide, narrow = (evaluate_tagging(TRUTH[:n], ANSWERS[:n]).interval for n in (10, 80))
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


def test_confusions_and_json() -> None:
    found = evaluate_tagging([["DET", "VERB"]], [["NOUN", "VERB"]])
    assert found.confusions() == {("DET", "NOUN"): 1}
    answer = TaggedSentence("s", ("New", "York", "rains"), ("B-place", "I-place", "O")).as_json()
    assert answer["entities"] == [{"text": "New York", "kind": "place", "first": 0, "last": 2}]
    with pytest.raises(DataError, match="no tokens"):
        evaluate_tagging([[]], [[]])
