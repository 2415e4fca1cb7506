"""Names and labels that a spreadsheet would run as formulas, from the folder to the exported answers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.sequence_tagger import SequenceTagger

Command = Callable[..., Any]
STARTS = ("=", "+", "-", "@", "\t", "\r")


def cells(text: str) -> list[str]:
    """All cells of a CSV text."""
    return [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]


def test_labels_and_file_names(command: Command, tmp_path: Path) -> None:
    names = ("=cmd|calc", "-2+3", "@SUM(1)")
    for shade, name in zip((10, 120, 230), names, strict=True):
        for number in range(6):
            path = tmp_path / "set" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), shade + number).save(path)
    learner = ImageClassifier(epochs=1, threads=1)
    learner.fit(tmp_path / "set")
    bundle = learner.save(tmp_path / "bundle")
    picture = tmp_path / "=1+1.png"
    picture.write_bytes((tmp_path / "set" / names[0] / "0.png").read_bytes())
    result = command("predict", bundle, picture.name, "--format", "csv")
    assert result.exit_code == 0, result.stderr
    found = cells(result.stdout)
    assert not [cell for cell in found if cell.startswith(STARTS)]
    assert "'=1+1.png" in found and all(f"'{name}" in found for name in names)
    as_json = command("predict", bundle, picture.name, "--json").stdout
    assert '"=cmd|calc"' in as_json  # names for programs stay as they are


def test_words_and_tags(command: Command, tmp_path: Path) -> None:
    learner = SequenceTagger(epochs=1, threads=1)
    learner.fit([["=1", "+go"]] * 20, [["@A", "-B"]] * 20, validation=0, test=0)
    bundle = learner.save(tmp_path / "bundle")
    (tmp_path / "words.txt").write_text("=1+1 +go -x @y\n", "utf-8")
    result = command("predict", bundle, tmp_path / "words.txt", "--format", "csv")
    assert result.exit_code == 0 and "go" in result.stdout, result.stderr
    assert not [cell for cell in cells(result.stdout) if cell.startswith(STARTS)]


def test_forecasts_below_zero_stay_numbers(command: Command, tmp_path: Path) -> None:
    rows = [f"2024-01-{1 + day // 24:02}T{day % 24:02}:00,{-100 - day % 24}" for day in range(200)]
    (tmp_path / "a.csv").write_text("\n".join(["time,-load", *rows]) + "\n", "utf-8")
    trained = command("train", tmp_path / "a.csv", "--epochs", 1, "--threads", 1)
    assert trained.exit_code == 0, trained.stderr
    (run,) = (tmp_path / "runs").iterdir()
    result = command("predict", run, tmp_path / "a.csv", "--format", "csv")
    assert result.exit_code == 0, result.stderr
    negative = [cell for cell in cells(result.stdout) if cell.startswith("-")]
    assert len(negative) > 20 and all(float(cell) < 0 for cell in negative)


@pytest.mark.parametrize("kind", ["json", "table"])
def test_other_forms_are_not_changed(command: Command, trained: Path, tmp_path: Path, kind: str) -> None:
    Image.new("L", (12, 12)).save(tmp_path / "=a.png")
    result = command("predict", trained, tmp_path / "=a.png", "--format", kind)
    assert result.exit_code == 0 and "=a.png" in result.stdout and "'=a.png" not in result.stdout
