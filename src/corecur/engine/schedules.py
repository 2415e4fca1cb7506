"""Learning-rate schedules: the rate of each step.

Some count steps (Keras' own: ``schedule(step)``), the others follow the progress of the training from 0 to 1
(``schedule.at(progress)``), whatever progress is measured in: steps of a known number, or seconds of a time budget.
A trainer needs not tell them apart: it asks ``schedule.rate_at(step, progress)`` before each step, with the number of
steps done and the share of the training that is over, so the last of n steps has progress (n - 1) / n.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Literal

from corecur.engine.plateau import Plateau
from corecur.errors import ConfigError
from corecur.names import Table

__all__ = [
    "SCHEDULES",
    "Constant",
    "CosineDecay",
    "ExponentialDecay",
    "LinearDecay",
    "OneCycle",
    "PiecewiseConstantDecay",
    "Plateau",
    "Schedule",
    "StepDecay",
    "Trapezoid",
    "Warmup",
]


@dataclass(frozen=True)
class Schedule(ABC):
    """A learning rate that changes; leaves are frozen dataclasses and define ``rate_at`` and ``peak``.

    >>> ExponentialDecay(0.1, 100, 0.5)(200)
    0.025
    >>> Trapezoid(0.1).at(0.5)
    0.1
    """

    @abstractmethod
    def rate_at(self, step: float, progress: float | None = None) -> float:
        """The rate after ``step`` steps, when ``progress`` (0 … 1) of the training is over."""

    @property
    @abstractmethod
    def peak(self) -> float:
        """The highest rate of the schedule; rates of other parameter groups are in proportion to it."""

    @property
    def relative(self) -> bool:
        """Whether the rate follows progress, so that the length of the training must be known."""
        return False

    def __call__(self, step: float) -> float:
        """The rate after ``step`` steps; ConfigError for a schedule that follows progress."""
        return self.rate_at(step)

    def at(self, progress: float) -> float:
        """The rate at ``progress`` in 0 … 1; ConfigError for a schedule that counts steps."""
        if not self.relative:
            raise ConfigError(
                f"{type(self).__name__} counts steps, not progress",
                do="call schedule(step), or rate_at(step, progress)",
            )
        return self.rate_at(0, progress)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, float | int):
                continue
            low = value > 0 if field.name in _POSITIVE else value >= 0
            high = value <= 1 if field.name in _SHARES else value < math.inf
            if not (low and high):
                raise ConfigError(f"{field.name} of {type(self).__name__} out of range", got=value)


_POSITIVE = frozenset({"decay_steps", "decay_rate", "every", "drop", "steps", "div_factor", "final_div_factor"})
_SHARES = frozenset({"alpha", "warmup", "cooldown", "start", "final"})


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at every step.

    >>> Constant(0.1)(1000)
    0.1
    """

    learning_rate: float

    def rate_at(self, step: float, progress: float | None = None) -> float:
        return self.learning_rate

    @property
    def peak(self) -> float:
        return self.learning_rate


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """initial · decay_rate^(step / decay_steps), the exponent rounded down with ``staircase``.

    >>> ExponentialDecay(0.1, 100, 0.5, staircase=True)(199)
    0.05
    """

    initial_learning_rate: float
    decay_steps: float
    decay_rate: float
    _: KW_ONLY
    staircase: bool = False

    def rate_at(self, step: float, progress: float | None = None) -> float:
        periods = step / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (math.floor(periods) if self.staircase else periods)

    @property
    def peak(self) -> float:
        return self.initial_learning_rate


@dataclass(frozen=True)
class StepDecay(Schedule):
    """initial · drop^⌊step / every⌋: the rate times ``drop`` after each ``every`` steps.

    >>> [StepDecay(0.1, 10)(step) for step in (9, 10, 20)]
    [0.1, 0.05, 0.025]
    """

    initial_learning_rate: float
    every: int
    _: KW_ONLY
    drop: float = 0.5

    def rate_at(self, step: float, progress: float | None = None) -> float:
        return self.initial_learning_rate * self.drop ** math.floor(step / self.every)

    @property
    def peak(self) -> float:
        return self.initial_learning_rate


