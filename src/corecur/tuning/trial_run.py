"""One trial: a training in a run folder of its own, watched, and told to the study once it has ended.

A trial that was interrupted goes on from its checkpoint; one whose run is complete is not trained again.
"""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from corecur import interruption, runtime
from corecur.data.batches import Batch
from corecur.engine.callback import Callback, Logs
from corecur.engine.evaluating import evaluating
from corecur.errors import ConfigError, DataError, ShapeError, Stopped
from corecur.learners.fit_result import FitResult
from corecur.run_folder import RunFolder, read_config
from corecur.tuning.open_study import OpenStudy
from corecur.tuning.proposals import REFUSED

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PRUNED, FAILED, DONE, OUT_OF_TIME = "pruned", "failed", "done", "out of time"
# Steps in time that a sample is measured with, at the most: a training text in one row has no other end.
_MOST_STEPS = 512
_REPEATS = 15
# The share of its epochs in which no trial is ended for being behind.
_UNDISTURBED = 0.25


class TrialEnded(Exception):  # noqa: N818 - no error: it is what the trial came to
    """Raised from inside a training to end it: how the trial ended, and why.

    >>> str(TrialEnded(PRUNED, "after 2 of 9 epochs"))
    'pruned: after 2 of 9 epochs'
    """

    def __init__(self, end: str, why: str) -> None:
        super().__init__(f"{end}: {why}")
        self.end = end
        self.why = why


class LeaseLost(Exception):  # noqa: N818
    """Another process has taken the trial over, for this one gave no sign of life; it must write nothing more."""


@dataclass(frozen=True)
class Sizes:
    """What a network costs: its parameters, and the seconds it takes for one sample.

    >>> Sizes(1000, 0.002).latency
    0.002
    """

    parameters: int
    latency: float


def sizes_of(network: nn.Module, batch: Batch) -> Sizes:
    """Count the parameters and measure the answer to the first sample of a batch: the least of several times.

    >>> sizes_of(nn.Linear(3, 2), Batch(torch.zeros(5, 3))).parameters
    8
    """
    fields = (batch.inputs,) if isinstance(batch.inputs, Tensor) else batch.inputs
    first = [field[:1, :_MOST_STEPS] if field.dim() == 2 and not field.is_floating_point() else field[:1]
             for field in fields]  # fmt: skip
    inputs = first[0] if isinstance(batch.inputs, Tensor) else tuple(first)
    states = torch.random.get_rng_state()
    with evaluating(network), torch.no_grad():
        seconds = runtime.least_seconds(lambda: network(inputs), _REPEATS)
    torch.random.set_rng_state(states)
    return Sizes(sum(weights.numel() for weights in network.parameters()), seconds)


