"""Recurrences whose units are shared by threads that meet after each step: exact, always the same, where they repay it.

B batch, T time, C features, H units.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from corecur.kernels import native, native_step, recurrence_ops, stretch_parts
from corecur.kernels.cell import Work
from corecur.kernels.choose import asking_for
from corecur.kernels.native import KINDS, run_native
from corecur.kernels.native_generation import Choosing, Part, Writer
from corecur.kernels.native_step import STAGES, members_of_step, run_steps
from corecur.kernels.recurrence_ops import members
from corecur.layers import GRU, LSTM, Dense, SimpleRNN
from corecur.models import Sequential
from tests.kernels.instruction_sets import isa
from tests.kernels.native_work import EVERY, assert_as_exact_as_torch, drawn, leaves, objective, results
from tests.kernels.needs_kernels import needs_kernels
from tests.kernels.threads import threads

__all__ = ["isa", "threads"]
pytestmark = needs_kernels

every_kind = pytest.mark.parametrize("kind", EVERY, ids=" ".join)
Share = Callable[[int, bool], None]


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch) -> Share:
    """So many threads share the units from now on, and sum up the weights' gradients as they go or do not; 0: none."""

    def now(count: int, summing: bool) -> None:
        for module in (recurrence_ops, stretch_parts):
            monkeypatch.setattr(module, "members", lambda *_: count)
            monkeypatch.setattr(module, "sums_up_units", lambda *_: summing)
            monkeypatch.setattr(module, "sums_up_rows", lambda *_: False)
            monkeypatch.setattr(module, "multiplies_inside", lambda *_: False)
        monkeypatch.setattr(native, "sums_up", lambda *_: summing)

    return now


@st.composite
def works(draw: st.DrawFn) -> Work:
    batch, steps = draw(st.integers(0, 30)), draw(st.integers(1, 20))
    padded = st.lists(st.integers(0, steps), min_size=batch, max_size=batch)
    return drawn(
        draw(st.sampled_from(EVERY)),
        batch=batch,
        steps=steps,
        features=draw(st.integers(1, 70)),
        units=draw(st.integers(1, 140)),
        bias=draw(st.booleans()),
        lengths=draw(st.none() | padded),
        zoneout=draw(st.sampled_from(["", "drawn", "mean"])),
        seed=draw(st.integers(0, 1000)),
    )


@pytest.mark.parametrize("summing", [False, True])
@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(work=works(), count=st.integers(1, 5))
def test_any_work_is_as_exact_as_torch(
    threads: Callable[[int], None], share: Share, summing: bool, work: Work, count: int
) -> None:
    threads(count)  # some without a panel, where there are few units
    share(count, summing and work.weights.keys().isdisjoint(["weight_ci"]))
    assert_as_exact_as_torch(run_native, work)


@every_kind
@pytest.mark.parametrize("units", [1, 17, 32, 130])
def test_every_instruction_set_is_as_exact_as_torch(
    isa: str, threads: Callable[[int], None], share: Share, kind: tuple[str, str], units: int
) -> None:
    threads(2)
    for number, more in enumerate([{}, {"lengths": [3, 0, 40, 1, 29, 2, 40], "bias": False}, {"zoneout": "drawn"}]):
        for summing in {False, kind[0] != "peephole_lstm"}:
            share(2, summing)
            work = drawn(kind, batch=7, steps=40, features=units + 2, units=units, seed=number, **more)
            assert_as_exact_as_torch(run_native, work)


@every_kind
@pytest.mark.parametrize("batch", [1, 3, 30])
def test_the_gradient_of_many_steps_inputs_comes_to_its_steps(
    threads: Callable[[int], None], share: Share, kind: tuple[str, str], batch: int
) -> None:
    threads(3)
    share(3, kind[0] != "peephole_lstm")
    assert_as_exact_as_torch(run_native, drawn(kind, batch=batch, steps=200, features=40, units=70))


