"""The classifier's report: on real digits, on nothing at all, with hostile names, with many classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from sklearn.naive_bayes import GaussianNB

from corecur.learners.evaluation import evaluate_classifier
from corecur.report.charts import ClassScore
from corecur.report.classification import (
    Activation,
    ClassificationReport,
    Mistake,
    flat_config,
    largest_confusions,
    write_classification_report,
)
from corecur.report.page import Finding

from .reader import EVIL, Reader, check_page

TITLES = ["Result", "Curves", "Confusion", "Per class", "Calibration", "Worst mistakes", "Samples",
          "What the first layers see", "Network", "Configuration", "Environment", "Commands"]  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> ClassificationReport:
    """A real classifier with real mistakes: naive Bayes on scikit-learn's digits."""
    data = load_digits()
    images: NDArray[Any] = (data.images * 15.9).astype(np.uint8)[..., None]  # (N, 8, 8, 1)
    classes = [str(name) for name in data.target_names]
    model = GaussianNB(var_smoothing=1e-3).fit(data.data[:1400], data.target[:1400])
    shares, truth = model.predict_proba(data.data[1400:]), data.target[1400:]
    answers = shares.argmax(axis=1)
    scores = precision_recall_fscore_support(truth, answers)
    wrong = np.flatnonzero(answers != truth)
    tested = evaluate_classifier(torch.tensor(shares), torch.tensor(truth), classes, temperature=2.0)
    rng = np.random.default_rng(0)
    return ClassificationReport(
        "digits",
        command="corecur train digits --seed 7",
        when="20 November 2025",
        verdict="Most digits are recognised.",
        summary={"Parameters": "272,474", "Where": "runs/20251120-184210-digits"},
        next_commands=["corecur predict photo.png"],
        history=[{"epoch": e, "loss": 1 / e, "accuracy": 1 - 0.5 / e} for e in range(1, 6)],
        test={"accuracy": (answers == truth).mean(), "low": 0.8, "high": 0.9, "samples": len(truth)},
        per_class=[
            ClassScore(name, *map(float, row[:3]), int(row[3])) for name, *row in zip(classes, *scores, strict=True)
        ],
        classes=classes,
        confusion=confusion_matrix(truth, answers),
        reliability=tested.reliability(),
        mistakes=[
            Mistake(images[1400 + i], f"digits[{1400 + i}]", classes[truth[i]], classes[answers[i]], shares[i].max())
            for i in wrong
        ],
        class_counts={"train": dict.fromkeys(classes, 140), "test": dict.fromkeys(classes, 39)},
        sample_images={name: images[data.target == i][:8] for i, name in enumerate(classes)},
        filters=rng.normal(size=(32, 3, 3, 1)),
        activations=[Activation("conv_1", images[0], rng.normal(size=(32, 8, 8)))],
        network_summary="layer  shape\nconv   (8, 8, 32)",
        config={"seed": 7, "optimizer": {"name": "sgd"}},
        environment={"torch": "2.13.0"},
        findings=[Finding("over-fitting", "the gap grows", "augment", "warning")],
    )


def _read(path: Path, report: ClassificationReport) -> Reader:
    return check_page(write_classification_report(path / "report.html", report).read_text(encoding="utf-8"))


def _headings(source: str) -> list[str]:
    return [part.split("</h2>")[0] for part in source.split("<h2>")[1:]]


def test_the_report_of_a_real_run(tmp_path: Path, digits: ClassificationReport) -> None:
    path = write_classification_report(tmp_path / "report.html", digits)
    source = path.read_text(encoding="utf-8")
    words = check_page(source).words
    assert len(source) < 500_000
    assert _headings(source) == TITLES
    assert digits.test is not None and digits.confusion is not None
    for number in (
        f"{100 * digits.test['accuracy']:.1f} %",
        "80.0–90.0 %",
        "397",
        "272,474",
        "optimizer.name",
        "2.13.0",
    ):
        assert number in words
    for row in digits.per_class:
        assert all(f"{100 * share:.1f}" in words for share in row[1:4])
    assert largest_confusions(digits.confusion, digits.classes)[0] in words
    assert digits.command in words and digits.next_commands[0] in words and digits.verdict in words
    assert f"{digits.mistakes[0].truth} → {digits.mistakes[0].predicted}" in words


