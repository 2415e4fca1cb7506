"""Baselines: against scikit-learn and NumPy, their verdicts, and that they leave the training alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import Ridge

from corecur.data.series.series_set import SeriesSet
from corecur.data.series.windows import WindowBatches
from corecur.engine.paired_tests import Measure, mcnemar
from corecur.errors import ConfigError
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.simple_features import (
    linear_forecast_errors,
    picture_features,
    series_features,
    text_features,
    usual_tags,
)
from corecur.learners.simple_models import (
    Baseline,
    Contest,
    Way,
    baseline_section,
    checked_kind,
    class_contest,
    compete,
    linear_answers,
)

QUICK: dict[str, Any] = {"epochs": 1, "widths": (8, 16), "threads": 1}


def _contest(seconds: float = 0.0) -> Contest:
    right = np.array([True] * 90 + [False] * 10)
    way = Way("linear model", "linear", seconds, lambda: np.array([True] * 50 + [False] * 50))
    return Contest(right, [Way("majority class", "majority", 0.0, lambda: right), way])


def test_the_majority_class_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    train, test = random.integers(0, 3, 50), random.integers(0, 3, 40)
    contest = class_contest(np.ones(40, dtype=bool), train, test, {}, size=1)
    wanted = DummyClassifier(strategy="most_frequent").fit(train, train).score(test, test)
    assert contest.ways[0].results().mean() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("kind", "names"),
    [("none", []), ("majority", ["majority class"]), ("linear", ["linear model"]),
     ("all", ["majority class", "linear model"]), ("auto", ["majority class", "linear model"])],
)  # fmt: skip
def test_what_is_asked_for_is_made(kind: str, names: list[str]) -> None:
    found, notes = compete(_contest(), checked_kind(kind), train_seconds=1.0)
    assert [one.name for one in found] == names and notes == ()


def test_what_takes_long_is_left_out_and_that_is_said() -> None:
    found, notes = compete(_contest(30.0), "auto", train_seconds=100.0)
    assert [one.name for one in found] == ["majority class"] and "about 30 s (--baseline linear)" in notes[0]
    assert len(compete(_contest(30.0), "auto", train_seconds=1000.0)[0]) == 2
    assert len(compete(_contest(30.0), "all", train_seconds=1.0)[0]) == 2
    with pytest.raises(ConfigError, match="no baselines"):
        checked_kind("svm")


def test_no_gain_is_a_warning() -> None:
    same, beaten = compete(_contest(), "all", train_seconds=1.0)[0]
    found = same.finding()
    assert not same.is_beaten and found is not None and found.level == "warning"
    assert "no better than the majority class" in found.verdict
    assert beaten.is_beaten and beaten.finding() is None and beaten.gain[0] == pytest.approx(0.4)
    page = "".join(block.html() for block in baseline_section([same, beaten]).blocks)
    assert "no better than the majority class" in page and "linear model" in page


def test_a_smaller_error_is_a_gain() -> None:
    found = mcnemar([False] * 40 + [True] * 2, [True] * 40 + [False] * 2)
    one = Baseline("last value", found, Measure("MSE", higher_is_better=False, percent=False), 0.0)
    assert one.is_beaten and one.gain[0] > 0 and one.gain[1] <= one.gain[0] <= one.gain[2]


def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    weights = []
    for kind in ("none", "all"):
        learner = ImageClassifier(**QUICK)
        result = learner.fit("digits", baseline=kind, out=tmp_path / kind)
        assert [one.name for one in result.baselines] == [[], ["majority class", "linear model"]][kind == "all"]
        weights.append({**learner.network.state_dict(), "random": torch.get_rng_state()})
        assert result.run is not None
        page, card = result.run.report.read_text("utf-8"), (result.run.bundle / "card.md").read_text("utf-8")
        assert ("Beside simple models" in page) == ("linear model" in card) == (kind == "all")
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_the_command_says_it(command: Callable[..., Any]) -> None:
    found = command("train", "digits", "--epochs", "1", "--widths", "8,16", "--threads", "1", "--baseline", "majority")
    assert found.exit_code == 0 and "better than the majority class" in found.stdout
    assert command("train", "digits", "--baseline", "svm").exit_code == 2


def test_one_class_alone_has_a_linear_answer() -> None:
    assert linear_answers(np.zeros((3, 2)), np.zeros((2, 2)), np.array([1, 1, 1])).tolist() == [1, 1]


def test_features_of_odd_samples() -> None:
    seen, held = text_features([[], []], [["a"]])
    assert seen.shape == (2, 1) and held.shape == (1, 1)
    big = picture_features(torch.full((1, 40, 40, 3), 255, dtype=torch.uint8))
    assert big.shape == (1, 14 * 14 * 3) and np.allclose(big, 0.5)


def test_series_of_any_length_have_as_many_features() -> None:
    def some(steps: int) -> SeriesSet:
        mask = torch.arange(steps) < torch.tensor([[steps], [steps // 2 + 1]])
        return SeriesSet(torch.randn(2, steps, 3), mask, None, ("a", "b"))

    assert {series_features(some(steps), steps=8).shape for steps in (1, 5, 40)} == {(2, 8 * 3 + 4 * 3 + 1)}


def test_usual_tags_are_the_most_frequent() -> None:
    words, tags = [["to", "run", "a", "run", "it"]], [["P", "V", "D", "N", "O"]]
    assert usual_tags([*words, ["run"]], [*tags, ["N"]], [["run", "new", "a"]])[0] == ("N", "D", "D")


def test_a_tagger_stands_beside_its_words() -> None:
    sentences, tags = [["a", "cat", "sleeps"], ["a", "dog", "runs"]] * 20, [["DET", "NOUN", "VERB"]] * 40
    result = SequenceTagger(epochs=1, units=4, threads=1).fit(sentences, tags, test=0.2)
    assert [one.name for one in result.baselines] == ["majority tag", "most frequent tag of each word"]
    assert result.baselines[1].difference.b == 1.0 and result.baselines[0].difference.b == pytest.approx(1 / 3)


def test_the_linear_forecast_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    values = torch.tensor(random.normal(size=(120, 2)).cumsum(0), dtype=torch.float32)
    train = WindowBatches(values, lookback=6, horizon=3, rows=range(80), batch_size=16)
    test = WindowBatches(values, lookback=6, horizon=3, rows=range(80, 120), batch_size=16)

    def parts(batches: WindowBatches) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        rows = [(b.inputs, b.targets) for b in batches]
        past, future = (torch.cat([row[k] for row in rows]).transpose(1, 2).double().numpy() for k in (0, 1))
        return (past - past[..., -1:]).reshape(-1, 6), (future - past[..., -1:]).reshape(-1, 3)

    seen, wanted = parts(train)
    alpha = 1e-3 * np.diag(seen.T @ seen).mean()
    model = Ridge(alpha=alpha, fit_intercept=False).fit(seen, wanted)
    held, truth = parts(test)
    errors = ((model.predict(held) - truth) ** 2).mean(1).reshape(-1, 2).mean(1)
    assert linear_forecast_errors(train, test) == pytest.approx(errors, rel=1e-3)