@every_kind
def test_the_bytes_are_those_of_shared_rows(
    threads: Callable[[int], None], share: Share, kind: tuple[str, str]
) -> None:
    """Without sums on the way every number comes of the same operations in the same order."""
    work = drawn(kind, batch=3, steps=30, features=20, units=100, lengths=[30, 11, 0])
    found = []
    for count in (0, 1, 2, 3):
        threads(max(1, count))
        share(count, False)
        found.append(results(run_native, work)[:2])  # outputs and states, before products of any number of threads
        with torch.no_grad():
            found.append([run_native(work)[0]])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=False))


@every_kind
@pytest.mark.parametrize("count", [2, 3])
def test_they_are_the_same_from_run_to_run(
    threads: Callable[[int], None], share: Share, kind: tuple[str, str], count: int
) -> None:
    threads(count)
    share(count, kind[0] != "peephole_lstm")
    work = drawn(kind, batch=2, steps=300, features=33, units=97)
    first, *others = ([*results(run_native, work)] for _ in range(5))
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_python_threads_do_not_meet_those_of_others(threads: Callable[[int], None], share: Share) -> None:
    share(2, True)
    work = drawn(("lstm", "tanh"), batch=2, steps=100, features=33, units=97)

    def run(_: int) -> list[Tensor]:
        torch.set_num_threads(2)  # those of the thread at hand
        return [torch.cat([r.flatten() for r in results(run_native, work)]) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        found = [one for some in pool.map(run, range(4)) for one in some]
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("kind", [SimpleRNN, LSTM, GRU])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_a_stretch_of_layers_gives_what_the_layers_give(
    threads: Callable[[int], None], share: Share, kind: Any, masked: bool, trained: bool
) -> None:
    threads(2)
    torch.manual_seed(0)
    network = Sequential([kind(64, return_sequences=True), kind(32), Dense(3)]).train(trained)
    x = torch.randn(3, 50, 10)
    mask = torch.arange(50) < torch.tensor([[50], [7], [31]]) if masked else None
    network(x)
    double = [p.detach().double() for p in network.parameters()]

    def run() -> list[Tensor]:
        with torch.set_grad_enabled(trained):
            y = network(x, mask=mask)
        return [y, *(torch.autograd.grad(y.square().sum(), list(network.parameters())) if trained else ())]

    share(2, True)
    found = run()
    with asking_for("python loop"):
        expected = run()
    assert len(double) == len(list(network.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "batch", "steps", "units", "expected"),
    [
        (("lstm", "tanh"), 1, 100, 256, 2),
        (("lstm", "tanh"), 8, 100, 256, 2),
        (("lstm", "tanh"), 2, 100, 64, 2),
        (("lstm", "tanh"), 64, 100, 256, 2),  # whose sums a second cache of each holds together, but not alone
        (("lstm", "tanh"), 64, 100, 512, 0),  # rows enough for each thread
        (("lstm", "tanh"), 64, 100, 1024, 2),  # weights that come from memory
        (("lstm", "tanh"), 1, 28, 32, 0),  # so little that a thread does it alone
        (("lstm", "tanh"), 4, 5000, 24, 0),  # less to do in a step than to meet
        (("lstm", "tanh"), 8, 100, 128, 0),  # whose rows' gradients are better summed up
        (("gru", "tanh"), 1, 100, 256, 2),
        (("simple_rnn", "relu"), 1, 200, 256, 2),
    ],
)
def test_units_are_shared_where_that_repays_the_meetings(
    monkeypatch: pytest.MonkeyPatch, kind: tuple[str, str], batch: int, steps: int, units: int, expected: int
) -> None:
    monkeypatch.setattr(recurrence_ops, "threads", lambda: 2)
    monkeypatch.setattr(recurrence_ops, "cores", lambda: 4)
    monkeypatch.setattr(recurrence_ops, "second_cache", lambda: 1 << 20)
    monkeypatch.setattr(recurrence_ops, "processor", lambda: "zen 5")
    assert members(KINDS[kind], batch * steps, units, batch, units) == expected
    monkeypatch.setattr(recurrence_ops, "cores", lambda: 1)  # threads that would wait for the one core
    assert members(KINDS[kind], batch * steps, units, batch, units) == 0


@pytest.mark.parametrize("kind", [kind for kind in STAGES if kind[0] != "dense"], ids=" ".join)
@pytest.mark.parametrize("units", [1, 33, 100])
def test_one_row_is_exactly_that_of_one_thread(
    isa: str, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, kind: tuple[str, str], units: int
) -> None:
    work = drawn(kind, batch=1, steps=37, features=9, units=units)
    monkeypatch.setattr(native_step, "_WORTH_THREADS", 0)
    found = []
    for count in (1, 2, 3):
        threads(count)
        monkeypatch.setattr(native_step, "members_of_step", lambda *_, count=count: count)
        with torch.no_grad():
            found.append(run_steps(work))
    for y, state in found[1:]:
        assert torch.equal(y, found[0][0])
        assert all(torch.equal(a, b) for a, b in zip(state, found[0][1], strict=True))


@pytest.mark.parametrize("looked_up", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_texts_and_states_are_exactly_those_of_one_thread(
    isa: str, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, looked_up: bool, batch: int
) -> None:
    torch.manual_seed(0)
    layers = torch.nn.LSTM(12, 40), torch.nn.GRU(40, 33)
    parts = [
        Part(kind, {name[:-3]: weight for name, weight in layer.named_parameters()})
        for kind, layer in zip(("lstm", "gru"), layers, strict=True)
    ]
    parts.append(Part("dense", {"weight_ih": torch.randn(30, 33), "bias_ih": torch.randn(30)}, "linear"))
    vectors = torch.randn(30 if looked_up else 2000, 12)
    writer = Writer(parts, vectors)
    uniforms = torch.rand(batch, 50, dtype=torch.float64)
    found = []
    for count in (1, 2, 3):
        threads(count)
        monkeypatch.setattr(Writer, "_members", lambda *_, count=count: count)
        state = writer.first_state(batch)
        prompts = [[1, 2, 3], [4], [5, 6]][:batch]
        tokens, written = writer.write(prompts, 50, uniforms=uniforms, choosing=Choosing(0.9), banned=[0], state=state)
        found.append([tokens, written, *(part for own in state for part in own)])
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    assert len(found[0][0].unique()) > 5


@pytest.mark.parametrize(
    ("rows", "units", "expected"),
    [(1, 32, 1), (1, 64, 2), (1, 512, 2), (4, 64, 1), (4, 128, 2), (8, 128, 1), (8, 512, 2), (16, 512, 1)],
)
def test_units_of_a_step_are_shared_where_that_repays_the_meetings(
    monkeypatch: pytest.MonkeyPatch, rows: int, units: int, expected: int
) -> None:
    monkeypatch.setattr(native_step, "threads", lambda: 2)
    monkeypatch.setattr(native_step, "cores", lambda: 4)
    monkeypatch.setattr(native_step, "second_cache", lambda: 1 << 20)
    assert members_of_step(rows, 4 * units * units) == expected
    monkeypatch.setattr(native_step, "cores", lambda: 1)
    assert members_of_step(rows, 4 * units * units) == 1


def test_gradients_of_works_without_all_wanted(threads: Callable[[int], None], share: Share) -> None:
    threads(2)
    share(2, True)
    work = drawn(("gru", "tanh"), batch=2, steps=40, features=9, units=40)
    whole = torch.autograd.grad(objective(work, *run_native(work)), leaves(work))
    work.x.requires_grad_(False)
    some = torch.autograd.grad(objective(work, *run_native(work)), leaves(work)[1:])
    for ours, theirs in zip(some, whole[1:], strict=True):
        assert torch.equal(ours, theirs)
