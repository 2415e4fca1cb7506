"""SIGKILL in a search: no finished trial is lost or run twice, one that was running goes on (at full size: soak)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.tuning.killed_search import check_exact, in_a_process, kill_at_random, lines_of
from tests.tuning.small_search import opened, rows_in, search, told


def test_a_search_killed_at_random_ends_as_one_that_was_not(shades: Path, tmp_path: Path) -> None:
    given = {"trials": 3, "epochs": 6, "save_every": "3"}
    expected = told(search(shades, tmp_path / "plain", **given).rows)
    log, out = tmp_path / "log", tmp_path / "killed"
    kills, code = kill_at_random(lambda: search(shades, out, **given), log, kills=6, longest=1.2, seed=1)
    assert code == 0 and kills >= 3
    check_exact(out / "tune-photos", log, expected, told, rows_in(out / "tune-photos"))


def test_two_processes_on_one_study_share_its_trials_and_one_takes_over_what_the_other_left(
    shades: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers; one is killed in the middle of a trial, which the other runs under the same number."""
    from corecur.learners.image_classifier import ImageClassifier
    from corecur.tuning.search_worker import work

    given = {"trials": 5, "epochs": 8, "sampler": "random", "save_every": "2"}
    expected = told(search(shades, tmp_path / "plain", **given).rows)
    out, log = tmp_path / "shared", tmp_path / "log"
    search(shades, out, **given | {"trials": 1})
    folder = out / "tune-photos"

    def share() -> None:
        book = opened(folder)
        work(book, ImageClassifier(seed=3).read(shades), trials=5, until=None, again="")

    first, second = in_a_process(share, log), in_a_process(share, log)
    last = time.monotonic() + 30
    while not list(folder.glob("trials/000[1-4]/*/checkpoints/step-*")) and time.monotonic() < last:
        time.sleep(0.01)
    os.kill(first.pid or 0, signal.SIGKILL)
    for process in (first, second):
        process.join(120)
    assert second.exitcode == 0
    assert {line["pid"] for line in lines_of(log) if "pid" in line} >= {second.pid}
    check_exact(folder, log, expected[1:], told, rows_in(folder)[1:])
