"""When to lower the learning rate because nothing improves any more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from corecur.errors import ConfigError


@dataclass(eq=False)
class Plateau:
    """Multiplies the rate by ``factor`` after ``patience`` values without an improvement of more than ``min_delta``.

    For ``cooldown`` values after a cut none is waited for, and the rate never falls below ``min_lr``. The counting is
    Keras' (torch's scheduler waits for one value more, and cools down for one more).

    >>> plateau = Plateau(0.5, patience=2)
    >>> [plateau.update(value, 1.0) for value in (0.9, 0.95, 0.92)]
    [1.0, 1.0, 0.5]
    """

    factor: float = 0.1
    _: KW_ONLY
    patience: int = 10
    min_delta: float = 1e-4
    cooldown: int = 0
    min_lr: float = 0.0
    mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise ConfigError("factor out of range", got=self.factor, expected="between 0 and 1")
        if self.mode not in ("min", "max"):
            raise ConfigError("unknown mode", got=self.mode, expected="min or max")
        self.reset()

    def reset(self) -> None:
        """Forget all values."""
        self._best = math.inf
        self._waited = 0
        self._cooling = 0

    def update(self, value: float, lr: float) -> float:
        """The rate to go on with after a new value of what is watched; NaN counts as no improvement."""
        cost = value if self.mode == "min" else -value
        if self._cooling:
            self._cooling -= 1
            self._waited = 0
        if cost < self._best - self.min_delta:
            self._best, self._waited = cost, 0
        elif not self._cooling:
            self._waited += 1
            if self._waited >= self.patience and lr > self.min_lr:
                self._cooling, self._waited = self.cooldown, 0
                return max(lr * self.factor, self.min_lr)
        return lr

    def state(self) -> dict[str, float]:
        """What decides the future, for a checkpoint."""
        return {"best": self._best, "waited": self._waited, "cooling": self._cooling}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Take over a state saved by ``state``."""
        self._best, self._waited, self._cooling = state["best"], int(state["waited"]), int(state["cooling"])