@dataclass(frozen=True)
class PiecewiseConstantDecay(Schedule):
    """``values[i]`` up to and with step ``boundaries[i]``, the last value after all of them.

    >>> [PiecewiseConstantDecay([10, 20], [0.1, 0.01, 0.001])(step) for step in (10, 11, 21)]
    [0.1, 0.01, 0.001]
    """

    boundaries: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.boundaries) + 1:
            raise ConfigError(
                "PiecewiseConstantDecay takes one value more than boundaries",
                got=f"{len(self.boundaries)} boundaries, {len(self.values)} values",
            )
        if list(self.boundaries) != sorted(self.boundaries) or min(self.values) < 0:
            raise ConfigError(
                "boundaries are to rise, and rates not to be negative", got=(self.boundaries, self.values)
            )

    def rate_at(self, step: float, progress: float | None = None) -> float:
        return self.values[bisect_left(self.boundaries, step)]

    @property
    def peak(self) -> float:
        return max(self.values)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Half a cosine from the rate down to ``alpha`` times it, over ``decay_steps``, or the whole training where None.

    rate = top · (alpha + (1 - alpha) (1 + cos πp) / 2), p from 0 to 1 (Loshchilov & Hutter 2017, equation 5). With
    ``warmup_steps`` the rate first rises from ``initial_learning_rate`` to ``warmup_target``, the top, and the decay
    begins after that.

    >>> schedule = CosineDecay(0.1, 100)
    >>> schedule(0), round(schedule(50), 4), schedule(100)
    (0.1, 0.05, 0.0)
    """

    initial_learning_rate: float
    decay_steps: float | None = None
    _: KW_ONLY
    alpha: float = 0.0
    warmup_target: float | None = None
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay_steps is None and self.warmup_steps:
            raise ConfigError(
                "CosineDecay over the whole training has no warm-up in steps",
                do="give decay_steps, or use Warmup(CosineDecay(…), steps=…)",
            )

    def rate_at(self, step: float, progress: float | None = None) -> float:
        if self.decay_steps is None:
            p = _known(self, progress)
        elif self.warmup_target is not None and step < self.warmup_steps:
            share = step / self.warmup_steps
            return self.initial_learning_rate + share * (self.warmup_target - self.initial_learning_rate)
        else:
            # Without a target there is no warm-up, and, as in Keras, the decay begins at step 0.
            begun = self.warmup_steps if self.warmup_target is not None else 0
            p = min((step - begun) / self.decay_steps, 1.0)
        return self._top * (self.alpha + (1 - self.alpha) * _falling_cosine(p))

    @property
    def _top(self) -> float:
        return self.initial_learning_rate if self.warmup_target is None else self.warmup_target

    @property
    def peak(self) -> float:
        return max(self._top, self.initial_learning_rate)

    @property
    def relative(self) -> bool:
        return self.decay_steps is None


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from max / div_factor to max over the share ``warmup``, then down to max / (div_factor · final_div_factor).

    Both ways along half a cosine or a line (Smith & Topin 2018, "Super-convergence").

    >>> schedule = OneCycle(0.1, warmup=0.25)
    >>> [round(schedule.at(p), 6) for p in (0, 0.25, 1)]
    [0.004, 0.1, 0.0]
    """

    max_learning_rate: float
    _: KW_ONLY
    warmup: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal: Literal["cos", "linear"] = "cos"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.anneal not in ("cos", "linear"):
            raise ConfigError("unknown anneal of OneCycle", got=self.anneal, expected="cos or linear")

    def rate_at(self, step: float, progress: float | None = None) -> float:
        p = _known(self, progress)
        first = self.max_learning_rate / self.div_factor
        if p < self.warmup:
            return self._between(first, self.max_learning_rate, p / self.warmup)
        q = (p - self.warmup) / (1 - self.warmup) if self.warmup < 1 else 0.0
        return self._between(self.max_learning_rate, first / self.final_div_factor, q)

    def _between(self, begin: float, end: float, p: float) -> float:
        left = _falling_cosine(p) if self.anneal == "cos" else 1 - p
        return end + (begin - end) * left

    @property
    def peak(self) -> float:
        return self.max_learning_rate

    @property
    def relative(self) -> bool:
        return True


