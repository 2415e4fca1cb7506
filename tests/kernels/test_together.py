"""Several recurrences in one native call: each as exact as alone, whatever the others are, on any number of threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from corecur.kernels import native
from corecur.kernels.cell import Result, Work
from corecur.kernels.choose import Request, asking_for, last_path, run_together
from corecur.kernels.native import run_native, run_native_together
from corecur.kernels.native_step import run_steps, run_steps_together
from tests.kernels.native_work import EVERY, assert_as_exact_as_torch, drawn, leaves, objective
from tests.kernels.needs_kernels import needs_kernels
from tests.kernels.threads import threads

__all__ = ["threads"]
pytestmark = needs_kernels


@st.composite
def groups(draw: st.DrawFn) -> list[Work]:
    """Two or three works that have nothing in common."""
    found = []
    for number in range(draw(st.integers(2, 3))):
        batch, steps = draw(st.integers(0, 12)), draw(st.integers(1, 9))
        padded = st.lists(st.integers(0, steps), min_size=batch, max_size=batch)
        work = drawn(
            draw(st.sampled_from(EVERY)),
            batch=batch,
            steps=steps,
            features=draw(st.integers(1, 40)),
            units=draw(st.integers(1, 40)),
            lengths=draw(st.none() | padded),
            dropout=draw(st.booleans()),
            zoneout=draw(st.sampled_from(["", "drawn"])),
            seed=number,
        )
        found.append(dataclasses.replace(work, need_state=draw(st.booleans())))
    return found


def gradients(works: Sequence[Work], found: Sequence[Result]) -> list[Tensor]:
    """Those of all works' objectives together."""
    total = sum(objective(work, *result) for work, result in zip(works, found, strict=True))
    assert isinstance(total, Tensor)
    wanted = [leaf for work in works for leaf in leaves(work)]
    return list(torch.autograd.grad(total, wanted, allow_unused=True))


@pytest.mark.parametrize("summing", [False, True])
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(works=groups(), count=st.integers(1, 5), place=st.integers(0, 2))
def test_each_is_as_exact_as_torch(
    threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    summing: bool,
    works: list[Work],
    count: int,
    place: int,
) -> None:
    threads(count)
    monkeypatch.setattr(native, "sums_up", lambda *_: summing)
    others = works[:-1]
    place = min(place, len(others))
    # Nothing of the others is used, so that no gradient comes to them.
    assert_as_exact_as_torch(
        lambda work: run_native_together([*others[:place], work, *others[place:]])[place], works[-1]
    )


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(works=groups(), count=st.integers(1, 5))
def test_gradients_come_to_all_of_them(threads: Callable[[int], None], works: list[Work], count: int) -> None:
    threads(count)
    together, alone = run_native_together(works), [run_native(work) for work in works]
    for (y, last), (own_y, own_last) in zip(together, alone, strict=True):
        torch.testing.assert_close((y, *last), (own_y, *own_last), rtol=1e-5, atol=1e-6)
    for ours, own in zip(gradients(works, together), gradients(works, alone), strict=True):
        torch.testing.assert_close(ours, own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_they_are_the_same_from_run_to_run(threads: Callable[[int], None], count: int) -> None:
    threads(count)
    works = [drawn(("gru", "tanh"), batch=5, steps=30, units=33, seed=seed) for seed in (0, 1)]
    first, second = ([*gradients(works, found)] for found in (run_native_together(works), run_native_together(works)))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("steps", [1, 3, 4, 30])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_single_rows_are_exactly_those_alone(threads: Callable[[int], None], count: int, steps: int) -> None:
    threads(count)
    works = [
        drawn(kind, batch=1, steps=steps, features=7, units=units)
        for kind, units in ((("lstm", "tanh"), 9), (("gru", "tanh"), 40), (("simple_rnn", "relu"), 65))
    ]
    with torch.no_grad():
        for (y, last), work in zip(run_steps_together(works), works, strict=True):
            own_y, own_last = run_steps(work)
            assert torch.equal(y, own_y)
            assert all(torch.equal(a, b) for a, b in zip(last, own_last, strict=True))


def test_a_few_rows_of_one_step_run_one_after_the_other() -> None:
    works = [drawn(("lstm", "tanh"), batch=3, steps=1, seed=seed) for seed in (0, 1)]
    with torch.no_grad():
        for (y, _), work in zip(run_steps_together(works), works, strict=True):
            assert torch.equal(y, run_steps(work)[0])


def test_kernels_that_take_one_work_and_works_of_different_kinds_run_too() -> None:
    works = [drawn((kind, "tanh"), seed=seed) for kind, seed in (("lstm", 0), ("lstm", 1), ("gru", 2))]
    alone = [run_native(work)[0] for work in works]
    for kernel in ("native", "fused", "python loop"):
        with asking_for(kernel):
            found = run_together([(Request(work.kind), work) for work in works])
        assert (path := last_path()) is not None
        assert path.kernel == kernel
        for (y, _), expected in zip(found, alone, strict=True):
            torch.testing.assert_close(y, expected)
