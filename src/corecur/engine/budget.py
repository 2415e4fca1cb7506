"""How long a training may take: a number of steps, or seconds on the clock."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from corecur.errors import ConfigError


class Budget(ABC):
    """Says how far a training has come; schedules that span the whole training follow it."""

    @abstractmethod
    def progress(self, step: int) -> float:
        """The share of the budget used after ``step`` steps, from 0 to 1."""

    def spent(self, step: int) -> bool:
        """Whether the training must end now, wherever it is; a number of steps ends with its last epoch."""
        return False

    def state(self) -> dict[str, float]:
        """What decides the future, for a checkpoint."""
        return {}

    def load_state(self, state: Mapping[str, float]) -> None:  # noqa: B027 - most have nothing to take over
        """Take over a state saved by ``state``."""


class StepBudget(Budget):
    """A fixed number of optimiser steps; None where nobody knows it, and progress then stays 0.

    >>> StepBudget(200).progress(50)
    0.25
    """

    def __init__(self, steps: int | None) -> None:
        self.steps = steps

    def progress(self, step: int) -> float:
        return min(1.0, step / self.steps) if self.steps else 0.0


class TimeBudget(Budget):
    """Seconds from now on; a schedule that follows it always ends on time, on a fast machine and on a slow one.

    With ``steps``, the most that the training takes, progress is that of whichever ends first.

    >>> budget = TimeBudget(10, clock=iter([100.0, 105.0]).__next__)
    >>> budget.progress(step=7)
    0.5
    >>> TimeBudget(10, steps=8, clock=iter([100.0, 105.0]).__next__).progress(step=7)
    0.875
    """

    def __init__(
        self, seconds: float, *, steps: int | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        if seconds <= 0:
            raise ConfigError("a time budget must be positive", got=f"{seconds} s")
        self.seconds = seconds
        self.steps = steps
        self.clock = clock
        self.began = clock()

    def progress(self, step: int) -> float:
        return min(1.0, max((self.clock() - self.began) / self.seconds, step / self.steps if self.steps else 0.0))

    def spent(self, step: int) -> bool:
        return self.clock() - self.began >= self.seconds

    def state(self) -> dict[str, float]:
        return {"used": self.clock() - self.began}

    def load_state(self, state: Mapping[str, float]) -> None:
        # What a killed run had used is not given again; what is left of a new, longer budget is.
        self.began = self.clock() - float(state.get("used", 0.0))
