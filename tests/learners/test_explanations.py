"""Explanations of every learner's answers, from Python and from the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError, DataError
from corecur.explain.attribution import Attribution, Look
from corecur.explain.methods import METHODS, Effort, fitting
from corecur.learners.explanation_section import explanation_section
from corecur.learners.explanations import questions_of
from corecur.learners.forecaster import Forecaster
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.text_classifier import TextClassifier
from corecur.learners.text_generator import TextGenerator

QUICK: dict[str, Any] = {"samples": 48, "steps": 16, "rankings": 4}
WORDS = [("a good film indeed", "+"), ("so fine a play", "+"), ("a bad film indeed", "-"), ("so dull a play", "-")] * 12


@pytest.fixture(scope="module")
def reader() -> TextClassifier:
    """A classifier of short texts; the votes of words and pairs are in it."""
    learner = TextClassifier(epochs=3, threads=1, units=8, embedding=8)
    learner.fit([text for text, _ in WORDS], [label for _, label in WORDS])
    return learner


@pytest.fixture(scope="module")
def tagger() -> SequenceTagger:
    learner = SequenceTagger(epochs=4, units=8, threads=1)
    learner.fit([["a", "cat", "sleeps"], ["a", "dog", "runs"]] * 10, [["DET", "NOUN", "VERB"]] * 20)
    return learner


@pytest.fixture(scope="module")
def writer() -> TextGenerator:
    learner = TextGenerator(epochs=2, units=16, bptt_steps=16, learning_rate=0.02, threads=1)
    learner.fit(["abcd" * 300])
    return learner


@pytest.fixture(scope="module")
def curves() -> SeriesClassifier:
    learner = SeriesClassifier(model="lstm-fcn", filters=4, units=4, epochs=2, members=1, threads=1)
    learner.fit("waves")
    return learner


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    learner = Forecaster(epochs=1, hidden=8, rows=480, threads=1)
    learner.fit("demand")
    return learner


def inside_out(answers: list[Any]) -> Attribution:
    (found,) = answers
    assert isinstance(found, Attribution)
    return found


def test_the_score_of_a_text_is_the_answers_own(reader: TextClassifier) -> None:
    (question,) = questions_of(reader, ["so fine a film, so fine"])
    p = reader.predict("so fine a film, so fine")[0].probabilities
    place = question.target
    (score,) = question.scores(question.inputs[None]).tolist()
    assert score == pytest.approx(np.log(p[place] / (1 - p[place])), abs=1e-4)


@pytest.mark.parametrize("away", [[0], [1], [1, 2], [0, 3], [0, 1, 2, 3, 4, 5, 6]])
def test_a_word_behind_a_shut_gate_is_an_unknown_word(reader: TextClassifier, away: list[int]) -> None:
    words = ["so", "fine", "a", "film", "so", "fine", "indeed"]
    (question,) = questions_of(reader, [" ".join(words)], "+")
    kept = torch.ones(1, len(words))
    kept[0, away] = 0
    replaced = ["zzqq" if place in away else word for place, word in enumerate(words)]
    p = reader.predict(" ".join(replaced))[0].probabilities["+"]
    assert float(question.scores_of(kept)) == pytest.approx(np.log(p / (1 - p)), abs=1e-4)


@pytest.mark.parametrize("method", ["auto", "input-gradient", "integrated-gradients", "kernel-shap", "lime"])
def test_the_word_that_decides_is_found(reader: TextClassifier, method: str) -> None:
    found = inside_out(reader.explain(["a good film"], method=method, samples=256))
    assert found.shown.words[int(found.scores.argmax())] == "good"
    assert found.gap is None or abs(found.gap) < 1e-2


def test_attention_is_that_of_predict(reader: TextClassifier) -> None:
    found = inside_out(reader.explain(["a good film"], method="attention", check=False))
    assert found.scores.tolist() == pytest.approx(list(reader.predict("a good film")[0].weights), abs=1e-5)


def test_the_score_of_a_tag_is_its_marginal(tagger: SequenceTagger) -> None:
    found = inside_out(tagger.explain(["a dog sleeps"], target="dog", check=False))
    assert found.target == "dog = NOUN" and found.scores.shape == (3,)
    other = inside_out(tagger.explain([["a", "dog", "sleeps"]], target="dog=VERB", check=False))
    assert float(other.scores.sum()) != float(found.scores.sum())
    with pytest.raises(ConfigError, match="did you mean 'dog'"):
        tagger.explain(["a dog sleeps"], target="dgo")
    with pytest.raises(ConfigError, match="unknown tag"):
        tagger.explain(["a dog sleeps"], target="dog=NUON")


def test_the_next_token_rests_on_the_last_one(writer: TextGenerator) -> None:
    found = inside_out(writer.explain("abcdab", method="occlusion", check=False))
    assert found.scores.shape == (6,) and int(np.abs(found.scores).argmax()) == 5


def test_a_forecast_rests_on_its_own_column(forecaster: Forecaster) -> None:
    column = forecaster.preprocess.columns[-1]
    found = inside_out(forecaster.explain("demand", target=column, method="integrated-gradients", check=False))
    assert np.abs(found.scores).sum(0).argmax() == len(forecaster.preprocess.columns) - 1
    assert abs(found.gap or 0) < 1e-2
    with pytest.raises(ConfigError, match="unknown column"):
        forecaster.explain("demand", target="nothing")


def test_every_fitting_method_gives_finite_json(
    reader: TextClassifier, curves: SeriesClassifier, writer: TextGenerator, trained: Path
) -> None:
    pictures = ImageClassifier.load(trained)
    asked: list[tuple[Any, Any]] = [
        (reader, ["a good film"]), (curves, torch.rand(40)), (writer, ["abcab"]),
        (pictures, np.full((1, 12, 12, 1), 30, np.uint8)),
    ]  # fmt: skip
    for learner, source in asked:
        (question,) = questions_of(learner, source)
        for method in fitting(question, Effort()):
            (found,) = learner.explain(source, method=method, **QUICK, check=method in ("gradient", "occlusion"))
            text = json.dumps(found.as_json(), allow_nan=False)
            assert found.as_json()["method"] == method and "seconds" in text
            if isinstance(found, Attribution):
                assert found.scores.shape == question.parts.shape
            else:
                assert found.panels


def test_neighbours_of_a_training_sample_begin_with_itself(reader: TextClassifier, curves: SeriesClassifier) -> None:
    data = reader.read([text for text, _ in WORDS], [label for _, label in WORDS])
    (found,) = reader.explain([data.train.texts[0]], method="neighbours", known=data)
    assert isinstance(found, Look) and "likeness 1.000" in found.panels[0].title
    with pytest.raises(ConfigError, match="no training samples"):
        curves.explain(torch.rand(40), method="neighbours")


def test_wrong_methods_and_labels_are_told(reader: TextClassifier, trained: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)unknown explanation method 'oclusion'.*did you mean 'occlusion'"):
        reader.explain(["good"], method="oclusion")
    picture = np.zeros((1, 12, 12, 1), np.uint8)
    with pytest.raises(ConfigError, match=r"(?s)states does not fit here.*one of auto, gradient"):
        ImageClassifier.load(trained).explain(picture, method="states")
    with pytest.raises(ConfigError, match=r"(?s)unknown label 'drak'.*did you mean 'dark'"):
        ImageClassifier.load(trained).explain(picture, target="drak")
    with pytest.raises(ConfigError, match="setting of an explanation"):
        reader.explain(["good"], smaples=3)
    with pytest.raises(ConfigError, match="no layer"):
        ImageClassifier.load(trained).explain(picture, method="grad-cam", layer="nothing")
    with pytest.raises(DataError, match="nothing in the sample"):
        reader.explain([""])


def test_the_section_shows_words_and_stays_in_its_time(reader: TextClassifier) -> None:
    data = reader.read([text for text, _ in WORDS], [label for _, label in WORDS])
    section = explanation_section(reader, data, seconds=0.5)
    assert section is not None
    html = section.html("x")
    assert "random rankings" in html or "not faithful here" in html
    assert "--w:100%" in html


def test_the_command_writes_pictures_and_json(
    trained: Path, split_shades: Path, command: Callable[..., Any], tmp_path: Path
) -> None:
    picture = next((split_shades / "test" / "light").iterdir())
    told = command("explain", trained, picture, "--samples", 32)
    assert told.exit_code == 0, told.stderr
    assert "taken for light" in told.stdout and "random" in told.stdout
    (drawn,) = (tmp_path / "explanations").iterdir()
    assert drawn.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    found = command("explain", trained, picture, picture, "--json", "--no-check", "--method", "ig", "--label", "dark")
    values = json.loads(found.stdout)
    assert [value["target"] for value in values] == ["dark", "dark"] and values[0]["faithfulness"] is None
    assert "picture" not in values[0]
    command("explain", trained, picture, picture, "--no-check", "--out", "two.png")
    assert (tmp_path / "two.png").is_file() and (tmp_path / "two-2.png").is_file()
    refused = command("explain", trained, picture, "--method", "attention")
    assert refused.exit_code == 2 and "one of auto" in refused.stderr
    assert command("explain", trained, tmp_path / "none.png").exit_code == 1
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in command("explain", trained, picture, "--no-check", "--out", "file/in").stderr


def test_every_method_says_what_it_is() -> None:
    assert all(method.what for method in METHODS.values())
