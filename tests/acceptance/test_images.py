"""The main job on real data: from images to a trained, tested, reported and saved network, by the command alone.

These are short versions; ``bench`` has the long ones, and the figures stand in ``docs/image-recipe.md``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from corecur.data.images import ImageSet
from corecur.data.open_images import load_images

pytestmark = pytest.mark.acceptance

Answer = Callable[..., Any]

# Accuracy on the test split. The whole job is to reach 98.5 % as a mean over 5 seeds (digits), 99.0 % within 40 s
# of training (MNIST), 80 % within 25 minutes (CIFAR-10, 20,000 training images). These are shortened by epochs, not by
# seconds, so that a slow machine takes longer and passes all the same. Bars: what was measured, less three standard
# errors and a margin for other seeds and machines.
DIGITS_BAR = 0.975  # each of two seeds; measured 99.2 to 99.7 % over five, 359 test samples
MNIST_BAR = 0.985  # 1 epoch; measured 99.58 to 99.67 % over three seeds
CIFAR10_BAR = 0.76  # 3 epochs; measured 84.4 %, one seed
SIGN_DIGITS_BAR = 0.90  # 10 epochs; measured 100 %, one seed, 240 test samples
TIMED_DIGITS_BAR = 0.90  # --time 30s, whatever else runs on the machine


def check_run(found: dict[str, Any], folder: Path, *, bar: float) -> None:
    """The figures reach the bar, and everything was written."""
    run = folder / found["run"]
    assert {entry.name for entry in run.iterdir()} == {
        "answers.json", "bundle", "checkpoints", "config.json", "doctor.jsonl", "log.txt", "metrics.jsonl",
        "report.html",
    }  # fmt: skip
    low, high = found["test"]["interval"]
    assert low < found["test"]["accuracy"] < high or found["test"]["accuracy"] in (low, high)
    assert found["test"]["accuracy"] >= bar


def write_pictures(images: ImageSet, folder: Path, *, count: int) -> dict[str, int]:
    """The first pictures as PNG files; the label of each file."""
    assert images.labels is not None
    folder.mkdir()
    labels = {}
    for row in range(count):
        path = folder / f"{row}.png"
        pixels = images.images[row].numpy()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
        labels[f"{folder.name}/{path.name}"] = int(images.labels[row])
    return labels


def test_digits_from_the_first_command_to_the_last(program: Callable[..., str], answer: Answer, tmp_path: Path) -> None:
    said = program("train", "digits")  # about 30 s
    (run,) = (tmp_path / "runs").iterdir()
    page = (run / "report.html").read_text("utf-8")
    for wanted in ("corecur train digits", "Confusion", "Worst mistakes", "data:image/png;base64,"):
        assert wanted in page
    following = [line.split()[1:] for line in said.splitlines() if line.startswith("  corecur ")]
    assert [words[0] for words in following] == ["predict", "evaluate", "info"]
    bundle = following[0][1]
    found = answer("evaluate", bundle, "digits")["test"]  # all of them, those trained on included
    assert found["samples"] == 1797 and found["accuracy"] >= DIGITS_BAR

    digits = load_images("digits")
    labels = write_pictures(digits.train, tmp_path / "digits written", count=50)
    answers = answer("predict", bundle, "digits written")
    assert sum(digits.classes.index(a["label"]) == labels[a["file"]] for a in answers) >= 48
    assert "parameters: " in program(*following[2])


@pytest.mark.parametrize("seed", [0, 1])
def test_digits(answer: Answer, tmp_path: Path, seed: int) -> None:
    check_run(answer("train", "digits", "--seed", seed), tmp_path, bar=DIGITS_BAR)  # about 30 s each


def test_digits_in_a_given_time(answer: Answer, tmp_path: Path) -> None:
    check_run(answer("train", "digits", "--time", "30s"), tmp_path, bar=TIMED_DIGITS_BAR)


def test_mnist_and_what_comes_after(
    answer: Answer, program: Callable[..., str], data: Callable[[str], Path], tmp_path: Path
) -> None:
    source = data("mnist")
    found = answer("train", source, "--epochs", "1")
    check_run(found, tmp_path, bar=MNIST_BAR)
    assert found["test"]["samples"] == 10_000  # the official test split
    again = answer("evaluate", found["bundle"], source)["test"]
    assert again["correct"] == found["test"]["correct"]

    test = load_images(source).test
    assert test is not None
    labels = write_pictures(test, tmp_path / "written", count=200)
    rows = list(csv.DictReader(io.StringIO(program("predict", found["run"], "written", "--format", "csv"))))
    assert len(rows) == 200
    assert sum(int(row["label"]) == labels[row["file"]] for row in rows) >= 196


def test_cifar10(answer: Answer, data: Callable[[str], Path], tmp_path: Path) -> None:
    source = data("cifar10")
    found = answer("train", source, "--epochs", "3")
    check_run(found, tmp_path, bar=CIFAR10_BAR)
    assert found["test"]["samples"] == 10_000
    assert "airplane" in found["test"]["per_class"]


def test_a_folder_of_photographs(answer: Answer, data: Callable[[str], Path], tmp_path: Path) -> None:
    source = data("sign_digits")
    found = answer("train", source, "--epochs", "10")
    check_run(found, tmp_path, bar=SIGN_DIGITS_BAR)
    photos = sorted((source / "7").iterdir())[:20]
    answers = answer("predict", found["bundle"], *photos)
    assert [entry["file"] for entry in answers] == [str(photo) for photo in photos]
    assert sum(entry["label"] == "7" for entry in answers) >= 17
