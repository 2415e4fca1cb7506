from __future__ import annotations

from pathlib import Path

import pytest

from corecur.learners.text_classifier import TextClassifier
from corecur.report.page import render

TEXTS = ["a <b>good</b> film", "a fine film", "the bad play", "the dull play"] * 12
LABELS = ["kind & warm", "kind & warm", "harsh", "harsh"] * 12
QUICK = {"epochs": 2, "units": 4, "embedding": 8, "threads": 1}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("runs")
    result = TextClassifier(**QUICK).fit(TEXTS, LABELS, out=out)
    assert result.run is not None
    return result.run.report.read_text("utf-8")


def test_every_section_is_there(page: str) -> None:
    titles = [
        "Result",
        "Curves",
        "Confusion",
        "Per class",
        "Calibration",
        "Worst mistakes",
        "Right answers",
        "Words that vote",
        "Data",
    ]
    places = [page.index(f"<h2>{title}</h2>") for title in titles]
    assert places == sorted(places)
    assert "Median length" in page or "median length" in page
    assert "tokens not in the vocabulary" in page and "Training texts" in page


def test_words_are_shaded_and_texts_are_inert(page: str) -> None:
    assert 'style="--w:100%"' in page
    assert "<b>good" not in page and "kind &amp; warm" in page
    votes = page[page.index("Words that vote") :]
    assert votes.index("the") < votes.index("Texts per class")


def test_a_training_without_test_or_votes_has_a_report_too(tmp_path: Path) -> None:
    learner = TextClassifier(votes=False, model="cnn", **QUICK)
    data = learner.read(TEXTS, LABELS, test=0)
    result = learner.fit(data, out=tmp_path, test=0)
    sections = learner.report(data, result, {"command": "", "environment": {}} | dict.fromkeys(
        ("source", "seed", "recipe", "reading"), ""
    ))  # fmt: skip
    page = render("texts", "", sections)
    assert "There is no test set to make mistakes on." in page and "Words that vote" not in page