class TrialWatch(Callback):
    """Measures a network before its first step, tells the study every validation, and ends what need not go on."""

    def __init__(self, book: OpenStudy, trial: FrozenTrial, *, epochs: int, until: float | None, again: str) -> None:
        from optuna.trial import Trial

        self.book = book
        self.number = trial.number
        self.id = trial._trial_id
        self.epochs = epochs
        self.until = until
        self.again = again
        self._live = Trial(book.study, self.id)
        self._told = set(trial.intermediate_values)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        interruption.hint(self.again)
        request = self.book.request
        if not {"parameters", "latency"} <= self.book.storage.get_trial(self.id).user_attrs.keys():
            # neither is there, or the first alone: a search may be killed between the two
            found = self._measured()
            self.book.note(self.id, parameters=found.parameters, latency=found.latency)
        facts = self.book.storage.get_trial(self.id).user_attrs
        count, latency = int(facts["parameters"]), float(facts["latency"])
        if request.max_parameters is not None and count > request.max_parameters:
            raise TrialEnded(REFUSED, f"{count:,} parameters")
        if request.max_latency is not None and latency > request.max_latency:
            raise TrialEnded(REFUSED, f"{1e3 * latency:.3g} ms a sample")

    def _measured(self) -> Sizes:
        batches: Any = self.trainer.batches
        return sizes_of(self.trainer.network, next(iter(batches.epoch(0))))

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.until is not None and time.time() > self.until:
            raise TrialEnded(OUT_OF_TIME, f"in epoch {self.trainer.epoch + 1} of {self.epochs}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if not self.book.leases.is_mine(self.id):
            raise LeaseLost
        value = (logs or {}).get(self.book.request.metric)
        if value is None or not math.isfinite(value):
            return
        if epoch + 1 not in self._told:
            self._live.report(float(value), epoch + 1)
            self._told.add(epoch + 1)
        early = self.book.request.pruner == "median" and epoch + 1 < _UNDISTURBED * self.epochs
        last = epoch + 1 == self.epochs
        if self.number and not early and not last and self._live.should_prune():
            raise TrialEnded(PRUNED, f"after {epoch + 1} of {self.epochs} epochs")


def run_trial(book: OpenStudy, trial: FrozenTrial, data: Any, *, until: float | None, again: str) -> None:
    """Train a trial, or go on with it, and tell the study what came of it.

    Raises Stopped where that was asked for, and whatever keeps any trial from ending; the trial then stays to be gone
    on with. What is the matter with one trial's settings ends that trial alone.
    """
    trial_id, began = trial._trial_id, time.perf_counter()
    try:
        validation = _trained(book, trial, data, until=until, again=again)
    except TrialEnded as ended:
        if ended.end == OUT_OF_TIME:  # it stays begun: with more time it is gone on with
            book.note(trial_id, why=f"{ended.end} {ended.why}")
            book.leases.release(trial_id)
            return
        _end(book, trial_id, ended.end, why=ended.why, seconds=time.perf_counter() - began)
    except (ConfigError, DataError, ShapeError) as error:
        _end(book, trial_id, FAILED, why=error.what, seconds=time.perf_counter() - began)
        if trial.number == 0:  # nothing was chosen there: it is the data or the command that is wrong
            raise
    except Stopped as stopped:
        if interruption.wanted():
            raise
        _end(book, trial_id, FAILED, why=stopped.what, seconds=time.perf_counter() - began)
    else:
        value = validation.get(book.request.metric)
        if value is None or not math.isfinite(value):
            _end(book, trial_id, FAILED, why="its validation gave no number")
        else:
            _end(book, trial_id, DONE, value=float(value), why="")


def _trained(
    book: OpenStudy, trial: FrozenTrial, data: Any, *, until: float | None, again: str
) -> dict[str, float]:  # fmt: skip
    """What the validation said of the trained model."""
    request, folder = book.request, book.folder_of(trial.number)
    run = run_in(folder)
    if run is not None and "result" in (config := read_config(run)):  # killed between the last file and the study
        return _noted(book, trial, run, config["result"])
    learner = request.learner(trial.user_attrs["settings"])
    watch = TrialWatch(book, trial, epochs=_epochs(learner, data), until=until, again=again)
    given: dict[str, Any] = {"validation": request.validation, "test": request.test, "skip_bad": request.skip_bad}
    where: dict[str, Any] = {"resume": run} if run is not None else {"out": folder, "name": f"trial-{trial.number}"}
    result: FitResult = learner.fit(
        data, **given, **where, save_every=request.save_every, callbacks=[watch], trial=True,
    )  # fmt: skip
    made: RunFolder | None = result.run
    if made is None:
        raise ConfigError("a trial has a run folder", where=folder)
    return _noted(book, trial, made.path, result.as_json())


def _noted(book: OpenStudy, trial: FrozenTrial, run: Path, result: dict[str, Any]) -> dict[str, float]:
    place = run.relative_to(book.folder).as_posix()
    book.note(trial._trial_id, run=place, seconds=result["seconds"], epochs=result["epochs"])
    return dict(result["validation"])


def _epochs(learner: Any, data: Any) -> int:
    recipe = learner.choose(data)
    return int(recipe.epochs)


def _end(book: OpenStudy, trial_id: int, end: str, *, value: float | None = None, **facts: Any) -> None:
    """Tell the study how a trial ended: once, for a trial that has ended takes no more."""
    from optuna.trial import TrialState

    states = {DONE: TrialState.COMPLETE, FAILED: TrialState.FAIL}
    if not book.leases.is_mine(trial_id):
        raise LeaseLost
    book.note(trial_id, end=end, **facts)
    book.storage.set_trial_state_values(
        trial_id, states.get(end, TrialState.PRUNED), None if value is None else [value]
    )  # fmt: skip
    book.leases.release(trial_id)
    run = run_in(book.folder_of(book.storage.get_trial(trial_id).number))
    if run is not None:  # what only an interrupted training needs
        shutil.rmtree(run / "checkpoints", ignore_errors=True)


def run_in(folder: Path) -> Path | None:
    """The run that a trial's folder holds, or None before there is one.

    >>> run_in(Path("no such folder")) is None
    True
    """
    found = sorted(path.parent for path in folder.glob("*/config.json") if not path.parent.name.startswith("."))
    return found[-1] if found else None
