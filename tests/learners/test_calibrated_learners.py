"""What a temperature does to learners: labels stay, files of before load, small validation splits give none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from corecur.bundle.open import open_untrusted
from corecur.bundle.write import write_bundle
from corecur.engine.calibration import LEAST_SAMPLES
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.series_classifier import SeriesClassifier
from corecur.learners.text_classifier import TextClassifier

TEXTS = ["good film", "fine film", "bad film", "dull film"] * 75
LABELS = ["+", "+", "-", "-"] * 75


@pytest.fixture(scope="module")
def learner() -> ImageClassifier:
    learner = ImageClassifier(epochs=1, widths=(8, 16), threads=1)
    learner.fit("digits", validation=0.1)
    return learner


def test_labels_stay_and_probabilities_change(learner: ImageClassifier) -> None:
    held = learner.read("digits").test
    assert held is not None
    assert learner.preprocess.temperature != 1.0
    before, after = learner.uncalibrated(held.images), learner.probabilities(held.images)
    assert torch.equal(before.argmax(1), after.argmax(1)) and not torch.allclose(before, after)
    found = learner.evaluate("digits")
    assert found.calibration["nll"] < found.calibration["before"]["nll"]


def test_the_temperature_travels_in_the_file(learner: ImageClassifier, tmp_path: Path) -> None:
    again = ImageClassifier.load(learner.save(tmp_path / "bundle"))
    images = torch.randint(0, 255, (3, 8, 8, 1), dtype=torch.uint8)
    assert torch.equal(again.probabilities(images), learner.probabilities(images))


def test_a_file_of_before_loads_with_temperature_1(learner: ImageClassifier, tmp_path: Path) -> None:
    path = learner.save(tmp_path / "bundle")
    old = {k: v for k, v in json.loads((path / "preprocess.json").read_text()).items() if k != "temperature"}
    bundle = open_untrusted(path)
    weights = learner.network.state_dict()
    model, labels = bundle.model, bundle.labels
    shutil.rmtree(path)
    write_bundle(path, model=model, weights=weights, labels=labels, preprocess=old)
    again = ImageClassifier.load(path)
    images = torch.randint(0, 255, (3, 8, 8, 1), dtype=torch.uint8)
    assert again.preprocess.temperature == 1.0
    assert torch.equal(again.probabilities(images), learner.uncalibrated(images))


def test_texts_are_calibrated_too() -> None:
    learner, lines = TextClassifier(epochs=2, threads=1), list[str]()
    result = learner.fit(TEXTS, LABELS, validation=0.2, tell=lines.append)
    assert result.calibration is not None and result.calibration.samples == 60
    assert learner.preprocess.temperature == result.calibration.temperature
    assert any("fitted on 60 validation samples" in line for line in lines)


def test_without_enough_validation_it_is_said() -> None:
    series = torch.cat([torch.zeros(20, 12), torch.ones(20, 12)])
    lines: list[str] = []
    learner = SeriesClassifier(model="fcn", filters=4, epochs=1, threads=1)
    result = learner.fit(series, ["a"] * 20 + ["b"] * 20, tell=lines.append)
    assert result.calibration is not None and result.calibration.temperature == 1.0
    assert any("there is no validation split" in line for line in lines)
    few = TextClassifier(epochs=1, threads=1).fit(TEXTS[:100], LABELS[:100]).calibration
    assert few is not None and few.samples < LEAST_SAMPLES and "too few" in str(few.obstacle)
