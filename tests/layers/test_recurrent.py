"""What all recurrent layers share: exact masks, states in and out, direction, named errors."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.kernels.choose import last_path
from corecur.layers import GRU, LSTM, RNN, Dense, LSTMCell, SimpleRNN
from corecur.layers.masks import mask_of, with_mask
from corecur.layers.recurrent import carrying_state, reset_states
from corecur.layers.symbolic import SymbolicTensor
from corecur.models import Input, Model, Sequential

from .sequences import MAKERS, MASK, OwnCell, assert_exact, made, poisoned

every_kind = pytest.mark.parametrize("kind", MAKERS)
both_ways = pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])


@both_ways
@every_kind
def test_a_padded_batch_is_each_row_alone(kind: str, both: bool) -> None:
    layer = made(kind, both=both, return_sequences=True, return_state=True)
    assert_exact(layer, poisoned(MASK), MASK)


masks = st.integers(1, 7).flatmap(
    lambda steps: st.lists(st.lists(st.booleans(), min_size=steps, max_size=steps), min_size=1, max_size=5)
)


@settings(deadline=None, max_examples=50)
@given(
    kind=st.sampled_from(sorted(MAKERS)),
    rows=masks,
    both=st.booleans(),
    backwards=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_padding_is_exact(kind: str, rows: list[list[bool]], both: bool, backwards: bool, seed: int) -> None:
    mask = torch.tensor(rows)
    options = {"return_sequences": True, "return_state": True, "go_backwards": backwards and not both}
    layer = made(kind, both=both, seed=seed, **options)
    if options["go_backwards"]:
        layer = Flipped(layer)
    assert_exact(layer, poisoned(mask, seed=seed), mask)


class Flipped(torch.nn.Module):
    """A backward layer with its outputs in the input's order, as the comparison expects them."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
        outputs, *states = self.layer(x, mask=mask)
        return (outputs.flip(1), *states)


@every_kind
def test_float32_is_exact_to_a_hundred_thousandth(kind: str) -> None:
    layer = made(kind, return_sequences=True, return_state=True).float()
    assert_exact(layer, poisoned(MASK).float(), MASK, tolerance=1e-5)


@every_kind
def test_outputs_at_masked_steps_repeat_the_last_real_one(kind: str) -> None:
    x, layer = poisoned(MASK), made(kind, return_sequences=True)
    outputs = layer(x, mask=MASK)
    for row, real in enumerate(MASK):
        shown = torch.zeros_like(outputs[row, 0])
        for t, here in enumerate(real):
            shown = outputs[row, t] if here else shown
            assert torch.equal(outputs[row, t], shown)
    zeroed = made(kind, return_sequences=True, zero_output_for_mask=True)(x, mask=MASK)
    assert not zeroed[~MASK].any()
    assert torch.equal(zeroed[MASK], outputs[MASK])


@every_kind
def test_without_sequences_the_output_is_the_last_real_one(kind: str) -> None:
    x = poisoned(MASK)
    sequences = made(kind, return_sequences=True)(x, mask=MASK)
    assert torch.equal(made(kind)(x, mask=MASK), sequences[:, -1])


@every_kind
def test_a_whole_mask_is_no_mask(kind: str) -> None:
    x, layer = poisoned(torch.ones(3, 4, dtype=torch.bool)), made(kind, return_sequences=True)
    assert torch.equal(layer(x, mask=torch.ones(3, 4)), layer(x))


@every_kind
def test_no_steps_at_all_leave_the_first_state(kind: str) -> None:
    layer = made(kind, return_sequences=True, return_state=True)
    shapes = layer.state_shapes(torch.zeros(2, 1, 3))
    first = [torch.rand(2, *shape, dtype=torch.float64) for shape in shapes]
    x = torch.zeros(2, 0, 3, dtype=torch.float64)
    outputs, *last = layer(x, initial_state=first)
    assert outputs.shape == (2, 0, *layer.output_shape(x))
    for before, after in zip(first, last, strict=True):
        torch.testing.assert_close(after, before)
    assert not made(kind)(x).any()


