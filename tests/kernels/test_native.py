"""The native recurrent kernels against float64, at odd shapes, for odd tensors, in every mode of torch.

B batch, T time, C features, H units.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from corecur.errors import ConfigError
from corecur.kernels import native, recurrence_ops
from corecur.kernels.cell import Work
from corecur.kernels.choose import asking_for, last_path
from corecur.kernels.native import run_native
from corecur.kernels.native_rows import KINDS as ROW_KINDS
from corecur.kernels.native_rows import run_rows
from corecur.kernels.reference import REFERENCES, backward, forward
from corecur.kernels.time_loop import run_plain
from corecur.layers import GRU, LSTM, Bidirectional, SimpleRNN
from tests.kernels.instruction_sets import isa
from tests.kernels.native_work import EVERY, Calls, assert_as_exact_as_torch, changed, drawn, leaves, objective, results
from tests.kernels.needs_kernels import needs_kernels
from tests.kernels.threads import threads

__all__ = ["isa", "threads"]
pytestmark = needs_kernels

every_kind = pytest.mark.parametrize("kind", EVERY, ids=" ".join)
LAYERS: dict[str, Any] = {
    "simple": lambda **o: SimpleRNN(7, **o),
    "simple relu": lambda **o: SimpleRNN(7, "relu", **o),
    "lstm": lambda **o: LSTM(7, **o),
    "lstm peephole": lambda **o: LSTM(7, peephole=True, **o),
    "gru": lambda **o: GRU(7, **o),
    "both ways": lambda **o: Bidirectional(LSTM(7, **o)),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


@st.composite
def works(draw: st.DrawFn, *, most_units: int = 70) -> Work:
    batch, steps = draw(st.integers(0, 40)), draw(st.integers(1, 20))
    lengths = None
    if draw(st.booleans()):
        lengths = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch) | st.just([0] * batch))
    work = drawn(
        draw(st.sampled_from(EVERY)),
        batch=batch,
        steps=steps,
        features=draw(st.integers(1, most_units)),
        units=draw(st.integers(1, most_units)),
        bias=draw(st.booleans()),
        lengths=lengths,
        dropout=draw(st.booleans()),
        zoneout=draw(st.sampled_from(["", "drawn", "mean"])),
        seed=draw(st.integers(0, 1000)),
    )
    return dataclasses.replace(work, need_state=draw(st.booleans()))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(works())
def test_any_work_is_as_exact_as_torch(work: Work) -> None:
    assert_as_exact_as_torch(run_native, work)


@every_kind
@pytest.mark.parametrize("units", [1, 15, 17, 33, 64])
def test_every_instruction_set_is_as_exact_as_torch(isa: str, kind: tuple[str, str], units: int) -> None:
    for number, more in enumerate(
        [{}, {"lengths": [3, 0, 9, 1, 9, 2, 8], "bias": False}, {"dropout": True}, {"zoneout": "drawn"}]
    ):
        work = drawn(kind, batch=7, steps=9, features=5, units=units, seed=number, **more)
        assert_as_exact_as_torch(run_native, work)


@pytest.fixture
def always_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "sums_up", lambda *_: True)


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(work=works(), count=st.integers(1, 5))
def test_gradients_summed_on_the_way_are_as_exact(
    always_sums: None, threads: Callable[[int], None], work: Work, count: int
) -> None:
    threads(count)  # some without a row, where the batch is small
    assert_as_exact_as_torch(run_native, work)


@every_kind
@pytest.mark.parametrize("units", [1, 15, 32, 33])
def test_every_instruction_set_sums_up_exactly(isa: str, always_sums: None, kind: tuple[str, str], units: int) -> None:
    for number, more in enumerate([{}, {"lengths": [3, 0, 40, 1, 29, 2, 40], "bias": False}, {"zoneout": "drawn"}]):
        work = drawn(kind, batch=7, steps=40, features=units + 2, units=units, seed=number, **more)
        assert_as_exact_as_torch(run_native, work)


@every_kind
def test_sums_over_many_steps_round_no_more(always_sums: None, kind: tuple[str, str]) -> None:
    assert_as_exact_as_torch(run_native, drawn(kind, batch=64, steps=300, features=8, units=16))


@pytest.mark.parametrize(
    ("layer", "shape", "name"),
    [
        (LSTM(16), (32, 60, 8), "corecur::recurrences_gradients"),
        (LSTM(16, recurrent_dropout=0.5), (32, 60, 8), "corecur::recurrences_backward"),
        (LSTM(16), (1, 600, 8), "corecur::recurrences_gradients"),  # so little that any other call would be more
        (LSTM(64), (3, 600, 8), "corecur::recurrences_backward"),  # too few rows to repay the sums
        (LSTM(1100), (32, 9, 8), "corecur::recurrences_backward"),  # sums that no second cache holds
    ],
)
def test_sums_are_made_where_they_are_faster(layer: LSTM, shape: tuple[int, ...], name: str) -> None:
    with asking_for("native"):
        y = layer(torch.randn(shape))
    with Calls() as calls:
        y.sum().backward()
    assert [function.name() for function, _ in calls.seen] == [name]


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind[0] in REFERENCES], ids=" ".join)
@pytest.mark.parametrize("lengths", [None, [4, 0, 6, 1], [0, 0, 0, 0]], ids=str)
def test_the_reference_in_numpy_says_the_same(kind: tuple[str, str], lengths: list[int] | None) -> None:
    work = drawn(kind, batch=4, steps=6, features=3, units=18, lengths=lengths)
    x, *state = (t.detach().double().numpy() for t in (work.x, *work.state))
    weights = {name: weight.detach().double().numpy() for name, weight in work.weights.items()}
    mask = np.arange(6) < np.array(lengths or [6] * 4)[:, None]
    done = forward(kind[0], x, weights, state=state, mask=mask, activation=kind[1])
    real = mask[..., None]
    d_state = [np.cos(s) * (n + 2) for n, s in enumerate(done.state)]
    dx, d_first, d_weights = backward(done, np.cos(done.outputs) * real, d_state)
    expected = [done.outputs * real, *done.state, dx, *d_first, *(d_weights[name] for name in weights)]
    for ours, true in zip(results(run_native, work), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), true, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(true).max()))


@every_kind
def test_no_steps_leave_the_state_and_its_gradient(kind: tuple[str, str]) -> None:
    work = drawn(kind, steps=0)
    outputs, *found = results(run_native, work)
    assert outputs.shape == (5, 0, 6)
    states, gradients = found[: len(work.state)], found[len(work.state) :]
    for number, (first, last) in enumerate(zip(work.state, states, strict=True)):
        assert torch.equal(first, last)
        torch.testing.assert_close(gradients[1 + number], first.detach().cos() * (number + 2))
    assert not any(gradient.any() for gradient in gradients[1 + len(states) :])


def masks() -> dict[str, Tensor]:
    """(B, T) with padding behind, in front, anywhere and everywhere."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([0, 1, 5, 8, 8])
    behind = torch.arange(8) < lengths[:, None]
    anywhere = torch.rand(5, 8, generator=generator) < 0.6
    return {"behind": behind, "in front": behind.flip(1), "anywhere": anywhere, "everywhere": behind & False}


