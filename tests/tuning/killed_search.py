"""A search whose processes are killed at random until it is done, and what must be true of its study then."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from corecur.learners.learner import Learner
from corecur.tuning import trial_run
from corecur.tuning import tune as tune_module


def note_trainings(log: Path) -> None:
    """Write a line whenever a trial's training has ended, and when the study has been told.

    The lines are appended with one write each: they survive the process.
    """
    fit, end = Learner.fit, trial_run._end

    def noted_fit(learner: Any, *words: Any, **more: Any) -> Any:
        result = fit(learner, *words, **more)
        _append(log, {"trained": str(result.run.path), "pid": os.getpid()})
        return result

    def noted_end(book: Any, trial_id: int, how: str, **facts: Any) -> None:
        end(book, trial_id, how, **facts)
        _append(log, {"told": book.storage.get_trial(trial_id).number, "end": how, "value": facts.get("value")})

    Learner.fit, trial_run._end = noted_fit, noted_end  # type: ignore[method-assign, assignment]


def _append(log: Path, line: dict[str, Any]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, (json.dumps(line) + "\n").encode())
    os.close(descriptor)


def lines_of(log: Path) -> list[dict[str, Any]]:
    """What was noted."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def in_a_process(work: Callable[[], object], log: Path) -> multiprocessing.process.BaseProcess:
    """A fork of this process that does some work; torch is loaded already."""

    def child() -> None:
        torch.set_num_threads(1)
        note_trainings(log)
        tune_module.write_study = lambda result: None  # type: ignore[assignment]
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    return process


def kill_at_random(
    work: Callable[[], object], log: Path, *, kills: int, longest: float, seed: int
) -> tuple[int, int]:  # fmt: skip
    """Begin the work again and again, and kill it after a random time; at last let it end. Kills, and exit code."""
    draw, done = random.Random(seed), 0
    while done < kills:
        process = in_a_process(work, log)
        process.join(draw.uniform(0.05, longest))
        if process.exitcode is not None:
            return done, process.exitcode
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        done += 1
    process = in_a_process(work, log)
    process.join(600)
    return done, process.exitcode if process.exitcode is not None else -1


def check_exact(folder: Path, log: Path, expected: list[tuple[Any, ...]], told: Any, rows: Any) -> None:
    """No finished trial lost or run twice; every trial what an undisturbed search has under its number."""
    assert told(rows) == expected
    ends = Counter(line["told"] for line in lines_of(log) if "told" in line)
    assert all(count == 1 for count in ends.values()), ends  # told once, by one process
    trained = Counter(line["trained"] for line in lines_of(log) if "trained" in line)
    assert all(count == 1 for count in trained.values()), trained  # ended once
    for row in rows:
        assert len(list((folder / "trials" / f"{row.number:04d}").glob("*/config.json"))) == 1
