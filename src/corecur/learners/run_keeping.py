"""How the training of a learner is kept on disk, and what of it is there to go on from."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

from corecur import interruption
from corecur.engine.checkpoint import CheckpointFolder
from corecur.engine.checkpointing import Checkpointing, Interval
from corecur.engine.monitor import Monitor
from corecur.learners.outcome import Tell
from corecur.learners.training import Training
from corecur.run_folder import RunFolder

if TYPE_CHECKING:
    from corecur.learners.learner import Learner


def keep_run(
    learner: Learner[Any, Any, Any], plan: Training, run: RunFolder, every: Interval, tell: Tell, *, anew: bool
) -> Checkpointing:
    """What keeps a run on disk, and the state in it to go on from, unless it begins ``anew``."""
    again = f"corecur train --resume {quote(str(run.path))}"
    interruption.hint(again)

    def heard(line: str) -> None:
        run.log(line.removeprefix("! "))
        plan.trainer.tell(line)

    folder = CheckpointFolder(run.checkpoints, tell=heard)
    saved = None if anew else folder.newest()
    if not anew:
        folder.clean()
        where = "nothing was saved: the training begins anew" if saved is None else f"going on at step {saved.step}"
        run.log(where)
        tell(f"{run.path}: {where}")
    stopping = plan.stopping if plan.validation is not None else None
    return Checkpointing(
        folder,
        every=every,
        identity={"task": learner.task, "seed": learner.seed},
        monitor=None if stopping is None else Monitor(stopping.monitor, stopping.mode),
        resume=saved,
        how_to_resume=again,
        tell=heard,
    )