@every_layer
@pytest.mark.parametrize("where", masks())
def test_layers_under_masks_are_those_in_float64(name: str, where: str) -> None:
    mask, generator = masks()[where], torch.Generator().manual_seed(1)
    x = torch.randn(5, 8, 3, generator=generator).masked_fill(~mask[..., None], float("nan"))
    torch.manual_seed(2)
    layer = LAYERS[name](return_sequences=True, return_state=True)
    layer(torch.zeros(1, 1, 3))
    found = []
    for each in (layer, copy.deepcopy(layer).double()):
        given_x = x.to(next(each.parameters()).dtype).requires_grad_()
        outputs = each(given_x, mask=mask)
        ran = last_path()
        assert ran is not None and (ran.kernel == "native") == (each is layer)
        loss = sum(o.sin().sum() for o in outputs)
        found.append([*outputs, *torch.autograd.grad(loss, [given_x, *each.parameters()])])
    for ours, true in zip(*found, strict=True):
        torch.testing.assert_close(ours.double(), true, rtol=1e-5, atol=2e-6)


def with_gaps(t: Tensor) -> Tensor:
    """The same values, transposed in memory, between others that must not be read."""
    room = torch.full((*reversed(t.shape), 2), float("nan"))
    room[..., 0] = t.permute(*reversed(range(t.dim())))
    return room[..., 0].permute(*reversed(range(t.dim())))