@every_kind
def test_the_first_state_reaches_rows_of_every_length(kind: str) -> None:
    layer, x = made(kind, return_state=True), poisoned(MASK)
    first = [torch.rand(6, *shape, dtype=torch.float64).requires_grad_() for shape in layer.state_shapes(x)]
    _, *last = layer(x, first, mask=MASK)
    gradients = torch.autograd.grad(sum(s.sin().sum() for s in last), first)
    for row, real in enumerate(MASK):
        alone = [s[row : row + 1].detach().requires_grad_() for s in first]
        _, *expected = layer(x[row : row + 1, real], alone)
        found = torch.autograd.grad(sum(s.sin().sum() for s in expected), alone)
        for k, (a, b) in enumerate(zip(last, expected, strict=True)):
            torch.testing.assert_close(a[row : row + 1], b)
            torch.testing.assert_close(gradients[k][row : row + 1], found[k])


@every_kind
def test_backwards_is_forwards_on_the_turned_sequence(kind: str) -> None:
    options = {"return_sequences": True, "return_state": True}
    forwards, backwards = made(kind, **options), made(kind, go_backwards=True, **options)
    x = poisoned(MASK)
    for ours, theirs in zip(backwards(x, mask=MASK), forwards(x.flip(1), mask=MASK.flip(1)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_masks_travel_in_the_order_of_the_outputs() -> None:
    x = with_mask(poisoned(MASK).float(), MASK)
    assert torch.equal(mask_of(LSTM(2, return_sequences=True)(x)), MASK)  # type: ignore[arg-type]
    turned = GRU(2, return_sequences=True, go_backwards=True)(x)
    assert torch.equal(mask_of(turned), MASK.flip(1))  # type: ignore[arg-type]
    assert mask_of(LSTM(2)(x)) is None
    outputs, _, _ = LSTM(2, return_sequences=True, return_state=True)(x)
    assert mask_of(outputs) is not None


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if "own" not in kind and "mixed" not in kind])
def test_python_does_nothing_step_by_step(kind: str) -> None:
    layer = made(kind, return_sequences=True, return_state=True)

    def calls(steps: int) -> int:
        x, count = torch.zeros(2, steps, 3, dtype=torch.float64), 0
        mask = torch.ones(2, steps, dtype=torch.bool)
        mask[0, : steps // 2] = False
        layer(x, mask=mask)  # compiles where it must

        def tell(frame: Any, event: str, argument: Any) -> None:
            nonlocal count
            count += 1

        sys.setprofile(tell)
        try:
            layer(x, mask=mask)
        finally:
            sys.setprofile(None)
        return count

    assert calls(40) == calls(4)


@every_kind
def test_stateful_layers_go_on_where_they_were(kind: str) -> None:
    x = poisoned(torch.ones(3, 6, dtype=torch.bool))
    whole = made(kind, return_sequences=True)(x)
    layer = made(kind, return_sequences=True, stateful=True)
    layer.reset_states()
    pieces = [layer(x[:, :2]), layer(x[:, 2:3]), layer(x[:, 3:])]
    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    layer.reset_state()
    torch.testing.assert_close(layer(x), whole)


def test_a_carried_state_is_no_weight_and_takes_no_gradient() -> None:
    layer, x = LSTM(4, stateful=True), torch.randn(2, 3, 5)
    before = layer(x)
    assert set(layer.state_dict()) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    before.sum().backward()
    layer(x).sum().backward()  # the first graph is gone: this fails if the state still hung on it
    with pytest.raises(ShapeError, match=r"(?s)3 rows.*2 rows.*reset_states"):
        layer(torch.randn(3, 3, 5))
    layer.reset_states()
    layer(torch.randn(3, 3, 5))


def test_rows_of_padding_carry_their_state_on() -> None:
    layer = made("lstm", stateful=True, return_state=True)
    layer.reset_states()
    x = poisoned(torch.ones(2, 3, dtype=torch.bool))
    _, h, c = layer(x)
    _, h2, c2 = layer(x, mask=torch.tensor([[True] * 3, [False] * 3]))
    torch.testing.assert_close((h2[1], c2[1]), (h[1], c[1]))
    assert not torch.equal(h2[0], h[0])


def test_state_is_carried_inside_the_block_only() -> None:
    model, x = (
        Sequential([LSTM(4, return_sequences=True), Dense(3), GRU(2, return_sequences=True)]),
        torch.randn(2, 6, 5),
    )
    whole = model(x)
    with carrying_state(model):
        pieces = torch.cat([model(x[:, :4]), model(x[:, 4:])], 1)
        reset_states(model)
        again = model(x)
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(again, whole)
    torch.testing.assert_close(model(x), whole)


def test_a_state_of_ones_own_is_left_alone_by_the_block() -> None:
    layer, x = GRU(4, stateful=True), torch.randn(2, 3, 5)
    layer(x)
    second = layer(x)
    layer.reset_states()
    layer(x)
    with carrying_state(layer):
        layer(torch.randn(7, 2, 5))
    torch.testing.assert_close(layer(x), second)


def test_backward_readers_cannot_go_on() -> None:
    with pytest.raises(ConfigError, match="from the end"), carrying_state(GRU(2, go_backwards=True)):
        pass


@pytest.mark.parametrize(
    ("state", "got"),
    [
        ([torch.zeros(2, 4)], r"\(2, 4\)"),
        (torch.zeros(2, 4), r"\(2, 4\)"),
        ([torch.zeros(2, 4), torch.zeros(2, 3)], r"\(2, 4\), \(2, 3\)"),
        ([torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)], r"\(1, 2, 4\)"),
        ([torch.zeros(3, 4), torch.zeros(3, 4)], r"\(3, 4\)"),
        ([None, None], "NoneType"),
        ([np.zeros((2, 4))] * 2, "ndarray, ndarray"),
    ],
)  # fmt: skip
def test_an_initial_state_of_the_wrong_size_is_named(state: Any, got: str) -> None:
    with pytest.raises(ShapeError, match=rf"(?s)layer 'mine' \(LSTM\) got an initial state.*{got}.*\(2, 4\), \(2, 4\)"):
        LSTM(4, name="mine")(torch.zeros(2, 5, 3), initial_state=state)


