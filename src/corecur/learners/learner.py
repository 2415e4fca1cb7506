"""What every learner is: files or arrays in, people's answers out, and all that is needed to do it again tomorrow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from corecur.engine.callbacks import Logs
from corecur.run_folder import RunFolder

#: How a learner tells a person what it does; the command line prints it.
Tell = Callable[[str], None]


def silence(line: str) -> None:
    """Tell nobody."""


@dataclass
class FitResult:
    """What a training leaves: history, test, times and places; oddities of the data, and commands to try next."""

    history: list[Logs] = field(default_factory=list)
    test: Any = None
    planned_epochs: int | None = None
    train_seconds: float = 0.0
    seconds: float = 0.0
    run: RunFolder | None = None
    findings: tuple[str, ...] = ()
    next_commands: tuple[str, ...] = ()

    @property
    def stopped_early(self) -> bool:
        """Whether a callback ended the training before its last epoch."""
        return self.planned_epochs is not None and len(self.history) < self.planned_epochs

    def epochs_in_words(self) -> str:
        """How long was trained.

        >>> FitResult(history=[{}]).epochs_in_words(), FitResult(history=[{}], planned_epochs=5).epochs_in_words()
        ('1 epoch', '1 of 5 epochs, stopped early,')
        """
        if self.stopped_early:
            return f"{len(self.history)} of {self.planned_epochs} epochs, stopped early,"
        return "1 epoch" if len(self.history) == 1 else f"{len(self.history)} epochs"

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "run": None if self.run is None else str(self.run.path),
            "bundle": None if self.run is None else str(self.run.bundle),
            "report": None if self.run is None else str(self.run.report),
            "seconds": round(self.seconds, 3),
            "train_seconds": round(self.train_seconds, 3),
            "epochs": len(self.history),
            "findings": list(self.findings),
            "test": None if self.test is None else self.test.as_json(),
        }


class Learner(ABC):
    """One task from raw data to answers; a subclass a task."""

    #: The name of the task, as ``--task`` takes it and a bundle keeps it.
    task: ClassVar[str]

    @abstractmethod
    def fit(self, source: Any, labels: Any = None, **options: Any) -> FitResult:
        """Train on a source."""

    @abstractmethod
    def evaluate(self, source: Any, labels: Any = None, **options: Any) -> Any:
        """Test on a labelled source."""

    @abstractmethod
    def predict(self, source: Any, **options: Any) -> list[Any]:
        """Answer for each sample of a source."""

    @abstractmethod
    def save(self, path: str | Path) -> Path:
        """Write the bundle."""
