"""A run of every learner, killed in the midst of its training: it ends as one that nobody disturbed.

Hundreds of kills, at any moment, are in ``tests/soak/test_kills.py``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.kills import Hit, Kill, Run, Server, write_sources
from tests.soak.marks import Marks

NAMES = ("images", "generator", "texts", "tagger", "series", "forecast")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as started:
        yield started


def after_step(number: int, out: Path, *, kept: bool) -> Kill:
    """A kill as soon as so many steps are done; where ``kept``, not before one of them is on the disk."""

    def kill(pid: int, marks: Marks) -> float:
        while marks.step < number or (kept and not any(out.glob("*/checkpoints/step-[1-9]*/COMMIT"))):
            time.sleep(0.0005)
            os.kill(pid, 0)  # ProcessLookupError where it came to an end
        os.kill(pid, signal.SIGKILL)
        return time.time()

    return kill


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_to_the_same_end(server: Server, tmp_path: Path, name: str) -> None:
    jobs = write_sources(tmp_path)
    assert tuple(jobs) == NAMES
    whole, run = (Run(tmp_path / folder, jobs[name], NO_CHARTS=1) for folder in ("whole", "killed"))
    whole.finish(server)
    kills = after_step(3, run.out, kept=False), after_step(7, run.out, kept=True)
    hits = [run.attempt(server, kill, save_every="2") for kill in kills]
    assert all(isinstance(hit, Hit) for hit in hits), run.log.read_text()[-2000:]
    run.finish(server)
    assert "going on at step" in run.log.read_text()
    assert run.end() == whole.end()
