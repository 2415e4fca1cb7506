"""The command ``check``: what it prints, its exit code, its page; odd sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import corecur
from corecur.errors import ConfigError

Command = Callable[..., Any]


def test_a_clean_source(command: Command) -> None:
    done = command("check", "digits")
    assert done.exit_code == 0 and "nothing wrong found among 1,797 samples; looked for: unreadable" in done.stdout


def test_every_bad_file_is_named(command: Command, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for label in ("猫", "<dog>"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(25):
            pixels = random.integers(0, 256, (6, 6, 3)).repeat(4, 0).repeat(4, 1)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / label / f"{number}.png")
    for number in range(15):
        (tmp_path / "photos" / "猫" / f"x{number}.png").write_bytes(b"" if number else b"no picture")
    done = command("check", "photos", "--report", "page.html", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 1 and found["task"] == "image-classification" and found["samples"] == 65
    (bad,) = (one for one in found["findings"] if one["kind"] == "unreadable")
    assert bad["level"] == "problem" and len(bad["evidence"]) == 15
    assert "猫/x0.png: it is text, not a picture" in bad["evidence"]
    page = Path("page.html").read_text(encoding="utf-8")
    assert "猫/x14.png" in page and "<dog>" not in page.replace("&lt;dog&gt;", "")
    plain = command("check", "photos")
    assert "problem: 15 files cannot be read as pictures." in plain.stdout and "and 5 more" in plain.stdout
    assert command("train", "photos", "--epochs", "1").exit_code == 1


def test_a_source_without_samples_is_told(command: Command, tmp_path: Path) -> None:
    assert command("check", "nowhere").exit_code == 1
    (tmp_path / "empty").mkdir()
    assert command("check", "empty").exit_code == 1
    assert command("check", "digits", "--task", "nothing").exit_code == 2
    (tmp_path / "one.csv").write_text("text,label\na fine long film,good\n")
    done = command("check", "one.csv")
    assert done.exit_code == 1 and "problem: There is one class only" in done.stdout
    (tmp_path / "ragged.csv").write_text(
        "date,x\n" + "".join(f"2020-01-{d:02},1\n" for d in range(1, 20)) + "2020-01-20,1,2\n"
    )
    done = command("check", "ragged.csv", "--task", "forecasting")
    assert done.exit_code == 1 and "another number of columns" in done.stdout


def test_from_python(shades: Path, split_shades: Path) -> None:
    assert corecur.check(shades).worst is None
    mixed = corecur.check(shades, test=shades)
    assert mixed.worst == "problem" and any(found.kind == "leak" for found in mixed.findings)
    with pytest.raises(ConfigError, match="arrays"):
        corecur.check(np.zeros((3, 3)))


def test_labels_by_folds(command: Command, tmp_path: Path) -> None:
    """Dark pictures among the light ones are named; a second run says the same."""
    random = np.random.default_rng(0)
    for label, shade in (("dark", 30), ("light", 220)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(40):
            wrong = label == "light" and number < 3
            pixels = (30 if wrong else shade) + random.integers(-20, 20, (8, 8))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / label / f"{number}.png")
    words = ("check", "photos", "--labels", "--folds", "2", "--epochs", "8", "--threads", "1", "--json")
    first, second = (json.loads(command(*words).stdout)["findings"] for _ in range(2))
    (found,) = (one for one in first if one["kind"] == "wrong-labels")
    assert {line.split(":")[0] for line in found["evidence"]} == {f"light/{number}.png" for number in range(3)}
    assert [one["evidence"] for one in first] == [one["evidence"] for one in second]
