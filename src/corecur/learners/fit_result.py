"""What a training leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from corecur.engine.calibration import Calibration
from corecur.engine.callback import Logs
from corecur.finding import Finding
from corecur.learners.simple_models import Baseline
from corecur.run_folder import RunFolder


@dataclass
class FitResult:
    """What a training leaves: history, test, times and places; oddities of the data, and commands to try next.

    ``validation`` is what the validation said of the weights the model has: its epoch, counted from 1, and the results.
    Of a run that was resumed the times count ``seconds_before``, the steps before it was stopped.
    """

    history: list[Logs] = field(default_factory=list)
    validation: Logs = field(default_factory=dict)
    test: Any = None
    planned_epochs: int | None = None
    train_seconds: float = 0.0
    seconds: float = 0.0
    seconds_before: float = 0.0
    run: RunFolder | None = None
    findings: tuple[Finding, ...] = ()
    calibration: Calibration | None = None
    baselines: tuple[Baseline, ...] = ()
    next_commands: tuple[str, ...] = ()
    #: What the doctor says of the training, the gravest first, and what it healed on the way.
    diagnosis: tuple[Finding, ...] = ()
    healed: tuple[str, ...] = ()

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
            "findings": [found.as_json() for found in self.findings],
            "calibration": None if self.calibration is None else self.calibration.as_json(),
            "baselines": [baseline.as_json() for baseline in self.baselines],
            "diagnosis": [finding.as_json() for finding in self.diagnosis],
            "healed": list(self.healed),
            "validation": self.validation,
            "test": None if self.test is None else self.test.as_json(),
        }
