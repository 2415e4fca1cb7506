"""A worker: takes one trial after the other until nothing is left, or the time is over.

``python -m corecur.tuning.search_worker FOLDER`` is one in a process of its own; the study's address and how long to
work come through its environment, for a password has no place in a list of processes.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from corecur import interruption
from corecur.errors import Stopped
from corecur.learners.outcome import Tell, silence
from corecur.tuning.leases import BEAT
from corecur.tuning.open_study import OpenStudy, join_study
from corecur.tuning.proposals import claim_trial
from corecur.tuning.trial_run import DONE, LeaseLost, run_trial
from corecur.tuning.trial_table import TrialRow, row_of

#: The environment of a worker in a process of its own.
STORAGE, TRIALS, UNTIL, AGAIN = ("CORECUR_STUDY_" + name for name in ("STORAGE", "TRIALS", "UNTIL", "AGAIN"))


def work(
    book: OpenStudy,
    data: Any,
    *,
    trials: int | None,
    until: float | None,
    again: str,
    tell: Callable[[TrialRow], object] = lambda row: None,
    each_beat: Callable[[], object] = lambda: None,
) -> None:
    """Run trials until the study has so many, or until a moment; Stopped where that was asked for.

    A trial is begun only where the time that is left will likely do for it.
    """
    with _beating(book, each_beat), interruption.polite():
        while until is None or time.time() < until:
            if interruption.wanted():
                raise Stopped("the search was stopped on request", do=f"go on with: {again}")
            ask = until is None or _is_time_for_one(book, until)
            trial = claim_trial(book, trials=trials, ask=ask, default=lambda: _default(book, data))
            if trial is None:
                return
            try:
                run_trial(book, trial, data, until=until, again=again)
            except LeaseLost:
                continue
            except Stopped as stopped:
                book.leases.release(trial._trial_id)
                raise Stopped("the search was stopped on request", do=f"go on with: {again}") from stopped
            except BaseException:
                book.leases.release(trial._trial_id)
                raise
            ended = book.storage.get_trial(trial._trial_id)
            if ended.state.is_finished():
                tell(row_of(ended, book.request))


def _default(book: OpenStudy, data: Any) -> dict[str, Any]:
    recipe: dict[str, Any] = book.request.learner({}).choose(data).model_dump()
    return recipe


def _is_time_for_one(book: OpenStudy, until: float) -> bool:
    """Whether a trial of the usual length would end in time; the first one is always tried."""
    rows = [row_of(trial, book.request) for trial in book.trials()]
    usual = [row.seconds for row in rows if row.end == DONE and row.seconds is not None]
    left = until - time.time()
    return left > (statistics.median(usual) if usual else 0.0)


@contextlib.contextmanager
def _beating(book: OpenStudy, each_beat: Callable[[], object]) -> Iterator[None]:
    """Signs of life from a thread; a worker whose parent is gone stops by itself, after its step."""
    done, parent = threading.Event(), os.getppid()

    def beat() -> None:
        while not done.wait(BEAT):
            book.leases.beat()
            each_beat()
            if os.getppid() != parent:
                interruption.request()

    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main(folder: Path, *, tell: Tell = silence) -> int:
    """Work on the study of a folder, in a process of its own; its exit code."""
    interruption.watch()
    told = os.environ
    again = told.get(AGAIN, "")
    interruption.hint(again)
    book = join_study(folder, told[STORAGE])
    request, limit, until = book.request, told.get(TRIALS), told.get(UNTIL)
    data = request.learner({}).read(
        request.source, skip_bad=request.skip_bad, validation=request.validation, test=request.test
    )
    try:
        work(
            book, data, trials=None if limit is None else int(limit), again=again,
            until=None if until is None else float(until),
        )  # fmt: skip
    except Stopped as stopped:
        tell(str(stopped))
        return stopped.exit_code
    finally:
        book.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), tell=lambda line: print(line, file=sys.stderr, flush=True)))
