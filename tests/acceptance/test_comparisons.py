"""Recipes compared over seeds and folds by the command, on scikit-learn's digits; a stop on the way loses nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corecur.learners.image_classifier import ImageClassifier

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A network with enough channels, one with too few, and one like the first; all on one split of the digits."""
    parent, found = tmp_path_factory.mktemp("runs"), []
    ways: dict[str, dict[str, Any]] = {
        "enough": {"widths": (8, 16)}, "few": {"widths": (2, 2)},
        "like": {"widths": (8, 16), "label_smoothing": 0.09},
    }  # fmt: skip
    for name, settings in ways.items():
        result = ImageClassifier(epochs=3, threads=1, **settings).fit("digits", out=parent, name=name, baseline="none")
        assert result.run is not None
        found.append(result.run.path)
    return found


def test_seeds_tell_a_better_recipe_and_a_stop_loses_nothing(
    answer: Callable[..., Any], runs: list[Path], tmp_path: Path
) -> None:
    line = [sys.executable, "-m", "corecur", "compare", *map(str, runs[:2]), "--seeds", "3",
            "--no-latency"]  # fmt: skip
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, last = tmp_path / "runs" / "compare", time.monotonic() + 60
    while len(list(out.glob("*/*/*/answers.json"))) < 2 and time.monotonic() < last:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 75, said
    assert "go on with: corecur compare" in said
    done = {path: path.read_bytes() for path in out.glob("*/*/*/answers.json")}
    assert 2 <= len(done) < 6
    found = answer("compare", *runs[:2], "--seeds", 3, "--no-latency")
    assert all(path.read_bytes() == content for path, content in done.items())
    assert len(list(out.glob("*/*/*/answers.json"))) == 6
    best, worse = found["models"]
    assert best["name"] == runs[0].name and best["figure"] > worse["figure"] + 0.1
    assert found["pairs"][0]["different"] and "is better" in found["verdict"]
    assert best["interval"][0] < best["figure"] < best["interval"][1] <= 1
    assert len(found["repeats"]["differences"]) == 3 and min(found["repeats"]["differences"]) > 0
    assert json.dumps(found) and (tmp_path / found["page"]).is_file()


def test_folds_show_no_difference_between_a_recipe_and_its_like(answer: Callable[..., Any], runs: list[Path]) -> None:
    found = answer("compare", runs[0], runs[2], "--folds", 3, "--no-latency")
    assert found["verdict"].startswith("no difference shown")
    assert found["samples"] == 1797 - 359  # all but the test split
    low, high = found["pairs"][0]["interval"]
    assert low <= 0 <= high
