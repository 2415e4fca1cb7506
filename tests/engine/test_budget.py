from __future__ import annotations

from typing import Any

import pytest

from corecur.engine.budget import StepBudget, TimeBudget
from corecur.errors import ConfigError


@pytest.mark.parametrize(
    ("steps", "step", "progress"), [(200, 0, 0.0), (200, 50, 0.25), (200, 300, 1.0), (None, 7, 0.0), (0, 7, 0.0)]
)
def test_progress_in_steps(steps: int | None, step: int, progress: float) -> None:
    budget = StepBudget(steps)
    assert budget.progress(step) == progress
    assert not budget.spent(step)


def test_progress_in_seconds() -> None:
    times = iter([100.0, 100.0, 104.0, 110.0, 109.9, 110.1])
    budget = TimeBudget(10.0, clock=lambda: next(times))
    assert [budget.progress(0) for _ in range(3)] == [0.0, 0.4, 1.0]
    assert [budget.spent(0) for _ in range(2)] == [False, True]


def test_what_ends_first_is_the_progress() -> None:
    now = 100.0
    budget = TimeBudget(10.0, steps=20, clock=lambda: now)
    assert (budget.progress(5), budget.spent(20)) == (0.25, False)
    now = 105.0
    assert (budget.progress(5), budget.progress(15), budget.spent(15)) == (0.5, 0.75, False)
    now = 110.0
    assert (budget.progress(5), budget.spent(5)) == (1.0, True)


@pytest.mark.parametrize("seconds", [0, -1.0])
def test_a_time_budget_is_positive(seconds: Any) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        TimeBudget(seconds)
