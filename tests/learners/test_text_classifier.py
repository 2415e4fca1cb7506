from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from corecur import cli
from corecur.bundle.open import open_untrusted
from corecur.errors import BundleError, ConfigError, DataError
from corecur.learners.text_classifier import TextClassifier

GOOD, BAD = ("good", "fine", "lovely", "great"), ("bad", "dull", "awful", "poor")
NOUNS = ("film", "book", "play", "song", "story")
QUICK: dict[str, Any] = {"epochs": 4, "units": 8, "embedding": 16, "filters": 8, "threads": 1, "precision": "float32"}
LABELS = ("no", "yes")


def reviews(count: int = 120, seed: int = 0) -> tuple[list[str], list[str]]:
    """Short reviews and whether they are kind; easy to tell apart."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for number in range(count):
        kind = (BAD, GOOD)[number % 2]
        words = [random.choice(kind), random.choice(NOUNS), "and", random.choice(kind), random.choice(NOUNS)]
        texts.append(" ".join(["a", *words[: 1 + random.integers(2, 5)], "."]))
        labels.append(LABELS[number % 2])
    return texts, labels


@pytest.fixture(scope="module")
def learner() -> TextClassifier:
    texts, labels = reviews()
    learner = TextClassifier(**QUICK)
    learner.fit(texts, labels)
    return learner


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    texts, labels = reviews()
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("review", "label"), *zip(texts, labels, strict=True)])
    return path


@pytest.mark.parametrize("model", ["gru", "lstm", "cnn", "gru+cnn"])
def test_every_network_learns(model: str) -> None:
    learner = TextClassifier(model=model, **QUICK)
    result = learner.fit(*reviews())
    assert result.test.accuracy == 1.0 and learner.classes == LABELS
    answer, other = learner.predict(["what a lovely story", "what a dull story"])
    assert (answer.label, other.label) == ("yes", "no")
    assert answer.tokens == ("what", "a", "lovely", "story")
    assert abs(sum(answer.weights) - 1) < 1e-5 and len(answer.weights) == 4
    assert abs(sum(answer.probabilities.values()) - 1) < 1e-5


def test_a_network_that_only_reads_or_pools_its_steps_learns_too() -> None:
    texts, labels = reviews()
    for more in ({"votes": False, "word_parts": False}, {"pool": 2, "longest": 5}):
        learner = TextClassifier(**QUICK | {"epochs": 12} | more)
        assert learner.fit(texts, labels).test.accuracy > 0.9
        answer = learner.predict("a good film and a good play and a good book")[0]
        assert abs(sum(answer.weights) - 1) < 1e-5
        assert len(answer.tokens) == len(answer.weights) == (5 if "pool" in more else 11)


@pytest.mark.parametrize("pool", [1, 4])
def test_the_answer_does_not_depend_on_what_is_beside_it(pool: int) -> None:
    learner = TextClassifier(**QUICK | {"epochs": 2, "pool": pool})
    learner.fit(*reviews())
    texts = ["good", "a dull film and an awful play", "", "zzz qqq", "a " * 301 + "good film", "lovely story"]
    together = learner.read_texts(texts, weigh=True)
    assert bool(together.probabilities.isfinite().all())
    for row, text in enumerate(texts):
        alone = learner.read_texts([text], weigh=True)
        torch.testing.assert_close(alone.probabilities[0], together.probabilities[row], atol=1e-5, rtol=0)
        np.testing.assert_allclose(alone.weights[0], together.weights[row], atol=1e-5)


def test_the_seed_gives_the_bytes_of_the_model(tmp_path: Path) -> None:
    contents = []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)  # what went before does not matter
        learner = TextClassifier(seed=seed, **QUICK | {"epochs": 1})
        learner.fit(*reviews(60))
        path = learner.save(tmp_path / str(number))
        contents.append((path / "weights.safetensors").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_a_bundle_gives_the_same_answers(learner: TextClassifier, tmp_path: Path) -> None:
    path = learner.save(tmp_path / "model.corecur")
    texts = ["what a fine book", "awful", ""]
    again = TextClassifier.load(path, precision="float32")
    assert [a.as_json() for a in again.predict(texts)] == [a.as_json() for a in learner.predict(texts)]
    assert again.evaluate(*reviews(40, seed=5)).accuracy == 1.0
    with pytest.raises(ConfigError, match="not trained"):
        TextClassifier().predict("x")


def test_a_bundle_whose_parts_do_not_fit_is_refused(learner: TextClassifier, tmp_path: Path) -> None:
    path = learner.save(tmp_path / "model")
    bundle = open_untrusted(path)
    other = TextClassifier(**QUICK | {"epochs": 1})
    other.fit([text.replace("film", "picture") for text in reviews(60)[0]], reviews(60)[1])
    for wrong in ({"preprocess": other.preprocess.model_dump(mode="json")}, {"labels": ["a", "b", "c"]}):
        with pytest.raises(BundleError):
            TextClassifier.from_bundle(type(bundle)(**vars(bundle) | wrong))


def test_validation_and_test_of_their_own_and_shares() -> None:
    texts, labels = reviews()
    learner = TextClassifier(**QUICK | {"epochs": 1})
    own = reviews(30, seed=2)
    data = learner.read(texts, labels, test=own, validation=0.25)
    assert data.test is not None and data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (90, 30, 30)
    result = learner.fit(data)
    assert result.test.samples == 30
    with pytest.raises(DataError, match="class"):
        learner.evaluate(["a text"], ["maybe"])


def test_a_time_budget_is_kept() -> None:
    learner = TextClassifier(threads=1, units=8, precision="float32")
    result = learner.fit(*reviews(), seconds=4)
    assert result.seconds < 8 and len(result.history) >= 1


def test_more_time_than_the_recipe_needs_changes_hardly_anything() -> None:
    timed, free = (TextClassifier(**QUICK | {"epochs": 3}) for _ in range(2))
    results = [timed.fit(*reviews(), seconds=3600), free.fit(*reviews())]
    assert [len(result.history) for result in results] == [3, 3]
    for ours, theirs in zip(timed.network.parameters(), free.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3)  # the clock is ahead in the first step


def test_texts_that_say_nothing_are_answered_like_no_text(learner: TextClassifier) -> None:
    answers = learner.predict(["", "  \n", "\u200b", "zzz qqq", "x" * 10_000_000])
    for answer in answers:
        assert abs(sum(answer.probabilities.values()) - 1) < 1e-5
    assert answers[0].tokens == () and answers[0].probabilities == answers[1].probabilities
    assert answers[0].probabilities == answers[2].probabilities
    assert len(answers[4].tokens) == 1 and len(answers[4].tokens[0]) <= 64


BAD_SOURCES = {
    "empty texts": (["", " "] * 20, ["a", "b"] * 20, "no text"),
    "no word": (["\u200b\u200b"] * 40, ["a", "b"] * 20, "no token"),
    "one class": (["good"] * 40, ["a"] * 40, "class"),
    "numbers": ([1, 2], ["a", "b"], "no text"),
    "labels missing": (["good", "bad"], ["a"], "differ in number"),
}


@pytest.mark.parametrize("case", BAD_SOURCES)
def test_what_cannot_be_learned_from_is_named(case: str) -> None:
    texts, labels, said = BAD_SOURCES[case]
    with pytest.raises(DataError, match=said):
        TextClassifier(**QUICK).fit(texts, labels)


def test_odd_texts_are_set_aside_or_learned_from_without_nan() -> None:
    texts, labels = reviews(60)
    texts[:5] = ["", "   ", "\u200b", "x" * 10_000_000, "q"]
    learner = TextClassifier(**QUICK)
    result = learner.fit(texts, labels)
    assert all(np.isfinite(row["loss"]) for row in result.history)
    assert any("2 of 60 train texts are empty and were set aside" in str(finding) for finding in result.findings)


FILES = {
    "ragged": ("review,label\ngood film,yes\nbad,film,no\n", "another number of columns"),
    "a column twice": ("review,label,label\ngood film,yes,1\nbad film,no,0\n", "two columns have one name"),
    "no label": ("review,number\n" + "".join(f"a good film indeed,{n}\n" for n in range(30)), "no label column"),
    "not UTF-8": ("review,label\nd\xe9j\xe0 vu,yes\n".encode("utf-16-le"), "no text"),
    "nothing": ("", "empty"),
}

UNCLEAR = {"not UTF-8", "nothing"}  # what they are for, nobody can tell


@pytest.mark.parametrize("case", FILES)
def test_bad_files_are_named_by_the_command(command: Callable[..., Any], tmp_path: Path, case: str) -> None:
    content, said = FILES[case]
    path = tmp_path / "reviews.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = command("train", path, *(["--task", "text-classification"] if case in UNCLEAR else []))
    assert result.exit_code == 1 and said in result.stderr
    assert "Traceback" not in result.stderr


def test_latin_1_is_read_with_a_finding(command: Callable[..., Any], tmp_path: Path) -> None:
    texts, labels = reviews(60)
    lines = [f"{label} {text} caf\xe9" for text, label in zip(texts, (int(y == "yes") for y in labels), strict=True)]
    (tmp_path / "set.all").write_bytes("\n".join(lines).encode("latin-1"))
    result = command("train", "set.all", "--show-recipe")
    assert result.exit_code == 0, result.stderr
    assert "! 1 file is not UTF-8" in result.stdout and "task: text-classification" in result.stdout
    assert "--word-dropout" in result.stdout and "--text-column" in result.stdout


def test_the_commands_from_training_to_answers(command: Callable[..., Any], table: Path, tmp_path: Path) -> None:
    found = command("train", table, "--epochs", 4, "--units", 8, "--threads", 1, "--test", 0.25, "--json")
    assert found.exit_code == 0, found.stderr
    figures = json.loads(found.stdout)
    assert figures["task"] == "text-classification" and figures["test"]["samples"] == 30
    assert figures["test"]["accuracy"] == 1.0
    page = Path(figures["report"]).read_text("utf-8")
    for wanted in ("Right answers", "--w:100%", "Texts per class and split", "reviews.csv: text classification"):
        assert wanted in page
    bundle = figures["bundle"]

    (tmp_path / "one.txt").write_text("a lovely film\nand a great story", encoding="utf-8")
    (tmp_path / "many.csv").write_text('review\nan awful play\n\n""\na fine song\n', encoding="utf-8")
    answers = json.loads(command("predict", bundle, "one.txt", "many.csv", "--json").stdout)
    assert [a["name"] for a in answers][:2] == ["one.txt", "many.csv:2"]
    assert [a["label"] for a in answers][:2] == ["yes", "no"] and answers[-1]["label"] == "yes"
    assert answers[0]["tokens"][1][0] == "lovely" and answers[0]["text"].startswith("a lovely")
    rows = list(csv.DictReader(io.StringIO(command("predict", bundle, "many.csv", "--format", "csv").stdout)))
    assert rows[0]["text"] == "many.csv:2" and float(rows[0]["no"]) > 0.5
    said = command("predict", bundle, "one.txt").stdout
    assert "a lovely film and a great story" in said and "yes" in said
    again = json.loads(command("evaluate", bundle, table, "--json").stdout)
    assert again["test"]["samples"] == 120 and again["test"]["accuracy"] == 1.0
    assert "vocabulary: " in command("info", bundle).stdout


def test_standard_input_is_a_text_a_line(learner: TextClassifier, tmp_path: Path) -> None:
    path = learner.save(tmp_path / "m")
    words = ["predict", str(path), "-", "--json"]
    result = CliRunner().invoke(cli.app, words, input="a lovely film\n\nan awful one\n")
    answers = json.loads(result.stdout)
    assert [(a["name"], a["label"]) for a in answers] == [("line 1", "yes"), ("line 3", "no")]
    assert CliRunner().invoke(cli.app, words, input="a caf\xe9 film\n".encode("latin-1")).exit_code == 0
    nothing = CliRunner().invoke(cli.app, words, input="\n")
    assert nothing.exit_code == 1 and "there is no text" in nothing.stderr