@every_kind
@pytest.mark.parametrize("lengths", [None, [2, 0, 4, 1, 3]], ids=str)
def test_tensors_with_gaps_are_as_good_as_whole_ones(kind: tuple[str, str], lengths: list[int] | None) -> None:
    for zoneout in ("", "drawn"):
        work = drawn(kind, lengths=lengths, dropout=True, zoneout=zoneout)
        for ours, whole in zip(results(run_native, changed(work, with_gaps)), results(run_native, work), strict=True):
            torch.testing.assert_close(ours, whole, rtol=1e-5, atol=1e-5)  # torch's products may sum in another order


@every_kind
def test_expanded_tensors_are_as_good_as_whole_ones(kind: tuple[str, str]) -> None:
    work = drawn(kind, batch=6)
    narrow = changed(work, lambda t: t[:1].expand_as(t))
    assert narrow.weights["bias_hh"].stride() == (0,)
    whole = changed(narrow, torch.Tensor.contiguous)
    for ours, expected in zip(results(run_native, narrow), results(run_native, whole), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@every_kind
def test_gradients_do_not_depend_on_which_are_asked_for(kind: tuple[str, str]) -> None:
    work = drawn(kind, lengths=[2, 4, 0, 4, 1])
    whole = torch.autograd.grad(objective(work, *run_native(work)), leaves(work))
    for chosen in range(len(whole)):
        for leaf in leaves(work):
            leaf.requires_grad_(False)
        leaves(work)[chosen].requires_grad_()
        (alone,) = torch.autograd.grad(objective(work, *run_native(work)), [leaves(work)[chosen]])
        # To the input alone no weights' gradients are summed up on the way, and products round in another order.
        torch.testing.assert_close(alone, whole[chosen], rtol=1e-5, atol=1e-6)


@every_kind
def test_a_second_way_back_gives_the_same(kind: tuple[str, str]) -> None:
    work = drawn(kind)
    loss = objective(work, *run_native(work))
    first, second = (torch.autograd.grad(loss, leaves(work), retain_graph=True) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@every_kind
def test_one_result_alone_carries_its_gradient(kind: tuple[str, str]) -> None:
    work = drawn(kind, lengths=[2, 4, 1, 4, 1])
    outputs, state = run_native(work)
    for number, one in enumerate([outputs[:, 0], *state]):
        ours = torch.autograd.grad(one.sin().sum(), leaves(work), retain_graph=True)
        double = changed(work, torch.Tensor.double)
        theirs, last = run_plain(double)
        true = torch.autograd.grad([theirs[:, 0], *last][number].sin().sum(), leaves(double), materialize_grads=True)
        for a, b in zip(ours, true, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5)


@every_kind
def test_without_gradients_outputs_are_the_same(kind: tuple[str, str]) -> None:
    work = drawn(kind, batch=3, steps=7)  # a shape that no other test has: what is kept for it is made in this mode
    with torch.inference_mode():
        inferred, _ = run_native(changed(work, torch.clone))
    with torch.no_grad():
        quiet, _ = run_native(work)
    assert not quiet.requires_grad
    outputs, state = run_native(work)
    assert torch.equal(outputs.detach(), inferred)
    assert torch.equal(outputs.detach(), quiet)
    torch.autograd.grad(objective(work, outputs, state), leaves(work))


@every_kind
@pytest.mark.parametrize("lengths", [None, [7, 6, 0, 1, 2]])
@pytest.mark.parametrize("extra", [{}, {"zoneout": "drawn"}, {"dropout": True}], ids=str)
def test_without_gradients_the_last_states_are_the_same_with_outputs_or_without(
    kind: tuple[str, str], lengths: list[int] | None, extra: dict[str, Any]
) -> None:
    """Then only as many states are kept as are asked for."""
    work = drawn(kind, batch=5, steps=7, lengths=lengths, **extra)
    _, expected = run_native(work)
    for need_outputs in (True, False):
        with torch.no_grad(), Calls() as calls:
            _, found = run_native(dataclasses.replace(work, need_outputs=need_outputs))
        for mine, theirs in zip(found, expected, strict=True):
            assert torch.equal(mine, theirs)
        assert calls.seen[-1][1][2:] == ([need_outputs], False)


def test_without_gradients_nothing_is_kept_for_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    real = recurrence_ops.table().recurrent_forward

    class Watched:
        @staticmethod
        def recurrent_forward(jobs: Any, count: int, threads: int) -> int:
            kept.append(jobs._obj.training)
            return int(real(jobs, count, threads))

    monkeypatch.setattr(recurrence_ops, "table", lambda: Watched)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            run_native(drawn(("lstm", "tanh")))
    assert kept == [0, 0, 1]


@pytest.mark.parametrize("kind", [*EVERY, *((kind, "tanh") for kind in ROW_KINDS)], ids=" ".join)
def test_the_operations_keep_torchs_rules(kind: tuple[str, str]) -> None:
    work = drawn(kind, lengths=[4, 2, 0, 3, 4])
    with Calls() as calls:
        y, last = (run_rows if kind[0] in ROW_KINDS else run_native)(work)
        sum(part.sum() for part in (y, *last)).backward()
    assert len(calls.seen) >= 2
    for function, operands in calls.seen:
        torch.library.opcheck(
            function, tree_map(lambda part: part.detach() if isinstance(part, Tensor) else part, operands)
        )


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of itself
def test_a_compiled_layer_is_the_layer(name: str) -> None:
    torch.manual_seed(0)
    layer, x = LAYERS[name](return_sequences=True), torch.randn(2, 3, 5)
    expected = layer(x)
    expected.sin().sum().backward()
    gradients = [parameter.grad for parameter in layer.parameters()]
    layer.zero_grad()
    found = torch.compile(layer, backend="aot_eager")(x)  # the backend that needs no C++ compiler
    torch.testing.assert_close(found, expected)
    found.sin().sum().backward()
    for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_transforms_of_torch_func_take_another_kernel() -> None:
    layer, x = GRU(4), torch.randn(3, 2, 5)
    layer(x).sum().backward()
    weight = layer.weight_hh_l0

    def loss(value: Tensor, rows: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight_hh_l0": value}, rows).sum()

    torch.testing.assert_close(torch.func.grad(loss)(weight.detach(), x), weight.grad, rtol=1e-5, atol=1e-5)
    ran = last_path()
    assert ran is not None and "no transforms of torch.func" in ran.reason


@every_kind
def test_hardly_any_new_state_has_an_exact_gradient(kind: tuple[str, str]) -> None:
    work = drawn(kind, units=16, zoneout="mean")
    work = dataclasses.replace(work, zoneout=tuple(torch.full((1, 1, 1), 0.9999) for _ in work.state))
    assert_as_exact_as_torch(run_native, work)


def test_a_traced_layer_leaves_nothing_behind() -> None:
    layer, x = LSTM(4), torch.randn(3, 9, 5)
    expected = layer(x)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert layer(mode.from_tensor(x)).shape == (3, 4)
    found = layer(x)
    assert type(found) is Tensor
    assert torch.equal(found, expected)


def test_another_default_device_changes_nothing() -> None:
    layer, x, mask = (
        GRU(4, return_sequences=True),
        torch.randn(3, 5, 2),
        torch.arange(5) < torch.tensor([[2], [0], [5]]),
    )
    expected = layer(x, mask=mask)
    work = drawn(("gru", "tanh"), lengths=[2, 4, 0, 4, 1], dropout=True)
    true = results(run_native, work)
    with torch.device("meta"):
        outputs, state = run_native(work)
        found = torch.autograd.grad(sum(s.sum() for s in state), leaves(work))
    assert all(t.device.type == "cpu" for t in (outputs, *state, *found))
    assert torch.equal(state[0], true[1])
    assert torch.equal(layer(x, mask=mask), expected)


def test_python_threads_do_not_meet() -> None:
    given_works = [drawn(kind, batch=9, steps=11, units=20, seed=n) for n, kind in enumerate(EVERY * 4)]
    alone = [results(run_native, work) for work in given_works]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda work: results(run_native, work), given_works * 3))
    for found, expected in zip(together, alone * 3, strict=True):
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@every_kind
def test_a_count_of_threads_always_gives_the_same_bits(threads: Callable[[int], None], kind: tuple[str, str]) -> None:
    by_count = []
    for count in (1, 2, 3, 4):
        threads(count)
        work = drawn(kind, batch=11, steps=6, units=40, lengths=[6, 5, 5, 4, 3, 3, 2, 1, 0, 6, 6], zoneout="drawn")
        first, second = results(run_native, work), results(run_native, work)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        by_count.append(first)
    for other in by_count[1:]:
        for a, b in zip(by_count[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@every_layer
def test_layers_can_be_copied_and_pickled(name: str) -> None:
    layer = LAYERS[name]()
    x = torch.randn(2, 3, 4)
    expected = layer(x)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), expected)
        other(x).sum().backward()


@every_kind
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_a_bad_row_leaves_the_others_alone(isa: str, kind: tuple[str, str], value: float) -> None:
    work = drawn(kind, batch=13, steps=5, units=19, lengths=[5, 2, 3, 5, 1, 5, 5, 4, 4, 3, 2, 1, 5])
    bad = changed(work, torch.clone)
    with torch.no_grad():
        bad.x[3, 2, 1] = value
    others = torch.arange(13) != 3
    found = []
    for each in (work, bad):
        outputs, state = run_native(each)
        d_x, *d_state = torch.autograd.grad(objective(each, outputs, state), [each.x, *each.state])
        real = (torch.arange(5) < work.lengths[:, None])[..., None]  # type: ignore[index]
        found.append([t.detach()[others] for t in (outputs * real, *state, d_x, *d_state)])
        if each is bad and value != value:
            assert outputs[3, 2:].isnan().all()
            assert outputs[3, :2].isfinite().all()
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@every_kind
def test_denormals_are_taken_as_numbers(isa: str, kind: tuple[str, str]) -> None:
    assert_as_exact_as_torch(run_native, changed(drawn(kind), lambda t: t * 1e-39))


@every_kind
def test_saturated_gates_stay_finite(isa: str, kind: tuple[str, str]) -> None:
    work = changed(drawn(kind, steps=3), lambda t: t * 1e4)
    if kind[1] == "relu":
        work = dataclasses.replace(work, x=work.x.detach().mul(1e-4).requires_grad_())
    assert all(t.isfinite().all() for t in results(run_native, work))


@every_kind
def test_second_derivatives_are_refused_by_name(kind: tuple[str, str]) -> None:
    work = drawn(kind)
    loss = objective(work, *run_native(work))
    with pytest.raises(ConfigError, match=r"asking_for\('scripted loop'\)"):
        torch.autograd.grad(loss, [work.x], create_graph=True)


def test_what_the_refusal_says_to_do_works() -> None:
    layer, x = LSTM(4), torch.randn(2, 3, 5, requires_grad=True)
    layer(x)
    with asking_for("scripted loop"):
        (slope,) = torch.autograd.grad(layer(x).sum(), [x], create_graph=True)
        slope.square().sum().backward()
    assert layer.weight_hh_l0.grad.abs().sum() > 0