@pytest.mark.parametrize("mask", [torch.ones(2, 4), torch.ones(5, 2), torch.ones(2), torch.full((2, 5), 0.5)])
def test_a_mask_of_the_wrong_kind_is_named(mask: Tensor) -> None:
    with pytest.raises(ShapeError, match="mask"):
        GRU(4)(torch.zeros(2, 5, 3), mask=mask)


@every_kind
def test_shapes_are_known_without_a_step(kind: str) -> None:
    layer = made(kind, return_sequences=True, return_state=True)
    before = last_path()
    outputs, *states = layer(SymbolicTensor((None, None, 3), dtype=torch.float64))
    assert last_path() is before
    real, *others = layer(torch.zeros(2, 5, 3, dtype=torch.float64))
    assert outputs.shape == (None, None, *real.shape[2:])
    assert [s.shape[1:] for s in states] == [tuple(s.shape[1:]) for s in others]


def test_a_symbolic_call_leaves_the_state_alone() -> None:
    layer, x = LSTM(4, stateful=True), torch.randn(2, 3, 5)
    layer(x)
    second = layer(x)
    layer.reset_states()
    layer(x)
    layer(SymbolicTensor((None, None, 5)))
    torch.testing.assert_close(layer(x), second)


def test_states_go_from_encoder_to_decoder_in_a_functional_model() -> None:
    source, target = Input(shape=(None, 3)), Input(shape=(None, 2))
    _, h, c = LSTM(4, return_state=True)(source)
    model = Model([source, target], LSTM(4, return_sequences=True)(target, initial_state=[h, c]))
    a, b = torch.randn(2, 5, 3), torch.randn(2, 6, 2)
    encoder, decoder = (layer for layer in model.modules() if isinstance(layer, LSTM))
    _, h, c = encoder(a)
    torch.testing.assert_close(model([a, b]), decoder(b, initial_state=[h, c]))


