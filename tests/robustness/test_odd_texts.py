"""Texts of characters that nobody sees, that belong together, or that are none: learned, answered, reported."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.text_classifier import TextClassifier
from corecur.learners.text_generator import TextGenerator

Command = Callable[..., Any]

FRENCH = ("café très bon", "naïve façade", "déjà vu été", "crème brûlée", "hôtel mal placé", "ça déçoit")
VIETNAMESE = ("rất tệ", "tuyệt vời")
ODD = {
    "zero width": "\u200bze\u200bro wi\u200ddth",
    "right to left": "\u202eright to left\u202c",
    "half a pair": "\ud800 alone \udfff",
    "a family": "👨\u200d👩\u200d👧 at home",
    "byte order mark": "\ufeffbegins here",
    "many accents": "a" + "\u0301" * 500,
    "a long word": "x" * 200_000,
    "zero byte": "nothing \0 here",
    "terminal": "\x1b[31mred\x1b[0m",
    "mathematics": "𝕄𝕒𝕥𝕙 ﬁ",
    "line separator": "one\u2028two\x85three",
    "German": "Straße STRASSE",
    "Turkish": "İstanbul ılık",
    "end of Unicode": "\U0010ffff \ue000",
    "markup": "</script><b>&amp;",
}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> TextClassifier:
    """One that learned from such texts, with a report and a bundle."""
    texts = [*FRENCH, *VIETNAMESE, *ODD.values()] * 2
    learner = TextClassifier(epochs=1, threads=1)
    labels = [("bad", "good")[row % 2] for row in range(len(texts))]
    result = learner.fit(texts, labels, out=tmp_path_factory.mktemp("runs"))
    assert all(math.isfinite(value) for row in result.history for value in row.values())
    assert result.run is not None and "</script><b>" not in result.run.report.read_text("utf-8")
    return TextClassifier.load(result.run.bundle)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> SequenceTagger:
    """The same for a tagger, whose words are these texts."""
    sentences = [[word, "is", "odd"] for word in (*FRENCH, *ODD.values())] * 2
    learner = SequenceTagger(epochs=1, threads=1)
    learner.fit(sentences, [["N", "V", "A"]] * len(sentences))
    return SequenceTagger.load(learner.save(tmp_path_factory.mktemp("t") / "bundle"))


MORE = {"empty": "", "blank": " \u200b\n", "unknown": "zzz qqq", "10 MB": "x" * 10_000_000}


@pytest.mark.parametrize("case", [*ODD, *MORE])
def test_every_text_gets_an_answer(classifier: TextClassifier, tagger: SequenceTagger, case: str) -> None:
    text = {"empty": "", "blank": " \u200b\n", "unknown": "zzz qqq", "10 MB": "x" * 10_000_000}.get(
        case, ODD.get(case, "")
    )
    (answer,) = classifier.predict([text])
    assert math.isclose(sum(answer.probabilities.values()), 1, rel_tol=1e-5)
    assert len(tagger.predict([[text, "is"]])[0].tags) == 2


@pytest.mark.parametrize("text", [*FRENCH, *VIETNAMESE])
def test_composed_and_decomposed_letters_are_one(classifier: TextClassifier, tagger: SequenceTagger, text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert forms[0] != forms[1]
    composed, decomposed = (classifier.predict([form])[0].probabilities for form in forms)
    assert composed == decomposed
    inputs = [tagger.preprocess.spelled([form.split()])[1].tolist() for form in forms]
    assert inputs[0] == inputs[1]
    assert len({tagger.predict([form.split()])[0].tags for form in forms}) == 1


def test_invisible_characters_change_no_answer(classifier: TextClassifier) -> None:
    plain, marked = (
        classifier.predict([text])[0].probabilities for text in ("café très bon", "\ufeffca\u200bfé très\u200f bon")
    )
    assert plain == marked


def test_a_generator_reads_and_writes_them(tmp_path: Path) -> None:
    learner = TextGenerator(epochs=1, threads=1)
    learner.fit(["\n".join(text[:200] for text in (*FRENCH, *ODD.values())) * 30], out=tmp_path / "runs")
    for prompt in (*ODD.values(), ""):
        written = "".join(learner.generate(prompt[:200], length=10, seed=1))
        assert written and written.encode("utf-8")


def test_the_command_prints_them(command: Command, classifier: TextClassifier, tmp_path: Path) -> None:
    rows = [json.dumps({"text": text[:100]}) for text in ODD.values()]
    (tmp_path / "odd.jsonl").write_text("\n".join(rows), "utf-8")
    bundle = classifier.save(tmp_path / "bundle")
    answers = command("predict", bundle, tmp_path / "odd.jsonl", "--json")
    assert len(json.loads(answers.stdout)) == len(ODD)
    # A process of its own, with streams of an encoding that holds hardly any of it.
    words = [sys.executable, "-m", "corecur", "predict", str(bundle), str(tmp_path / "odd.jsonl")]
    settings = os.environ | {"PYTHONIOENCODING": "ascii"}
    table = subprocess.run(words, env=settings, capture_output=True, text=True)
    assert table.returncode == 0 and "\\ud800" in table.stdout, table.stderr