@dataclass(frozen=True)
class Trapezoid(Schedule):
    """Up a line over the share ``warmup``, level, and down a line over the last share ``cooldown``.

    It begins at ``start`` and ends at ``final`` times the rate. With ``warmup + cooldown = 1`` it is a triangle.

    >>> schedule = Trapezoid(0.1, warmup=0.2, cooldown=0.4)
    >>> [round(schedule.at(p), 6) for p in (0, 0.1, 0.2, 0.6, 0.8, 1)]
    [0.0, 0.05, 0.1, 0.1, 0.05, 0.0]
    """

    learning_rate: float
    _: KW_ONLY
    warmup: float = 0.1
    cooldown: float = 0.4
    start: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup + self.cooldown > 1 + 1e-9:
            raise ConfigError(
                "warmup and cooldown of Trapezoid overlap", got=(self.warmup, self.cooldown), expected="a sum up to 1"
            )

    def rate_at(self, step: float, progress: float | None = None) -> float:
        p = _known(self, progress)
        if p < self.warmup:
            height = self.start + (1 - self.start) * p / self.warmup
        elif self.cooldown and p > 1 - self.cooldown:
            height = self.final + (1 - self.final) * (1 - p) / self.cooldown
        else:
            height = 1.0
        return self.learning_rate * height

    @property
    def peak(self) -> float:
        return self.learning_rate

    @property
    def relative(self) -> bool:
        return True


@dataclass(frozen=True)
class LinearDecay(Schedule):
    """Down a line from the rate to ``final`` times it over the whole training.

    >>> LinearDecay(0.1).at(0.5)
    0.05
    """

    learning_rate: float
    _: KW_ONLY
    final: float = 0.0

    def rate_at(self, step: float, progress: float | None = None) -> float:
        return self.learning_rate * (1 - (1 - self.final) * _known(self, progress))

    @property
    def peak(self) -> float:
        return self.learning_rate

    @property
    def relative(self) -> bool:
        return True


@dataclass(frozen=True)
class Warmup(Schedule):
    """Another schedule (or rate) times a line that rises from 1 / steps at step 0 to 1 at step ``steps`` - 1.

    >>> [Warmup(Constant(0.1), steps=4)(step) for step in (0, 1, 3, 9)]
    [0.025, 0.05, 0.1, 0.1]
    """

    schedule: Schedule
    _: KW_ONLY
    steps: int

    def rate_at(self, step: float, progress: float | None = None) -> float:
        return min(1.0, (step + 1) / self.steps) * self.schedule.rate_at(step, progress)

    @property
    def peak(self) -> float:
        return self.schedule.peak

    @property
    def relative(self) -> bool:
        return self.schedule.relative


def _falling_cosine(p: float) -> float:
    return (1 + math.cos(math.pi * p)) / 2


def _known(schedule: Schedule, progress: float | None) -> float:
    if progress is None:
        raise ConfigError(
            f"{type(schedule).__name__} follows the progress of a training, not its steps",
            do="call schedule.at(progress), or rate_at(step, progress)",
        )
    return min(max(progress, 0.0), 1.0)


SCHEDULES: Table[type[Schedule]] = Table(
    "schedule",
    {
        "constant": Constant,
        "cosine_decay": CosineDecay,
        "exponential_decay": ExponentialDecay,
        "linear_decay": LinearDecay,
        "one_cycle": OneCycle,
        "piecewise_constant_decay": PiecewiseConstantDecay,
        "step_decay": StepDecay,
        "trapezoid": Trapezoid,
        "warmup": Warmup,
    },
    aliases={"cosine": "cosine_decay", "exponential": "exponential_decay", "linear": "linear_decay"},
)
