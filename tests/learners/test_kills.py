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


def after_step(number: int) -> Kill:
    """A kill as soon as so many steps are done."""

    def kill(pid: int, marks: Marks) -> float:
        while marks.step < number:
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
    hits = [run.attempt(server, after_step(number), save_every="2") for number in (3, 7)]
    assert all(isinstance(hit, Hit) for hit in hits), run.log.read_text()[-2000:]
    run.finish(server)
    assert "going on at step" in run.log.read_text()
    assert run.end() == whole.end()
