from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from corecur.data.images import ImageSet
from corecur.data.open_images import load_images
from corecur.learners.evaluation import evaluate_classifier
from corecur.learners.fit_result import FitResult
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.image_report import build_report, worst_mistakes
from corecur.learners.learner import name_of


def test_the_worst_mistakes_are_the_surest_first() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.05, 0.95]])
    labels = torch.tensor([0, 0, 1, 0])
    images = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 2, 2, 1)
    held = ImageSet(images, labels, ("a", "b", "c", "d"))
    found = worst_mistakes(evaluate_classifier(probabilities, labels, ("cat", "dog")), held)
    assert [(m.name, m.truth, m.predicted) for m in found] == [
        ("d", "cat", "dog"), ("b", "cat", "dog"), ("c", "dog", "cat"),
    ]  # fmt: skip
    assert found[0].probability == pytest.approx(0.95) and found[0].image[0, 0, 0] == 3


def test_next_commands_name_a_picture_where_there_is_one(split_shades: Path) -> None:
    bundle = Path("my runs/bundle")
    predict, evaluate, info = ImageClassifier().next_commands(bundle, load_images(split_shades))
    assert predict == f"corecur predict 'my runs/bundle' {split_shades}/test/dark/0.png"
    assert evaluate == "corecur evaluate 'my runs/bundle' FOLDER" and info == "corecur info 'my runs/bundle'"
    digits = ImageClassifier().read("digits")
    assert ImageClassifier().next_commands(bundle, digits)[0] == "corecur predict 'my runs/bundle' PICTURE"


def test_names_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    assert [name_of(origin) for origin in (".", "digits", "a/b.csv", "a/b/")] == ["photos", "digits", "b.csv", "b"]


def test_a_report_without_test_and_validation() -> None:
    images, labels = np.random.default_rng(0).integers(0, 255, (12, 6, 6, 3), np.uint8), np.arange(12) % 2
    learner = ImageClassifier(epochs=1, widths=(4, 8), threads=1)
    data = learner.read(images, labels, validation=0, test=0)
    result: FitResult = learner.fit(data, validation=0, test=0)
    config = {"command": "", "source": "arrays", "seed": 0, "recipe": {}, "environment": learner.environment}
    report = build_report(learner, data, result, config=config)
    assert report.test is None and report.confusion is None and not report.mistakes
    assert report.filters is not None and report.filters.shape == (32, 3, 3, 3)
    assert [seen.maps.shape[1:] for seen in report.activations] == [(6, 6)] * 3
    assert report.class_counts == {"training": {"0": 6, "1": 6}}
    assert "- not tested" in learner.card(data, result, "")
