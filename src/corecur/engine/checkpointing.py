"""When a training is kept on disk, by whom, and what happens when it is stopped or goes wrong."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from corecur import interruption, runtime
from corecur.engine.callback import Logs
from corecur.engine.checkpoint import CheckpointFolder, SavedState
from corecur.engine.finite import MOST_TIMES_BACK
from corecur.engine.identity import identity_of
from corecur.engine.monitor import Monitor
from corecur.engine.training_state import TrainingState
from corecur.errors import BundleError, ConfigError, RunError, Stopped

if TYPE_CHECKING:
    from corecur.engine.trainer import Trainer

# A better model is kept at once as long as writing takes no more than this share of the time.
_SHARE_FOR_BEST = 0.02
# What a finished first checkpoint may grow to: an optimiser keeps up to two values beside each weight.
_ROOM = 3


@dataclass(frozen=True)
class Interval:
    """How often a training is kept: every so many steps, or seconds; with neither only when it ends or is stopped.

    >>> Interval.parse("500"), Interval.parse("2m")
    (Interval(steps=500, seconds=None), Interval(steps=None, seconds=120.0))
    """

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str | int) -> Interval:
        """``500`` steps, ``30s``, ``2m``, ``1h`` or ``never``; ConfigError for anything else."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|)\s*", str(text))
        if str(text) == "never":
            return cls()
        amount = 0.0 if match is None else float(match[1])
        if match is None or amount <= 0 or (not match[2] and amount != int(amount)):
            raise ConfigError(
                "this does not say how often to save", got=text, expected="500 (steps), 30s, 2m, 1h or never"
            )
        if not match[2]:
            return cls(steps=int(amount))
        return cls(seconds=amount * {"m": 60, "h": 3600}.get(match[2][0], 1))

    def is_due(self, steps: int, seconds: float) -> bool:
        """Whether so many steps, or seconds, after the last time it is time again."""
        return (self.steps is not None and steps >= self.steps) or (
            self.seconds is not None and seconds >= self.seconds
        )