def test_saved_networks_give_the_same(tmp_path: Any) -> None:
    x = torch.randn(2, 5, 3)
    stack = RNN([LSTMCell(3, projection=2), LSTMCell(4, layer_norm=True)], return_sequences=True)
    model = Sequential([Input(shape=(None, 3)), GRU(4, return_sequences=True, reset_after=False), stack, SimpleRNN(2)])
    model.save(tmp_path / "model")
    torch.testing.assert_close(Model.load(tmp_path / "model")(x), model(x), rtol=0, atol=0)


def test_a_pickled_layer_keeps_its_state() -> None:
    layer, x = GRU(4, stateful=True), torch.randn(2, 3, 5)
    layer(x)
    stored = io.BytesIO()
    torch.save(layer, stored)
    stored.seek(0)
    other = torch.load(stored, weights_only=False)
    torch.testing.assert_close(other(x), layer(x))


@pytest.mark.parametrize("kind", ["lstm", "gru", "gru classic", "simple tanh", "lstm layer norm", "stack"])
def test_bfloat16_is_finite_and_close(kind: str) -> None:
    layer, x = made(kind, return_sequences=True, return_state=True).float(), poisoned(MASK).float()
    expected = layer(x, mask=MASK)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for given in (x, x.bfloat16()):
            found = layer(given, mask=MASK)
            sum(y.float().sum() for y in found).backward()
            for ours, exact in zip(found, expected, strict=True):
                torch.testing.assert_close(ours.float(), exact, rtol=0.05, atol=0.03)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in layer.parameters())


def test_a_layer_inside_a_class_of_ones_own_starts_without_a_state() -> None:
    class Reader(Model):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = LSTM(4, stateful=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.recurrent(x)

    model, x = Reader(), torch.randn(3, 2, 5)
    first = model(x)
    model.recurrent.reset_states()
    torch.testing.assert_close(model(x), first)


def test_penalties_of_outputs_leave_the_states_out() -> None:
    layer = LSTM(4, return_state=True, activity_regularizer="l2").train()
    outputs, _, _ = layer(torch.randn(2, 3, 5))
    penalty = layer.penalty()
    assert penalty is not None
    torch.testing.assert_close(penalty, 0.01 * outputs.square().sum() / 2)


def test_cells_of_ones_own_get_lists_and_may_hold_torchs_modules() -> None:
    layer = RNN(OwnCell(4), return_state=True)
    _, h, steps = layer(torch.randn(6, 5, 3), mask=MASK)
    assert steps[:, 0].tolist() == MASK.sum(1).tolist()
    assert h.shape == (6, 4)


class Counting(OwnCell):
    """Starts from ones."""

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        return [torch.ones(batch_size, 4), torch.ones(batch_size, 1)]


def test_a_cell_of_ones_own_may_say_where_it_starts() -> None:
    _, _, steps = RNN([LSTMCell(3), Counting(4)], return_state=True)(torch.randn(6, 5, 3), mask=MASK)[2:]
    assert steps[:, 0].tolist() == (MASK.sum(1) + 1).tolist()


class Misfit(OwnCell):
    def get_initial_state(self, batch_size: int) -> Tensor:
        return torch.ones(batch_size, 7)


def test_a_start_that_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match=r"(?s)get_initial_state.*\(2, 7\)"):
        RNN(Misfit(4))(torch.zeros(2, 5, 3))


@pytest.mark.parametrize("kind", [LSTM, RNN])
def test_typical_mistakes_are_answered(kind: Any) -> None:
    def layer() -> Any:
        return LSTM(4) if kind is LSTM else RNN(LSTMCell(4))

    with pytest.raises(ShapeError, match="return_sequences=True"):
        Sequential([LSTM(4, input_shape=(5, 3)), layer()])
    if kind is LSTM:
        with pytest.raises(ShapeError, match=r"TimeDistributed\(Flatten\(\)\)"):
            layer()(torch.zeros(1, 2, 3, 4))
        with pytest.raises(ShapeError, match="(?s)one tensor.*initial_state"):
            layer()([Input((5, 3)), Input((4,))])


def test_a_model_forgets_its_states() -> None:
    model, x = Sequential([LSTM(4, stateful=True)]), torch.randn(2, 3, 5)
    first, second = model(x), model(x)
    assert not torch.allclose(first, second)
    model.reset_states()
    torch.testing.assert_close(model(x), first)
