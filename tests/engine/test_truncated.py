"""Truncated back-propagation through time, and masks in the loop: against the same by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.crf import CRF
from corecur.layers.dense import Dense
from corecur.layers.embedding import Embedding
from corecur.layers.lstm import LSTM
from corecur.models import Input, Model, Sequential


def network(**options: Any) -> Sequential:
    torch.manual_seed(0)
    return Sequential([LSTM(6, return_sequences=True, input_shape=(None, 3), **options), Dense(2)])


def sequences(rows: int = 4, steps: int = 10) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(rows, steps, 3), torch.randn(rows, steps, 2)


def test_fit_is_the_loop_by_hand() -> None:
    x, y = sequences()
    model = network()
    model.compile(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), loss="mse")
    history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0, bptt_steps=4).history["loss"]
    lstm, dense = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 2)
    start = network()
    lstm.load_state_dict(dict(start.layers[0].state_dict()))
    dense.load_state_dict(start.layers[1].state_dict())
    sgd = torch.optim.SGD([*lstm.parameters(), *dense.parameters()], lr=0.1)
    losses = []
    for _ in range(2):
        state, total = None, 0.0
        for first in range(0, 10, 4):
            hidden, state = lstm(x[:, first : first + 4], state)
            loss = F.mse_loss(dense(hidden), y[:, first : first + 4])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            state = tuple(part.detach() for part in state)
            total += loss.item() * hidden.shape[1]
        losses.append(total / 10)
    assert history == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(model.layers[0].weight_hh_l0, lstm.weight_hh_l0, atol=1e-6, rtol=1e-5)


def test_evaluation_in_pieces_is_that_of_the_whole() -> None:
    x, y = sequences()
    model = network()
    model.compile(loss="mse")
    whole = model.evaluate(x, y)
    model.trainer.bptt_steps = 3
    assert model.evaluate(x, y) == pytest.approx(whole, rel=1e-5)
    assert model.layers[0]._carried is None  # the states end with the block


def test_where_it_makes_no_sense_it_says_so() -> None:
    x, y = sequences()
    model = Sequential([LSTM(6, input_shape=(None, 3)), Dense(2)])
    model.compile(loss="mse")
    with pytest.raises(ShapeError, match="leave bptt_steps out"):
        model.fit(x, y[:, 0], verbose=0, bptt_steps=2)
    backwards = Sequential([Bidirectional(LSTM(3, return_sequences=True), input_shape=(None, 3)), Dense(2)])
    backwards.compile(loss="mse")
    with pytest.raises(ConfigError):
        backwards.fit(x, y, verbose=0, bptt_steps=2)


def padded_tagger() -> tuple[Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    model = Sequential([Embedding(9, 4, mask_zero=True), LSTM(5, return_sequences=True), Dense(3)])
    tokens = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]])
    targets = torch.tensor([[0, 1, 2, 0], [1, 1, 2, 2], [2, 2, 2, 2]])
    model(tokens)
    return model, tokens, targets


def test_loss_metric_and_gradient_leave_padding_out() -> None:
    model, tokens, targets = padded_tagger()
    model.compile(optimizer=torch.optim.SGD(model.parameters(), lr=0.0), loss="crossentropy", metrics=["accuracy"])
    found = model.evaluate(tokens, targets, return_dict=True)
    with torch.no_grad():
        alone = torch.cat([model(tokens[n : n + 1, : (tokens[n] != 0).sum()])[0] for n in range(3)])  # (7, K)
    wanted = torch.cat([targets[n, : (tokens[n] != 0).sum()] for n in range(3)])
    assert found["loss"] == pytest.approx(float(F.cross_entropy(alone, wanted)), rel=1e-5)
    assert found["accuracy"] == pytest.approx(float((alone.argmax(1) == wanted).double().mean()))


def test_the_mean_over_batches_is_that_over_real_steps() -> None:
    model, tokens, targets = padded_tagger()
    model.compile(loss="crossentropy")
    assert model.evaluate(tokens, targets, batch_size=1) == pytest.approx(model.evaluate(tokens, targets), rel=1e-5)


def test_each_of_several_outputs_has_its_mask() -> None:
    single, tokens, targets = padded_tagger()
    x = Input((None,), dtype=torch.int64)
    shared = single.layers[1](single.layers[0](x))
    model = Model(x, [single.layers[2](shared), Dense(2)(shared)])
    model.compile(loss=["crossentropy", "mse"], metrics=[["accuracy"], ["mae"]], loss_weights=[1.0, 0.0])
    single.compile(loss="crossentropy", metrics=["accuracy"])
    wanted = single.evaluate(tokens, targets, return_dict=True)
    noise = torch.where(tokens[..., None] == 0, 100.0, 0.0).expand(-1, -1, 2)
    found = model.evaluate(tokens, [targets, noise], return_dict=True)
    assert found["loss"] == pytest.approx(wanted["loss"])
    assert found["output_0_accuracy"] == wanted["accuracy"]
    assert found["output_1_mae"] < 2


def test_a_loss_as_metric_is_the_loss_under_a_mask() -> None:
    model, tokens, targets = padded_tagger()
    model.compile(loss="crossentropy", metrics=["crossentropy"])
    for batch_size in (1, 3):
        found = model.evaluate(tokens, targets, batch_size=batch_size, return_dict=True)
        assert found["crossentropy"] == pytest.approx(found["loss"], rel=1e-5)


def test_each_step_may_have_a_weight() -> None:
    model, tokens, targets = padded_tagger()
    model.compile(optimizer="sgd", loss="crossentropy", metrics=["accuracy"])
    weights = torch.rand(3, 4)
    with torch.no_grad():
        losses = F.cross_entropy(model(tokens).movedim(-1, 1), targets, reduction="none")  # (B, T)
        hits = (model(tokens).argmax(-1) == targets).double()
    real = tokens != 0
    found = model.evaluate(tokens, targets, sample_weight=weights, return_dict=True)
    assert found["loss"] == pytest.approx(float((losses * weights)[real].sum() / real.sum()), rel=1e-5)
    assert found["accuracy"] == pytest.approx(float((hits * weights)[real].sum() / weights[real].sum()), rel=1e-5)
    model.fit(tokens, targets, sample_weight=weights.numpy(), batch_size=2, verbose=0)


def test_a_crf_is_trained_by_its_own_loss_only() -> None:
    model = Sequential([Embedding(9, 4, mask_zero=True), Dense(3), CRF(3)])
    model.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(ConfigError, match='(?s)ends in a CRF.*loss="crf"'):
        model.fit(torch.ones(2, 4, dtype=torch.int64), torch.ones(2, 4, dtype=torch.int64), verbose=0)
