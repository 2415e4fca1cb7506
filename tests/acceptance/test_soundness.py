"""Data and trainings judged by the command alone: sound ones are let alone, planted faults are named.

Also three short members made one model, with its proof. About a minute in all.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

pytestmark = pytest.mark.acceptance

Answer = Callable[..., Any]
Data = Callable[[str], Path]
Checked = Callable[..., dict[str, list[str]]]


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    """``corecur check``: evidence by kind of finding, notes left out; it leaves with 1 where there is a problem."""

    def run(*words: object) -> dict[str, list[str]]:
        line = [sys.executable, "-m", "corecur", "check", *map(str, words), "--json"]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False)
        found = json.loads(done.stdout)["findings"]
        assert done.returncode == any(one["level"] == "problem" for one in found), done.stderr
        return {one["kind"]: one["evidence"] for one in found if one["level"] != "note"}

    return run


def test_photographs(checked: Checked, data: Data, tmp_path: Path) -> None:
    assert checked(data("sign_digits")) == {}
    root = tmp_path / "signs"
    for label in "0123":
        shutil.copytree(data("sign_digits") / label, root / label)
    zero, one, two, three = [sorted((root / label).iterdir()) for label in "0123"]
    zero[3].write_bytes(zero[3].read_bytes()[:900])
    shutil.copy(one[5], root / "2" / "again.jpg")
    with Image.open(two[7]) as picture:
        picture.resize((140, 140)).save(root / "2" / "larger.png")
    Image.new("RGB", (100, 100), (40, 90, 40)).save(three[2])
    found = checked(root)
    assert set(found) == {"unreadable", "disputed", "constant"}
    assert f"0/{zero[3].name}" in found["unreadable"][0] and f"3/{three[2].name}" in found["constant"][0]
    assert "2/again.jpg" in found["disputed"][0] and one[5].name in found["disputed"][0]


def test_sentences(checked: Checked, data: Data, tmp_path: Path) -> None:
    source = data("sentences") / "rt-polarity.all"
    assert checked(source) == {}
    lines = [line for line in source.read_text("latin-1").split("\n") if line]
    rows = [(text, label, "test" if k % 5 == 0 else "train") for k, line in enumerate(lines)
            for label, _, text in [line.partition(" ")]]  # fmt: skip
    rows[11] = (rows[11][0].replace(" ", " cafÃ© ", 1), *rows[11][1:])
    rows[12] = ("  ", *rows[12][1:])
    rows += [(rows[21][0].upper(), rows[21][1], "test"), (rows[22][0], "01"[rows[22][1] == "0"], "train")]
    with (tmp_path / "told.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "split"), *rows])
    found = checked(tmp_path / "told.csv")
    last = len(rows) + 1
    assert set(found) == {"garbled", "empty", "leak", "disputed"}
    assert [line.split(":")[1].split()[0] for kind in ("garbled", "empty") for line in found[kind]] == ["13", "14"]
    assert f"told.csv:{last - 1} = told.csv:23" in found["leak"]
    assert found["disputed"][0].startswith(f"told.csv:{last} ")


def test_series_and_tables(checked: Checked, data: Data, tmp_path: Path) -> None:
    assert checked(data("series") / "ItalyPowerDemand") == checked(data("series") / "Airline.csv") == {}
    lines = (data("series") / "Airline.csv").read_text().splitlines()
    at, _, _ = lines[40].rpartition(",")
    lines[40], lines[90], lines[91] = f"{at},-999", lines[91], lines[90]
    (tmp_path / "airline.csv").write_text("\n".join(lines) + "\n")
    found = checked(tmp_path / "airline.csv", "--task", "forecasting")
    assert any("-999" in line for lines in found.values() for line in lines) and len(found) == 2, found


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits as arrays; beside them the same with labels in another order."""
    found, room = load_digits(), tmp_path_factory.mktemp("digits")
    pictures = (found.images * 255 / 16).astype(np.uint8)
    np.savez(room / "digits.npz", x=pictures, y=found.target)
    np.savez(room / "shuffled.npz", x=pictures, y=np.random.default_rng(0).permutation(found.target))
    return room


def _diagnosis(answer: Answer, *words: object) -> list[str]:
    """The kinds of finding of a short training; told in its result, in the report and by ``corecur doctor``."""
    found = answer("train", *words, "--baseline", "none")
    again = answer("doctor", found["run"])
    kinds = [one["kind"] for one in again["findings"]]
    assert again["sound"] == (not kinds) and [one["kind"] for one in found["diagnosis"]] == kinds
    return kinds


def test_a_healthy_training_is_let_alone(answer: Answer, data: Data, digits: Path) -> None:
    assert _diagnosis(answer, digits / "digits.npz", "--epochs", 4) == []
    assert _diagnosis(answer, data("series") / "JapaneseVowels", "--epochs", 3) == []


def test_a_rate_too_high_is_named(answer: Answer, data: Data, digits: Path) -> None:
    assert "learning-rate-too-high" in _diagnosis(answer, digits / "digits.npz", "--epochs", 3, "--learning-rate", 30)
    vowels = data("series") / "JapaneseVowels"
    assert "learning-rate-too-high" in _diagnosis(answer, vowels, "--epochs", 4, "--learning-rate", 3)


def test_shuffled_labels_are_named(answer: Answer, digits: Path) -> None:
    assert _diagnosis(answer, digits / "shuffled.npz", "--epochs", 8) == ["shuffled-labels"]


def test_members_combined_with_their_proof(answer: Answer, digits: Path, tmp_path: Path) -> None:
    source = digits / "digits.npz"
    runs = [answer("train", source, "--epochs", 2, "--seed", seed, "--split-seed", 0, "--widths", "8,16", "--baseline",
                   "none")["run"] for seed in range(3)]  # fmt: skip
    found = answer("combine", *runs, "--on", source, "--out", "all")
    whole, *members = found["proof"]["models"]
    assert len(members) == 3 and len(found["proof"]["differences"]) == 3 and found["proof"]["verdict"]
    assert whole["interval"][0] <= whole["value"] <= whole["interval"][1]
    assert whole["value"] >= max(one["value"] for one in members) - 0.02
    assert whole["parameters"] == sum(one["parameters"] for one in members)
    assert len(found["weights"]) == 3

    held = np.load(source)
    np.savez(tmp_path / "some.npz", x=held["x"][:300], y=held["y"][:300])
    again = answer("evaluate", "all", "some.npz")["test"]
    assert again["samples"] == 300 and again["accuracy"] > 0.8
    assert answer("verify", "all")["kept"]