class Checkpointing:
    """Keeps a training in a folder of checkpoints while it runs, and starts it from one.

    A state is copied between two steps and written by a thread of its own. ``identity`` (plain JSON values) says which
    training it is: a checkpoint of another one is refused. ``monitor`` watches what the best checkpoint is best in.
    ``resume`` is a state to go on from, ``how_to_resume`` what people are told when they stop the training.
    As a context it holds SIGINT and SIGTERM back until the end of a step, and ``lock`` for as long.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        *,
        every: Interval = Interval(seconds=60.0),
        identity: Mapping[str, Any] | None = None,
        monitor: Monitor | None = None,
        resume: SavedState | None = None,
        lock: contextlib.AbstractContextManager[object] | None = None,
        how_to_resume: str = "",
        tell: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.folder = folder
        self.every = every
        self.identity = dict(identity or {})
        self.monitor = monitor
        self.resume = resume
        self.lock = lock
        self.how_to_resume = how_to_resume
        self.tell = tell
        self.saves = 0
        self.seconds_blocking = 0.0
        self.seconds_writing = 0.0
        self._environment = {k: v for k, v in runtime.describe().items() if k != "corecur"}
        self._held: TrainingState | None = None
        self._times_back_since_save = 0
        self._job: Future[int] | None = None
        self._best: TrainingState | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Checkpointing:
        with contextlib.ExitStack() as entered:
            if self.lock is not None:
                entered.enter_context(self.lock)
            self.folder.clean()
            entered.enter_context(interruption.polite())
            self._writer = entered.enter_context(ThreadPoolExecutor(1, thread_name_prefix="checkpoint"))
            self._stack = entered.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if error is None:
            self._look_at_job()

    def begin(self, trainer: Trainer, epochs: int) -> TrainingState | None:
        """Before a training: the state it goes on from, or None; RunError where that is the state of another one."""
        self.identity |= identity_of(trainer)
        self._began = time.perf_counter()
        self._saved_at, self._saved_step = self._began, trainer.step
        saved, self.resume = self.resume, None  # which is large
        self._first = saved is None
        if saved is None:
            return None
        self._compare(saved)
        self._check_epochs(saved, epochs)
        self._saved_step = saved.step
        self._recall(saved.state)
        return saved.state

    def _recall(self, state: TrainingState) -> None:
        """Know again what was the best before a state."""
        if self.monitor is not None:
            self.monitor.best = None
            for row in state.values["history"]:
                if self.monitor.name in row:
                    self.monitor.improves(row)

    def _check_epochs(self, saved: SavedState, epochs: int) -> None:
        """Refuse what cannot be gone on with as asked."""
        state, done = saved.state, saved.state.epoch + 1
        if state.finished and not state.stopped and epochs > done:
            raise RunError(
                "this training is over",
                where=self.folder.path,
                got=f"{epochs} epochs",
                expected=f"the {done} that it was given",
                do="begin a new one, in another folder, with the weights of this one",
            )
        if not state.finished and epochs < done:
            raise RunError(
                "the checkpoint is further than this training is to go",
                where=self.folder.folder(saved.step),
                got=f"{epochs} epochs",
                expected=f"{done} or more",
            )

    def _compare(self, saved: SavedState) -> None:
        differing = [name for name in {*self.identity, *saved.identity}
                     if self.identity.get(name) != saved.identity.get(name)]  # fmt: skip
        if differing:
            now = ", ".join(f"{name} {self.identity.get(name)}" for name in sorted(differing))
            then = ", ".join(f"{name} {saved.identity.get(name)}" for name in sorted(differing))
            raise RunError(
                "the checkpoint is of another training",
                where=self.folder.folder(saved.step),
                got=now,
                expected=then,
                do="resume with the data and the settings it began with, or begin a new training",
            )
        for name, value in self._environment.items():
            before = saved.environment.get(name)
            if before != value:
                self.tell(f"! {name} was {before} and is {value} now: the result may differ in its last digits")

    def before_steps(self, trainer: Trainer) -> None:
        """Before the first step of an epoch: the state before all training is kept, if there is room for what comes."""
        if not self._first:
            return
        self._first = False
        state = TrainingState.of(trainer)
        size = sum(tensor.nbytes for tensor in state.values["network"].values())
        try:
            self.folder.make()
            self.folder.check_space(_ROOM * size)
        except OSError as error:
            raise RunError(
                "the training cannot be kept here",
                where=self.folder.path,
                got=error.strerror,
                expected=f"a folder you may write to, and about {_ROOM * size / 1e6:,.0f} MB free",
                do="free space, or choose another place",
            ) from error
        self._save(state)

    def after_step(self, trainer: Trainer) -> None:
        """After a step: stop if that is wanted, save if it is time."""
        if interruption.wanted():
            self._stop(TrainingState.of(trainer))
        began = time.perf_counter()
        if not self._is_free() or trainer.guard.in_row:
            return
        if self.every.is_due(trainer.step - self._saved_step, began - self._saved_at):
            self._save(TrainingState.of(trainer))
            self.seconds_blocking += time.perf_counter() - began
        else:
            self._save_best()

    def after_steps(self, trainer: Trainer) -> None:
        """After the last step of an epoch: hold its state for as long as its weights are being validated."""
        self._held = TrainingState.of(trainer) if trainer.validated else None

    def after_epoch(self, trainer: Trainer, logs: Logs) -> None:
        """After an epoch: its state is kept if it is the best so far, as soon as that is cheap."""
        self.heed()
        state, self._held = self._held, None
        if self.monitor is not None and self.monitor.name in logs and self.monitor.improves(logs):
            self._best = state
            self._save_best()

    def heed(self) -> None:
        """In a validation: stop if that is wanted; the state is that before it."""
        if interruption.wanted() and self._held is not None:
            self._stop(self._held)

    def set_back(self, trainer: Trainer) -> TrainingState:
        """The state to go on from after the weights were lost, with a lower rate; further back each time in a row."""
        guard = trainer.guard
        self._wait()
        if guard.times_back >= MOST_TIMES_BACK:
            raise Stopped(
                f"the training ran away {guard.times_back + 1} times, each time with a lower rate; there is no model",
                where=self.folder.path,
                do="look at the samples named above, and train anew with a lower learning rate or with clipping",
            )
        saved = self.folder.newest(skip=self._times_back_since_save)
        if saved is None:
            raise RunError("the training ran away, and nothing was saved before", do="take a lower learning rate")
        self._times_back_since_save += 1
        self.folder.forget_after(saved.step)
        self._recall(saved.state)
        self._best = self._held = None
        guard.slow_down()
        self.tell(
            f"! the training goes back from step {trainer.step} to step {saved.step}, "
            f"with {guard.rate_share:g} of the learning rate"
        )
        self._saved_step, self._saved_at = saved.step, time.perf_counter()
        return saved.state.slower(trainer)

    def finish(self, trainer: Trainer) -> None:
        """After the training: keep its end, so that what comes after it can be done again."""
        self._write(TrainingState.of(trainer, finished=True))
        if interruption.wanted():
            raise self._stopped("stopped on request after the last step")

    def give_up(self, trainer: Trainer, reason: RunError) -> NoReturn:
        """Before a step that cannot be taken here and now: keep the state, and stop."""
        self._write(TrainingState.of(trainer))
        raise self._stopped(str(reason)) from reason

    def _save_best(self) -> None:
        """Keep the best state, if there is one that is not kept and the writer has worked little so far."""
        affordable = self.seconds_writing <= _SHARE_FOR_BEST * (time.perf_counter() - self._began)
        if self._best is not None and affordable and self._is_free():
            state, self._best = self._best, None
            self._submit(state, best=True)

    def _save(self, state: TrainingState) -> None:
        """Hand a state to the writer."""
        self._saved_step, self._saved_at = state.step, time.perf_counter()
        self._submit(state)

    def _submit(self, state: TrainingState, *, best: bool = False) -> None:
        self._look_at_job()
        self._job = self._writer.submit(self._written, state, best)

    def _written(self, state: TrainingState, best: bool) -> int:
        began = time.perf_counter()
        try:
            return self.folder.write(state, identity=self.identity, environment=self._environment, best=best)
        finally:
            self.seconds_writing += time.perf_counter() - began

    def _is_free(self) -> bool:
        """Whether the writer has nothing to do; what became of its last work is looked at."""
        if self._job is not None and not self._job.done():
            return False
        self._look_at_job()
        return True

    def _wait(self) -> None:
        if self._job is not None:
            self._job.exception()
        self._look_at_job()

    def _look_at_job(self) -> None:
        """A disk that is full, or a state that is not finite, is told; the training goes on and tries again later.

        What would fail each time, such as a callback's state that no file can hold, ends it.
        """
        job, self._job = self._job, None
        if job is None:
            return
        error = job.exception()
        if error is None:
            self.saves += 1
            self._times_back_since_save = 0
        elif not self.folder.path.parent.is_dir():
            raise RunError("the run folder is gone", where=self.folder.path.parent) from error
        elif isinstance(error, (OSError, BundleError, RunError)):
            reason = error.strerror if isinstance(error, OSError) else error.what
            steps = self.folder.steps()
            kept = f"the last one is of step {steps[-1]}" if steps else "there is none yet"
            self.tell(f"! no checkpoint could be written ({reason}); {kept}, the training goes on")
        else:
            raise error

    def _write(self, state: TrainingState) -> None:
        """Save now, the best before it, and wait for both."""
        self._wait()
        best, self._best = self._best, None
        if best is not None:
            self._submit(best, best=True)
            self._wait()
        self._save(state)
        self._wait()

    def _stop(self, state: TrainingState) -> NoReturn:
        self._write(state)
        raise self._stopped(f"stopped on request at step {state.step}")

    def _stopped(self, what: str) -> Stopped:
        steps = self.folder.steps()
        return Stopped(
            what,
            where=self.folder.folder(steps[-1]) if steps else self.folder.path,
            do=self.how_to_resume or None,
        )
