from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from corecur.engine.schedules import (
    SCHEDULES,
    Constant,
    CosineDecay,
    ExponentialDecay,
    LinearDecay,
    OneCycle,
    PiecewiseConstantDecay,
    Schedule,
    StepDecay,
    Trapezoid,
    Warmup,
)
from corecur.errors import ConfigError

EXAMPLES: list[Schedule] = [
    Constant(0.1),
    CosineDecay(0.1),
    CosineDecay(0.1, 30, alpha=0.1),
    CosineDecay(0.01, 30, warmup_target=0.1, warmup_steps=10),
    ExponentialDecay(0.1, 10, 0.9),
    LinearDecay(0.1, final=0.1),
    OneCycle(0.1),
    PiecewiseConstantDecay((10, 20), (0.1, 0.01, 0.001)),
    StepDecay(0.1, 10),
    Trapezoid(0.1),
    Warmup(Constant(0.1), steps=10),
    Warmup(CosineDecay(0.1), steps=10),
]


def torch_rates(scheduler: type[lr_scheduler.LRScheduler], rate: float, steps: int, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    made = scheduler(optimizer, **options)  # type: ignore[arg-type]
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return rates


def test_exponential_and_step_against_torch() -> None:
    steps = range(50)
    want = torch_rates(lr_scheduler.ExponentialLR, 0.1, 50, gamma=0.9)
    np.testing.assert_allclose([ExponentialDecay(0.1, 1, 0.9)(s) for s in steps], want, rtol=1e-10)
    want = torch_rates(lr_scheduler.StepLR, 0.1, 50, step_size=7, gamma=0.3)
    np.testing.assert_allclose([StepDecay(0.1, 7, drop=0.3)(s) for s in steps], want, rtol=1e-10)
    np.testing.assert_allclose([ExponentialDecay(0.1, 7, 0.3, staircase=True)(s) for s in steps], want, rtol=1e-10)
    want = torch_rates(lr_scheduler.MultiStepLR, 0.1, 50, milestones=[11, 21], gamma=0.1)
    piecewise = PiecewiseConstantDecay([10, 20], [0.1, 0.01, 0.001])
    np.testing.assert_allclose([piecewise(s) for s in steps], want, rtol=1e-10)


def test_cosine_against_torch() -> None:
    want = torch_rates(lr_scheduler.CosineAnnealingLR, 0.1, 40, T_max=40, eta_min=0.01)
    np.testing.assert_allclose([CosineDecay(0.1, 40, alpha=0.1)(s) for s in range(40)], want, rtol=1e-9)
    np.testing.assert_allclose([CosineDecay(0.1, alpha=0.1).at(s / 40) for s in range(40)], want, rtol=1e-9)
    assert CosineDecay(0.1, 40, alpha=0.1)(1000) == pytest.approx(0.01)  # stays at the end


def test_cosine_with_warm_up_by_keras_formula() -> None:
    schedule = CosineDecay(0.01, 30, alpha=0.2, warmup_target=0.1, warmup_steps=10)
    for step in range(60):
        if step < 10:
            want = 0.01 + (0.1 - 0.01) * step / 10
        else:
            p = min(step - 10, 30) / 30
            want = 0.1 * (0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * p)))
        assert schedule(step) == pytest.approx(want)


@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_one_cycle_against_torch(anneal: str) -> None:
    total, rise = 100, 30
    want = torch_rates(
        lr_scheduler.OneCycleLR,
        0.1,
        total,
        max_lr=0.1,
        total_steps=total,
        pct_start=rise / total,
        anneal_strategy=anneal,
        cycle_momentum=False,
    )
    # torch's first phase ends with step rise - 1 and its last with step total - 1
    schedule = OneCycle(0.1, warmup=(rise - 1) / (total - 1), anneal=anneal)  # type: ignore[arg-type]
    np.testing.assert_allclose([schedule.at(s / (total - 1)) for s in range(total)], want, rtol=1e-6)


def test_trapezoid_is_the_smaller_of_two_lines_and_a_level() -> None:
    schedule = Trapezoid(0.5, warmup=0.2, cooldown=0.4, start=0.1, final=0.05)
    for p in np.linspace(0, 1, 101):
        want = min(1.0, 0.1 + 0.9 * p / 0.2, 0.05 + 0.95 * (1 - p) / 0.4)
        assert schedule.at(float(p)) == pytest.approx(0.5 * want)
    line = Trapezoid(0.5, warmup=0, cooldown=1)
    assert [line.at(p) for p in (0.0, 0.3, 1.0)] == pytest.approx([LinearDecay(0.5).at(p) for p in (0.0, 0.3, 1.0)])
    assert Trapezoid(0.5, warmup=0.3, cooldown=0.7).at(0.3) == 0.5


def test_warm_up_multiplies() -> None:
    schedule = Warmup(ExponentialDecay(0.1, 10, 0.5), steps=5)
    for step in range(20):
        assert schedule(step) == pytest.approx(min(1, (step + 1) / 5) * 0.1 * 0.5 ** (step / 10))
    relative = Warmup(LinearDecay(0.1), steps=5)
    assert relative.relative and relative.rate_at(1, 0.5) == pytest.approx(0.4 * 0.05)


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
class TestEverySchedule:
    def test_stays_between_zero_and_its_peak_and_reaches_it(self, schedule: Schedule) -> None:
        rates = [schedule.rate_at(step, step / 100) for step in range(101)]
        assert all(0 <= rate <= schedule.peak * (1 + 1e-12) for rate in rates)
        assert max(rates) > 0.9 * schedule.peak

    def test_steps_and_progress_are_told_apart(self, schedule: Schedule) -> None:
        if schedule.relative:
            assert schedule.at(0.5) == schedule.rate_at(0, 0.5)
            with pytest.raises(ConfigError, match="progress"):
                schedule(3)
        else:
            assert schedule(3) == schedule.rate_at(3, 0.9)
            with pytest.raises(ConfigError, match="counts steps"):
                schedule.at(0.5)

    def test_is_a_value(self, schedule: Schedule) -> None:
        assert dataclasses.replace(schedule) == schedule
        assert type(schedule) in SCHEDULES.values()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(-0.1),
        lambda: Constant(float("nan")),
        lambda: ExponentialDecay(0.1, 0, 0.5),
        lambda: ExponentialDecay(0.1, 10, -0.5),
        lambda: StepDecay(0.1, 0),
        lambda: CosineDecay(0.1, 10, alpha=1.5),
        lambda: CosineDecay(0.1, warmup_target=0.2, warmup_steps=5),
        lambda: PiecewiseConstantDecay([1, 2], [0.1, 0.2]),
        lambda: PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]),
        lambda: OneCycle(0.1, warmup=1.5),
        lambda: OneCycle(0.1, anneal="poly"),  # type: ignore[arg-type]
        lambda: Trapezoid(0.1, warmup=0.6, cooldown=0.6),
        lambda: Warmup(Constant(0.1), steps=0),
    ],
)
def test_refusals(make: type[Schedule]) -> None:
    with pytest.raises(ConfigError):
        make()
