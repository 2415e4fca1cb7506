"""Runs the command again and again in children of a process that has loaded everything: a start takes no seconds.

A line of JSON in (``argv``, ``log``, ``marks``, ``environment``), the child's process id out, and when it ended its
exit code. A child leads a process group of its own. Torch has computed nothing in the parent: it has one thread.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from corecur.__main__ import main
from corecur.engine import checkpointing
from corecur.engine.checkpointing import Checkpointing
from corecur.learners.tasks import TASKS
from tests.soak import loader_fit
from tests.soak.marks import Marks

# What the command loads at first use: here once, and not in every child.
for name in ("corecur.learners.resume", "corecur.cli", "torch._dynamo", "sympy", "sklearn.datasets",
             "sklearn.model_selection", "sklearn.metrics", "scipy.stats", "matplotlib.figure", "rich.progress",
             "rich.table", "PIL.Image"):  # fmt: skip
    importlib.import_module(name)


def keep_every_state() -> None:
    """Each state that may be kept is: then two runs make the same changes on a disk, in the same order."""
    submit = Checkpointing._submit

    def submit_and_wait(keeper: Checkpointing, *state: Any, **options: Any) -> None:
        submit(keeper, *state, **options)
        keeper._wait()

    Checkpointing._submit = submit_and_wait  # type: ignore[method-assign, assignment]
    checkpointing._SHARE_FOR_BEST = math.inf


def run(job: dict[str, Any]) -> int:
    """The command, or the training with a loader's workers, in this process; its exit code."""
    os.setsid()
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(job["environment"])
    time.tzset()
    if "NO_CHARTS" in os.environ:  # they take longer than a small training
        for row in TASKS.values():
            row.learner.report = lambda *_: []  # type: ignore[method-assign]
    if "EVERY_SAVE" in os.environ:
        keep_every_state()
    if job["marks"]:
        Marks(Path(job["marks"])).follow()
    sys.argv = ["corecur", *job["argv"]]
    try:
        loader_fit.main() if job["argv"][0] == "loader-fit" else main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(run(json.loads(line)))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
