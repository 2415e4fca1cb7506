"""Bidirectional: torch's names and values, Keras' merge modes, masks, states."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers import GRU, LSTM, RNN, Bidirectional, ConvLSTM2D, Dense, LSTMCell, SimpleRNN
from corecur.layers.masks import mask_of, with_mask
from corecur.layers.recurrent import Reading, carrying_state
from corecur.models import Input, Model, Sequential
from tests.kernels.at_once import at_once
from tests.kernels.native_work import Calls
from tests.kernels.needs_kernels import needs_kernels

from .sequences import MASK, OwnCell, made, poisoned

__all__ = ["at_once"]


@pytest.mark.parametrize(("ours", "theirs"), [(SimpleRNN, nn.RNN), (LSTM, nn.LSTM), (GRU, nn.GRU)])
def test_weights_load_both_ways_and_give_the_same(ours: Any, theirs: Any) -> None:
    x = torch.randn(3, 6, 5)
    layer = Bidirectional(ours(4, return_sequences=True, return_state=True))
    other = theirs(5, 4, batch_first=True, bidirectional=True)
    layer(x)
    assert list(layer.state_dict()) == list(other.state_dict())
    assert [name for name, _ in layer.named_parameters()] == list(other.state_dict())
    layer.load_state_dict(other.state_dict())
    y, *states = layer(x)
    expected, last = other(x)
    torch.testing.assert_close(y, expected)
    flat = [s[direction] for direction in (0, 1) for s in (last if isinstance(last, tuple) else (last,))]
    for a, b in zip(states, flat, strict=True):
        torch.testing.assert_close(a, b)
    other.load_state_dict(layer.state_dict())


def test_masked_rows_are_torchs_packed_rows() -> None:
    lengths = torch.tensor([4, 2, 1])
    mask = torch.arange(4) < lengths[:, None]
    x = poisoned(mask, 5).float()
    layer, other = Bidirectional(GRU(4, return_sequences=True)), nn.GRU(5, 4, batch_first=True, bidirectional=True)
    layer(torch.zeros(1, 2, 5))
    layer.load_state_dict(other.state_dict())
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(other(packed)[0], batch_first=True)
    torch.testing.assert_close(layer(x, mask=mask), expected)


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul", None])
def test_merge_modes(mode: str | None, sequences: bool) -> None:
    x = torch.randn(2, 5, 3)
    layer = Bidirectional(LSTM(4, return_sequences=sequences), merge_mode=mode)
    found = layer(x)
    a, b = layer.forward_layer(x), layer.backward_layer(x)
    b = b.flip(1) if sequences else b
    if mode is None:
        assert isinstance(found, list)
        torch.testing.assert_close(found, [a, b])
        return
    expected = {"concat": torch.cat([a, b], -1), "sum": a + b, "ave": (a + b) / 2, "mul": a * b}[mode]
    torch.testing.assert_close(found, expected)


def test_the_mask_goes_on_with_sequences_only() -> None:
    x = with_mask(poisoned(MASK).float(), MASK)
    outputs = Bidirectional(LSTM(4, return_sequences=True))(x)
    assert torch.equal(mask_of(outputs), MASK)  # type: ignore[arg-type]
    assert not outputs[~MASK].any()
    assert mask_of(Bidirectional(LSTM(4))(x)) is None
    for y in Bidirectional(LSTM(4, return_sequences=True), merge_mode=None)(x):
        assert torch.equal(mask_of(y), MASK)  # type: ignore[arg-type]


def test_stacked_layers_stay_exact() -> None:
    model = Sequential(
        [Bidirectional(LSTM(4, return_sequences=True)), Bidirectional(GRU(3, return_sequences=True)), GRU(2)]
    )
    model(torch.zeros(1, 2, 3))
    model.double()
    x = poisoned(MASK)
    batch = model(with_mask(x.clone(), MASK))
    for row, real in enumerate(MASK):
        torch.testing.assert_close(batch[row : row + 1], model(x[row : row + 1, real]))


def test_a_backward_layer_of_its_own() -> None:
    x = torch.randn(2, 5, 3)
    layer = Bidirectional(
        LSTM(4, return_sequences=True), backward_layer=GRU(2, return_sequences=True, go_backwards=True)
    )
    assert layer(x).shape == (2, 5, 6)
    assert layer.weight_ih_l0_reverse.shape == (6, 3)


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (GRU(2), "same direction"),
        (GRU(2, go_backwards=True, return_sequences=True), "return_sequences"),
        (GRU(2, go_backwards=True, return_state=True), "return_state"),
        (Dense(2), "recurrent layer"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_named(backward: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Bidirectional(LSTM(2), backward_layer=backward)


def test_other_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="recurrent layer"):
        Bidirectional(Dense(2))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean 'concat'"):
        Bidirectional(LSTM(2), merge_mode="concatt")
    with pytest.raises(ShapeError, match="both directions"):
        Bidirectional(LSTM(2))(torch.zeros(1, 2, 3), initial_state=[torch.zeros(1, 2)] * 3)
    with pytest.raises(ShapeError, match=r"(?s)initial state.*\(1, 3\)"):
        Bidirectional(GRU(2))(torch.zeros(1, 2, 3), initial_state=[torch.zeros(1, 2), torch.zeros(1, 3)])


def test_states_go_in_and_out_for_both_directions() -> None:
    x = poisoned(MASK)
    layer = made("lstm", both=True, return_state=True)
    _, *last = layer(x, mask=MASK)
    assert len(last) == 4
    _, *again = layer(x, initial_state=last, mask=MASK)
    _, *forward = layer.forward_layer(x, initial_state=last[:2], mask=MASK)
    torch.testing.assert_close(again[:2], forward)
    assert not torch.equal(again[0], last[0])


def test_other_layers_keep_weights_of_their_own() -> None:
    layer = Bidirectional(RNN([LSTMCell(3), OwnCell(4)], return_sequences=True))
    assert layer(torch.randn(2, 5, 3), mask=MASK[:2]).shape == (2, 5, 8)
    names = set(layer.state_dict())
    assert "forward_layer.cell.cells.0.weight_ih" in names
    assert "backward_layer.cell.cells.1.kernel" in names


def test_a_copy_has_weights_of_its_own() -> None:
    x, layer = torch.randn(2, 5, 3), Bidirectional(GRU(4))
    expected = layer(x).detach()
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    torch.testing.assert_close(layer(x), expected)
    assert not other(x).any()


def test_the_layer_given_stays_as_it_was() -> None:
    given = GRU(4)
    Bidirectional(given)(torch.randn(2, 5, 3))
    assert not given.built


def test_it_trains_and_freezes_and_is_penalised_as_one_layer() -> None:
    layer = Bidirectional(LSTM(4, kernel_regularizer="l2"), trainable=False)
    layer(torch.randn(2, 5, 3))
    assert not any(p.requires_grad for p in layer.parameters())
    assert len(list(layer.parameters())) == 8
    penalties = [module.penalty() for module in layer.modules() if hasattr(module, "penalty")]
    found = sum(p for p in penalties if p is not None)
    expected = 0.01 * (layer.weight_ih_l0.square().sum() + layer.weight_ih_l0_reverse.square().sum())
    torch.testing.assert_close(found, expected)


def test_saved_networks_give_the_same(tmp_path: Any) -> None:
    x = torch.randn(2, 5, 3)
    model = Sequential(
        [
            Input(shape=(None, 3)),
            Bidirectional(LSTM(4, return_sequences=True), merge_mode="ave"),
            Bidirectional(GRU(2), backward_layer=LSTM(3, go_backwards=True)),
        ]
    )
    model.save(tmp_path / "model")
    torch.testing.assert_close(Model.load(tmp_path / "model")(x), model(x), rtol=0, atol=0)


def test_both_directions_cannot_be_read_piece_by_piece() -> None:
    with pytest.raises(ConfigError, match="from the end"), carrying_state(Bidirectional(GRU(2))):
        pass


def test_stateful_directions_forget_together() -> None:
    layer, x = Bidirectional(GRU(4, stateful=True)), torch.randn(2, 3, 5)
    first = layer(x)
    assert not torch.allclose(layer(x), first)
    layer.reset_states()
    torch.testing.assert_close(layer(x), first)


@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul", None])
def test_it_can_be_pickled(mode: str | None) -> None:
    layer, x, file = Bidirectional(GRU(3), mode), torch.randn(2, 4, 3), io.BytesIO()
    expected = layer(x)
    torch.save(layer, file)
    file.seek(0)
    torch.testing.assert_close(torch.load(file, weights_only=False)(x), expected)


def test_a_layer_given_frozen_stays_frozen_and_each_direction_can_be() -> None:
    layer = Bidirectional(LSTM(3, trainable=False))
    layer(torch.zeros(1, 2, 3))
    assert not any(weight.requires_grad for weight in layer.parameters())
    layer.forward_layer.trainable = True
    free = {name for name, weight in layer.named_parameters() if weight.requires_grad}
    assert free == set(nn.LSTM(3, 3).state_dict())


def test_outputs_of_different_widths_are_put_beside_each_other_only() -> None:
    pair = LSTM(4, return_sequences=True), GRU(3, return_sequences=True, go_backwards=True)
    assert Bidirectional(pair[0], backward_layer=pair[1])(torch.zeros(1, 2, 3)).shape == (1, 2, 7)
    with pytest.raises(ShapeError, match=r"(?s)by 'sum'.*\(1, 2, 4\) forwards, \(1, 2, 3\) backwards"):
        Bidirectional(pair[0], "sum", backward_layer=pair[1])(torch.zeros(1, 2, 3))


def test_pictures_are_read_both_ways_too() -> None:
    layer, x = Bidirectional(ConvLSTM2D(2, 3, return_sequences=True)), torch.randn(1, 3, 5, 5, 1)
    assert layer(x).shape == (1, 3, 3, 3, 4)
    with pytest.raises(ShapeError, match="5 axes"):
        Bidirectional(ConvLSTM2D(2, 3))(x[0])


def test_a_replica_uses_its_own_weights() -> None:
    layer, x = Bidirectional(LSTM(3)), torch.randn(2, 4, 3)
    layer(x)
    replica = copy.copy(layer)  # as nn.DataParallel makes one: parts of its own that still point to the original
    replica.__dict__ |= {"_parameters": {name: weight * 0 for name, weight in layer.named_parameters()}}
    replica.__dict__ |= {"_modules": {name: copy.copy(part) for name, part in layer.named_children()}}
    assert replica(x).abs().max() == 0
    assert layer(x).abs().max() > 0


@needs_kernels
@pytest.mark.parametrize("mask", [None, MASK])
def test_both_directions_are_one_native_call_each_way(mask: torch.Tensor | None) -> None:
    layer, x = Bidirectional(LSTM(4, return_sequences=True)), poisoned(MASK).float()
    layer(x)
    with Calls() as calls:
        layer(x, mask=mask).sum().backward()
    kinds = [(function.name(), args[1]) for function, args in calls.seen]
    assert kinds == [("corecur::recurrences", [2, 2]), ("corecur::recurrences_gradients", [2, 2])]


@pytest.mark.parametrize("rows", [1, 3])
def test_whoever_watches_a_direction_sees_it(rows: int) -> None:
    x = torch.randn(rows, 6, 3)
    layer = Bidirectional(GRU(4, return_sequences=True)).eval()
    with torch.no_grad():
        expected = layer(x)
        seen: list[torch.Tensor] = []
        layer.backward_layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
        torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(seen[0].flip(1), expected[..., 4:])


class Doubled(LSTM):
    """A layer with a result of its own."""

    def result_of(self, reading: Reading, y: torch.Tensor, last: list[torch.Tensor]) -> Any:
        return super().result_of(reading, 2 * y, last)


def test_a_layer_of_ones_own_keeps_its_results() -> None:
    layer = Bidirectional(Doubled(4, return_sequences=True))
    x = torch.randn(2, 5, 3)
    y = layer(x)
    plain = Bidirectional(LSTM(4, return_sequences=True))
    plain(x)
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(y, 2 * plain(x))


@needs_kernels
def test_both_directions_of_one_row_are_answered_at_the_same_time(at_once: list[int]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    layer, x = Bidirectional(LSTM(64, return_sequences=True)), torch.randn(1, 60, 5)
    try:
        with torch.no_grad():
            y = layer(x)
            torch.testing.assert_close(y[..., :64], layer.forward_layer(x))
            torch.testing.assert_close(y[..., 64:], layer.backward_layer(x).flip(1))
            layer(x[:, :2])  # too little work for a second thread
    finally:
        torch.set_num_threads(before)
    assert at_once == [2]
