"""Searches at full size: real processes killed at random, controllers and workers alike.

What is shown: a study that was killed thirty times and more holds, trial by trial, what one that nobody disturbed
holds; whatever had ended stays as it was, and nothing is trained twice.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from corecur.learners.image_classifier import ImageClassifier
from corecur.tuning.search_worker import work
from tests.tuning.killed_search import check_exact, in_a_process, kill_at_random, lines_of
from tests.tuning.small_search import opened, rows_in, search, told

pytestmark = pytest.mark.soak

_COMMAND = [
    "digits", "--search", "learning_rate", "--search", "label_smoothing", "--widths", "4,8", "--epochs", "10",
    "--batch-size", "64", "--sampler", "random", "--pruner", "none", "--trials", "24", "--threads", "1",
    "--save-every", "10",
]  # fmt: skip
_KILLS = 32


def begin(folder: Path, workers: int) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "corecur", "tune", *_COMMAND, "--workers", str(workers)],
            cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log,
        )  # fmt: skip


def workers_of(study: Path) -> list[int]:
    """The processes that work on a study, those of a controller that is dead included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"corecur.tuning.search_worker" in words and str(study).encode() in words:
            found.append(int(path.parent.name))
    return found


def ended(study: Path) -> dict[int, tuple[Any, ...]]:
    """What cannot change any more: trials that have ended, when, and their runs' last words."""
    if not (study / "study.json").exists():
        return {}
    found = {}
    with contextlib.closing(opened(study)) as book:
        for trial in book.trials():
            if trial.state.is_finished():
                (config,) = book.folder_of(trial.number).glob("*/config.json")
                found[trial.number] = (trial.values, trial.datetime_complete, config.stat().st_mtime_ns)
    return found


def test_a_search_with_workers_survives_kills_of_all_its_processes(tmp_path: Path) -> None:
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    for folder in (plain, killed):
        folder.mkdir()
    assert begin(plain, 1).wait(900) == 0
    study, draw = killed / "runs" / "tune-digits", random.Random(7)
    controller, kills, before = begin(killed, 2), {"controller": 0, "worker": 0}, {}
    while sum(kills.values()) < _KILLS and controller.poll() is None:  # a fast machine may end before the last kill
        time.sleep(draw.uniform(0.3, 10.0))
        now = ended(study)
        assert {number: now.get(number) for number in before} == before  # nothing is lost or done again
        before = now
        crew = workers_of(study)
        if not crew and draw.random() < 0.85:  # they are not there yet: mostly wait for them
            continue
        if draw.random() < 0.35 or not crew:
            controller.kill()
            controller.wait()
            kills["controller"] += 1
            controller = begin(killed, 2)
        else:
            os.kill(draw.choice(crew), signal.SIGKILL)
            kills["worker"] += 1
    assert before and sum(kills.values()) >= 10, "too little was killed to show anything"
    assert controller.wait(900) == 0, (killed / "log").read_text()[-3000:]
    now = ended(study)
    assert {number: now[number] for number in before} == before
    assert told(rows_in(study)) == told(rows_in(plain / "runs" / "tune-digits"))
    assert all(len(list((study / "trials" / f"{n:04d}").glob("*/config.json"))) == 1 for n in range(24))
    print(f"kills: {kills}; {len(before)} of 24 trials had ended by the last of them")


def test_a_search_in_one_process_survives_kills_at_any_moment(shades: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"trials": 12, "epochs": 20, "save_every": "5"}
    expected = told(search(shades, tmp_path / "plain", **given).rows)
    log, out = tmp_path / "log", tmp_path / "killed"
    kills, code = kill_at_random(lambda: search(shades, out, **given), log, kills=60, longest=1.0, seed=11)
    assert code == 0 and kills >= 30
    check_exact(out / "tune-photos", log, expected, told, rows_in(out / "tune-photos"))
    print(f"kills: {kills}")


def test_two_processes_on_one_study_share_its_trials_and_one_takes_over_what_the_other_left(
    shades: Path,
    tmp_path: Path,
) -> None:
    """Two workers; one is killed in the middle of a trial, which the other runs under the same number."""

    given = {"trials": 4, "epochs": 4, "sampler": "random", "save_every": "2"}
    expected = told(search(shades, tmp_path / "plain", **given).rows)
    out, log = tmp_path / "shared", tmp_path / "log"
    search(shades, out, **given | {"trials": 1})
    folder = out / "tune-photos"

    def share() -> None:
        book = opened(folder)
        work(book, ImageClassifier(seed=3).read(shades), trials=4, until=None, again="")

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
