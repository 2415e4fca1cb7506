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
    """What a training leaves: its history, the test, the time it took and where things were written."""

    history: list[Logs] = field(default_factory=list)
    test: Any = None
    train_seconds: float = 0.0
    seconds: float = 0.0
    run: RunFolder | None = None

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "run": None if self.run is None else str(self.run.path),
            "bundle": None if self.run is None else str(self.run.bundle),
            "report": None if self.run is None else str(self.run.report),
            "seconds": round(self.seconds, 3),
            "train_seconds": round(self.train_seconds, 3),
            "epochs": len(self.history),
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
