"""The native step and its packed weights against float64, and what makes them be packed anew."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from corecur.errors import ConfigError, ShapeError
from corecur.kernels import asking_for, explain, last_path, native_step, reference
from corecur.kernels.cell import RECURRENCES
from corecur.kernels.choose import Request, choose
from corecur.kernels.native_step import Stage, Step, is_single, stage_for
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.gru import GRU, GRUCell
from corecur.layers.lstm import LSTM, LSTMCell
from corecur.layers.simple_rnn import SimpleRNN, SimpleRNNCell
from tests.kernels.needs_kernels import needs_kernels

pytestmark = needs_kernels

KINDS = [("simple_rnn", "tanh"), ("simple_rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]


def weights_of(kind: str, features: int, units: int, *, bias: bool = True) -> dict[str, Tensor]:
    shapes = RECURRENCES[kind].shapes(features=features, units=units, outputs=units)
    return {n: torch.randn(s) / s[-1] ** 0.5 for n, s in shapes.items() if bias or "bias" not in n}


def in_float64(kind: str, activation: str, x: Tensor, state: list[Tensor], weights: dict[str, Tensor]) -> Any:
    """Outputs (B, T, H) and states of the NumPy reference."""
    zeros = {n: np.zeros(len(weights["weight_ih"])) for n in ("bias_ih", "bias_hh")}
    doubled = {n: w.detach().double().numpy() for n, w in weights.items()}
    return reference.forward(
        kind, x.double().numpy(), zeros | doubled, state=[s.double().numpy() for s in state], activation=activation
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    which=st.sampled_from(KINDS),
    rows=st.integers(1, 33),
    features=st.integers(1, 70),
    units=st.sampled_from([1, 2, 7, 15, 16, 17, 31, 32, 33, 50, 64, 100]),
    bias=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_a_step_is_that_of_float64(
    which: tuple[str, str], rows: int, features: int, units: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    kind, activation = which
    weights = weights_of(kind, features, units, bias=bias)
    x, state = torch.randn(rows, features), [torch.randn(rows, units) for _ in range(RECURRENCES[kind].states)]
    step = Step(kind, weights, activation=activation)
    before = [t.clone() for t in (x, *state)]
    found = step(x, *state)
    expected = in_float64(kind, activation, x[:, None], state, weights)
    for new, exact in zip(found, expected.state, strict=True):
        np.testing.assert_allclose(new.numpy(), exact, atol=4e-6, rtol=4e-6)
    assert all(torch.equal(t, b) for t, b in zip((x, *state), before, strict=True))
    again = step(x, *state)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    which=st.sampled_from(KINDS),
    steps=st.integers(1, 9),
    units=st.sampled_from([1, 5, 17, 40]),
    seed=st.integers(0, 99),
)
def test_one_row_over_time_is_that_of_float64(which: tuple[str, str], steps: int, units: int, seed: int) -> None:
    torch.manual_seed(seed)
    kind, activation = which
    layers: dict[str, Any] = {"simple_rnn": SimpleRNN, "lstm": LSTM, "gru": GRU}
    layer = layers[kind](units, activation, return_sequences=True, return_state=True)
    x, state = torch.randn(1, steps, 6), [torch.randn(1, units) for _ in range(RECURRENCES[kind].states)]
    layer(x)
    with torch.no_grad():
        y, *last = layer(x, state)
    assert last_path() is not None and last_path().kernel == "native step"  # type: ignore[union-attr]
    expected = in_float64(kind, activation, x, state, layer.weights())
    for found, exact in zip((y, *last), (expected.outputs, *expected.state), strict=True):
        np.testing.assert_allclose(found.numpy(), exact, atol=4e-6, rtol=4e-6)


@pytest.mark.parametrize("cell", [SimpleRNNCell(9), SimpleRNNCell(9, "relu"), LSTMCell(9, use_bias=False), GRUCell(9)])
def test_cells_take_it_and_agree_with_the_loop(cell: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4)
    states = [torch.randn(3, 9) for _ in cell.state_sizes()]
    cell(x, states)
    kept = len(native_step._KEPT)
    with torch.no_grad():
        with asking_for("python loop"):
            expected, others = cell(x, states)
        assert len(native_step._KEPT) == kept
        found, new = cell(x, states)
        assert len(native_step._KEPT) == kept + 1
    torch.testing.assert_close([found, *new], [expected, *others], atol=1e-6, rtol=1e-6)
    assert "native step: taken" in explain(cell.request(single=True))


def test_streaming_is_the_whole_sequence() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 12, 5)
    for layer in (LSTM(11, stateful=True, return_sequences=True), GRU(11, stateful=True, return_sequences=True)):
        whole = layer(x).detach()
        layer.reset_states()
        with torch.inference_mode():
            pieces = [layer(x[:, t : t + 1]) for t in range(12)]
            assert last_path().kernel == "native step"  # type: ignore[union-attr]
        torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-6, rtol=1e-6)
        layer.reset_states()


def test_both_directions_and_inputs_that_are_not_contiguous() -> None:
    torch.manual_seed(0)
    layer = Bidirectional(GRU(6, return_sequences=True))
    x = torch.randn(7, 1, 3).transpose(0, 1)  # (1, 7, 3)
    expected = layer(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=1e-6)
        wide = torch.randn(1, 1, 6)[..., ::2]
        state = [torch.randn(6, 1).t()]
        one = GRU(6)
        torch.testing.assert_close(one(wide, state), one(wide.contiguous(), state[0].contiguous()))


CHANGES: list[tuple[str, Any]] = [
    ("optimiser", lambda cell: torch.optim.SGD(cell.parameters(), lr=0.5).step()),
    ("load_state_dict", lambda cell: cell.load_state_dict({n: w + 1 for n, w in cell.state_dict().items()})),
    ("in place", lambda cell: cell.weight_hh.detach().mul_(2)),
    ("data replaced", lambda cell: setattr(cell.weight_hh, "data", cell.weight_hh.data * 2)),
    ("a new parameter", lambda cell: setattr(cell, "bias_hh", torch.nn.Parameter(cell.bias_hh.detach() + 1))),
    ("announced", lambda cell: [cell.weight_hh.numpy(force=True).__imul__(2),
                                torch.autograd.graph.increment_version(cell.weight_hh)]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change"), CHANGES)
def test_changed_weights_are_packed_anew(what: str, change: Any) -> None:
    torch.manual_seed(0)
    cell, x, h = GRUCell(6), torch.randn(1, 4), torch.randn(1, 6)
    cell(x, h)[0].sum().backward()
    with torch.no_grad():
        before = cell(x, h)[0]
        change(cell)
        after = cell(x, h)[0]
        with asking_for("python loop"):
            expected = cell(x, h)[0]
    torch.testing.assert_close(after, expected, atol=1e-6, rtol=1e-6)
    assert not torch.allclose(after, before, atol=1e-3)


def test_data_that_comes_to_lie_where_other_data_lay() -> None:
    """A replaced weight is kept until the next call, so that its place is not given to the one after."""
    torch.manual_seed(0)
    cell, x, h = GRUCell(64), torch.randn(1, 4), torch.randn(1, 64)
    cell(x)
    with torch.no_grad():
        for _ in range(20):
            cell(x, h)
            for _ in range(2):
                cell.weight_hh.data = torch.randn(192, 64) / 8
            with asking_for("python loop"):
                expected = cell(x, h)[0]
            torch.testing.assert_close(cell(x, h)[0], expected, atol=4e-6, rtol=1e-5)


def test_weights_are_packed_once_and_go_with_their_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = Stage.__init__

    def counted(self: Stage, *args: Any, **more: Any) -> None:
        made.append(1)
        original(self, *args, **more)

    monkeypatch.setattr(Stage, "__init__", counted)
    cell, x = LSTMCell(8), torch.randn(2, 3)
    cell(x)
    with torch.no_grad():
        for _ in range(5):
            cell(x)
        assert len(made) == 1
        gc.collect()
        kept = len(native_step._KEPT)
        del cell
        gc.collect()
        assert len(native_step._KEPT) == kept - 1


def test_the_same_weights_in_another_kind_are_another_stage() -> None:
    weights = weights_of("simple_rnn", 3, 4)
    x, h = torch.randn(1, 3), torch.zeros(1, 4)
    tanh, relu = Step("simple_rnn", weights), Step("simple_rnn", weights, activation="relu")
    assert not torch.equal(tanh(x, h)[0], relu(x, h)[0]) and (relu(x, h)[0] >= 0).all()
    assert stage_for("simple_rnn", weights, "relu") is stage_for("simple_rnn", weights, "relu")


def test_not_a_number_goes_through_and_huge_numbers_saturate() -> None:
    weights = weights_of("lstm", 3, 5)
    step = Step("lstm", weights)
    x, h = torch.randn(2, 3), torch.zeros(2, 5)
    x[0, 1] = torch.nan
    found = step(x, h, h)
    assert found[0][0].isnan().all() and found[0][1].isfinite().all()
    big = step(torch.full((1, 3), 1e30), h[:1], h[:1])
    assert all(t.isfinite().all() and (t.abs() <= 1).all() for t in big)


def test_gradients_masks_and_other_precisions_go_elsewhere() -> None:
    layer, x = LSTM(4), torch.randn(1, 3, 2)
    layer(x).sum().backward()
    assert last_path().kernel != "native step" and layer.weights()["weight_hh"].grad is not None  # type: ignore[union-attr]
    with torch.no_grad():
        layer(torch.randn(2, 3, 2))
        assert last_path().kernel != "native step"  # type: ignore[union-attr]
        layer(x, mask=torch.tensor([[True, True, False]]))
        assert last_path().kernel != "native step"  # type: ignore[union-attr]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            layer(x)
        assert last_path().kernel != "native step"  # type: ignore[union-attr]
        double = LSTM(4)
        double(x)
        assert double.double()(x.double()).dtype == torch.float64
    frozen = LSTM(4, trainable=False)
    frozen(x)
    frozen(x)
    assert last_path().kernel == "native step"  # type: ignore[union-attr]
    assert frozen(x.requires_grad_()).requires_grad


def test_what_records_or_transforms_is_no_single_call() -> None:
    x = torch.randn(1, 1, 2)
    assert is_single(x, [], [])
    assert not is_single(x[:0], [], []) and not is_single(x[:, :0], [], [])
    with torch.autograd.forward_ad.dual_level():
        assert not is_single(x, [], [])
    seen: list[bool] = []
    torch.func.vmap(lambda t: (seen.append(is_single(x, [], [])), t)[1])(x)
    assert seen == [False]
    with FlopCounterMode(display=False):
        assert not is_single(x, [], [])


def test_zero_rows_and_zero_steps() -> None:
    layer = GRU(4, return_sequences=True)
    layer(torch.zeros(1, 1, 3))
    with torch.no_grad():
        assert layer(torch.zeros(0, 1, 3)).shape == (0, 1, 4)
        assert layer(torch.zeros(1, 0, 3)).shape == (1, 0, 4)
    assert Step("gru", weights_of("gru", 3, 4))(torch.zeros(0, 3), torch.zeros(0, 4))[0].shape == (0, 4)


def test_refusals() -> None:
    weights = weights_of("gru", 3, 4)
    step = Step("gru", weights)
    x, h = torch.zeros(2, 3), torch.zeros(2, 4)
    wrong: list[tuple[Tensor, ...]] = [
        (x, h[:1]), (h, h), (x,), (x, h, h), (x.double(), h), (x, h.to("meta")), (x[0], h),
    ]  # fmt: skip
    for tensors in wrong:
        with pytest.raises(ShapeError, match="do not fit"):
            step(*tensors)
    with pytest.raises(ConfigError, match="no native step"):
        Step("classic_gru", weights)
    with pytest.raises(ConfigError, match="float64"):
        Step("gru", {n: w.double() for n, w in weights.items()})
    with pytest.raises(ConfigError, match="cannot run this layer"):
        choose(Request("lstm"), asked="native step")
    assert "zoneout" in choose(Request("lstm", zoneout=True, single=True)).reason
    assert choose(Request("lstm", single=True)).kernel == "native step"