def test_the_same_report_is_the_same_bytes(tmp_path: Path, digits: ClassificationReport) -> None:
    first = write_classification_report(tmp_path / "a.html", digits).read_bytes()
    assert write_classification_report(tmp_path / "b.html", digits).read_bytes() == first


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    path = write_classification_report(tmp_path / "report.html", ClassificationReport("nothing"))
    words = check_page(path.read_text(encoding="utf-8")).words
    assert _headings(path.read_text(encoding="utf-8")) == TITLES
    for sentence in ("No test set", "No training history", "no test set to count", "No samples", "started from Python"):
        assert sentence in words


@pytest.mark.parametrize(
    "missing",
    [
        {"test": None, "confusion": None, "per_class": (), "mistakes": (), "reliability": None},
        {"mistakes": ()},
        {"history": [{"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.1, "val_accuracy": 0.4}]},
        {"reliability": None},
        {"test": {"accuracy": float("nan"), "samples": 0}},
        {"filters": None, "activations": ()},
    ],
)
def test_any_part_may_be_missing(tmp_path: Path, digits: ClassificationReport, missing: dict[str, Any]) -> None:
    _read(tmp_path, replace(digits, **missing))


def test_no_mistakes_is_said(tmp_path: Path, digits: ClassificationReport) -> None:
    perfect = replace(digits, mistakes=(), confusion=np.eye(10, dtype=int) * 39)
    words = _read(tmp_path, perfect).words
    assert "No mistakes on the test set." in words and "Not one sample was taken for another class." in words


def test_hostile_names_stay_words(tmp_path: Path, digits: ClassificationReport) -> None:
    names = [EVIL, "猫（短毛家猫，灰色条纹，非常长的名字）", "$x_{$", "a\u202eb", *digits.classes[4:]]
    mistake = replace(digits.mistakes[0], name=EVIL, truth=EVIL, predicted=names[1])
    hostile = replace(
        digits, title=EVIL, command=EVIL, when=EVIL, verdict=EVIL, summary={EVIL: EVIL}, next_commands=[EVIL],
        classes=names, mistakes=[mistake], network_summary=EVIL, config={EVIL: {EVIL: [EVIL]}},
        environment={EVIL: EVIL},
        per_class=[row._replace(name=name) for row, name in zip(digits.per_class, names, strict=True)],
        class_counts={EVIL: dict.fromkeys(names, 1)}, findings=[Finding(EVIL, EVIL, EVIL)],
        sample_images={EVIL: digits.sample_images["0"]},
        activations=[replace(digits.activations[0], title=EVIL)],
    )  # fmt: skip
    reader = _read(tmp_path, hostile)
    assert reader.words.count(EVIL) > 15 and names[1] in reader.words and "a\\u202eb" in reader.words
    assert "\u202e" not in reader.words


@pytest.mark.parametrize("number", [2, 100, 1000])
def test_any_number_of_classes(tmp_path: Path, number: int) -> None:
    rng = np.random.default_rng(0)
    classes = [f"class {i}" for i in range(number)]
    matrix = np.diag(rng.integers(10, 40, number)) + rng.integers(0, 2, (number, number))
    report = ClassificationReport(
        "many",
        classes=classes,
        confusion=matrix,
        per_class=[
            ClassScore(name, 0.9, float(share), 0.9, 30)
            for name, share in zip(classes, rng.random(number), strict=True)
        ],
        class_counts={"train": dict.fromkeys(classes, 5)},
        sample_images={name: [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)] * 8 for name in classes},
    )
    path = write_classification_report(tmp_path / "report.html", report)
    reader = check_page(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 1_500_000
    assert (f"{number - 25} more rows" in reader.words) == (number > 25)
    assert all(name in reader.words for name in classes)


def test_confusions_in_words_are_the_largest_counts() -> None:
    matrix = np.array([[5, 2, 0], [1, 0, 9], [0, 2, 70]])
    assert largest_confusions(matrix, ["a", "b", "c"]) == [
        "b was taken for c: 9 times (of 10)",
        "a was taken for b: twice (of 7)",
        "c was taken for b: twice (of 72)",
        "b was taken for a: once (of 10)",
    ]
    assert largest_confusions(matrix, ["a", "b", "c"], most=1) == ["b was taken for c: 9 times (of 10)"]


def test_settings_are_flat_and_complete() -> None:
    nested = {"a": {"b": {"c": 1}, "d": ()}, "e": None, "f": {}, "g": False, "h": "x"}
    assert flat_config(nested) == {"a.b.c": 1, "a.d": "none", "e": "none", "f": "none", "g": False, "h": "x"}
