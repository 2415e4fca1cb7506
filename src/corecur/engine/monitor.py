"""The best value of one result of a training so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from corecur.engine.callback import Logs
from corecur.errors import ConfigError

if TYPE_CHECKING:
    from corecur.engine.trainer import Trainer


class Monitor:
    """Keeps the best value of one result; ``auto`` mode takes accuracy-like names up and the others down.

    >>> monitor = Monitor("val_accuracy")
    >>> [monitor.improves({"val_accuracy": value}) for value in (0.5, 0.7, 0.6)]
    [True, True, False]
    """

    RISING = ("accuracy", "acc", "auc", "f1", "precision", "recall", "r2")

    def __init__(self, name: str, mode: str = "auto", min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ConfigError("unknown mode", got=mode, expected="auto, min or max")
        rising = any(word in name for word in self.RISING) if mode == "auto" else mode == "max"
        self.name = name
        self.sign = 1.0 if rising else -1.0
        self.min_delta = abs(min_delta)
        self.best: float | None = None

    def is_due(self, trainer: Trainer) -> bool:
        """Whether this epoch computes it; a result on validation data is left out of epochs that do not validate."""
        return not self.name.startswith("val_") or trainer.validated or not trainer.validates

    def value(self, logs: Logs | None) -> float:
        """The monitored result; ConfigError if the training does not compute it."""
        logs = logs or {}
        if self.name not in logs:
            raise ConfigError(
                f"nothing called {self.name!r} is computed in this training",
                expected=", ".join(k for k, v in logs.items() if isinstance(v, (int, float))),
                do="pass validation data, or monitor one of these",
            )
        return float(logs[self.name])

    def improves(self, logs: Logs | None) -> bool:
        """Whether this is the best value yet, by more than ``min_delta``; remembers it if so."""
        value = self.value(logs)
        if math.isnan(value):
            return False
        if self.best is None or self.sign * (value - self.best) > self.min_delta:
            self.best = value
            return True
        return False

    def beats(self, reference: float) -> bool:
        """Whether the best value is better than this one by more than ``min_delta``."""
        return self.best is not None and self.sign * (self.best - reference) > self.min_delta
