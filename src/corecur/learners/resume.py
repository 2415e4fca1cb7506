"""Going on with a run from its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from corecur import runtime
from corecur.data.decoding import Progress
from corecur.engine.checkpointing import Interval
from corecur.errors import RunError
from corecur.learners.fit_result import FitResult
from corecur.learners.learner import Learner
from corecur.learners.outcome import Tell, silence
from corecur.learners.run_request import RunRequest
from corecur.learners.tasks import TASKS
from corecur.run_folder import RunFolder, read_config


def resume_run(
    path: Path,
    *,
    save_every: str | None = None,
    progress: Progress | None = None,
    tell: Tell = silence,
    verbose: bool = False,
) -> tuple[Learner[Any, Any, Any], FitResult | None]:
    """Go on with the run in a folder: its learner and what came of it; None where the run was complete already.

    RunError where the folder is that of no run, or of one that cannot be gone on with.
    """
    if save_every is not None:
        Interval.parse(save_every)  # before a look at the data, which may take long
    config = read_config(path)
    request = RunRequest.in_config(config, where=path)
    task = config.get("task")
    if not isinstance(task, str) or task not in TASKS:
        raise RunError("this run is for a task that is not known here", where=path, got=repr(task))
    if request.deterministic:
        runtime.use_determinism()
    kind = TASKS[task].learner
    learner = kind(
        seed=request.seed, device=request.device, precision=request.precision, threads=request.threads,
        split_seed=request.split_seed,
        **request.settings,
    )  # fmt: skip
    if "result" in config:
        return learner, None
    if request.source is None:
        raise RunError(
            "the data of this run were given as values in Python, and are not on disk",
            where=path,
            do=f"call {kind.__name__}(…).fit(…, resume={str(path)!r}) with the same data and settings",
        )
    given: dict[str, Any] = {"validation": request.validation, "test": request.test}
    with RunFolder.open(path) as run:
        data = learner.read(request.source, skip_bad=request.skip_bad, progress=progress, **given)
        for line in (*learner.describe(data), *(f"! {finding}" for finding in data.findings)):
            tell(line)
        result = learner.fit(
            data, **given, seconds=request.seconds, heal=request.heal, skip_bad=request.skip_bad,
            command=str(config.get("command", "")), baseline=request.baseline,
            save_every=request.save_every if save_every is None else save_every, resume=run, tell=tell, verbose=verbose,
        )  # fmt: skip
    return learner, result
