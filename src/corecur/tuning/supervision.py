"""Several workers on one study: processes that are started, heard, begun anew where they are killed, and ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corecur import interruption
from corecur.errors import RunError, Stopped
from corecur.tuning.open_study import OpenStudy
from corecur.tuning.search_worker import AGAIN, STORAGE, TRIALS, UNTIL
from corecur.tuning.trial_table import TrialRow, row_of

_LOOK, _KEEP = 0.2, 5.0
# Seconds that a worker has to end its step in; the controller itself must be gone a little later.
_TO_STOP = interruption.PATIENCE - 2.0
# Workers killed in a row without a trial that ended: the system wants the memory, and another try is in vain.
_KILLED_IN_VAIN = 20
_LAST_LINES = 2000


@dataclass(frozen=True)
class Crew:
    """What workers are told: the study's address, how far to go, and how people go on after a stop."""

    url: str
    trials: int | None
    until: float | None
    again: str
    keep: Callable[[], object]


def supervise(book: OpenStudy, crew: Crew, workers: int, tell: Callable[[TrialRow], object]) -> None:
    """Keep so many workers at work until nothing is left for them; Stopped where that was asked for.

    A worker that is killed is begun anew, and takes up its trial. RunError where one fails by itself.
    """
    (book.folder / "workers").mkdir(exist_ok=True)
    told = {trial.number for trial in book.trials() if trial.state.is_finished()}
    running: dict[int, subprocess.Popen[bytes]] = {}
    killed, kept = 0, time.monotonic()
    with interruption.polite():
        try:
            running = {number: _begin(book.folder, crew, number) for number in range(1, workers + 1)}
            while running and not interruption.wanted():
                time.sleep(_LOOK)
                if time.monotonic() - kept > _KEEP:
                    crew.keep()
                    kept = time.monotonic()
                if _tell_new(book, told, tell):
                    killed = 0
                for number in [number for number, process in running.items() if process.poll() is not None]:
                    code = running.pop(number).returncode
                    if code == 0:
                        continue
                    killed += 1
                    if code > 0 or killed > _KILLED_IN_VAIN:
                        raise _failure(book.folder, number, code)
                    running[number] = _begin(book.folder, crew, number)
        finally:
            _end(running.values())
        _tell_new(book, told, tell)
        if interruption.wanted():
            raise Stopped("the search was stopped on request", do=f"go on with: {crew.again}")


def _begin(folder: Path, crew: Crew, number: int) -> subprocess.Popen[bytes]:
    """A worker, in a group of its own: Ctrl-C reaches the controller alone, which passes it on."""
    more = {STORAGE: crew.url, AGAIN: crew.again}
    if crew.trials is not None:
        more[TRIALS] = str(crew.trials)
    if crew.until is not None:
        more[UNTIL] = str(crew.until)
    with _log(folder, number).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "corecur.tuning.search_worker", str(folder)],
            env=os.environ | more, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def _log(folder: Path, number: int) -> Path:
    return folder / "workers" / f"worker-{number}.log"


def _tell_new(book: OpenStudy, told: set[int], tell: Callable[[TrialRow], object]) -> bool:
    """Say the trials that have ended since the last look; whether there were any."""
    new = [trial for trial in book.trials() if trial.state.is_finished() and trial.number not in told]
    for trial in new:
        told.add(trial.number)
        tell(row_of(trial, book.request))
    return bool(new)


def _end(processes: Any) -> None:
    """Ask the workers to stop after their step; end those that do not."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    last = time.monotonic() + _TO_STOP
    for process in processes:
        try:
            process.wait(max(0.1, last - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _failure(folder: Path, number: int, code: int) -> RunError:
    log = _log(folder, number)
    lines = log.read_text("utf-8", "replace")[-_LAST_LINES:].strip().splitlines() or ["nothing"]
    if code < 0:
        return RunError(
            "workers are killed again and again", where=log, got=f"signal {-code}",
            do="give fewer --workers: the memory may be too small for so many; the same command goes on",
        )  # fmt: skip
    return RunError(
        "a worker failed", where=log, got=lines[-1], do="look at the log; the same command goes on with the search"
    )
