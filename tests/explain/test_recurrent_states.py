"""Hidden states, gates, and gradients through recurrent layers in evaluation mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from corecur.explain.gradients import gradient, integrated_gradients
from corecur.explain.question import differentiable, plain_question
from corecur.explain.recurrent_states import hidden_states, layer_over_time
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.simple_rnn import SimpleRNN
from corecur.models import Sequential


@pytest.mark.parametrize("kind", [LSTM, GRU, SimpleRNN])
@pytest.mark.parametrize("backwards", [False, True])
def test_states_are_the_outputs_of_the_layer(kind: type, backwards: bool) -> None:
    layer = kind(5, return_sequences=True, go_backwards=backwards).eval()
    x = torch.randn(1, 7, 3)
    with torch.no_grad():
        y = layer(x)
    found = layer_over_time(layer, x)["hidden state"]
    torch.testing.assert_close(found, (y.flip(1) if backwards else y)[0], atol=1e-5, rtol=1e-5)


def test_the_gates_make_the_states_of_torch() -> None:
    layer = LSTM(4).eval()
    x = torch.randn(1, 6, 3)
    found = layer_over_time(layer, x)
    cell = torch.nn.LSTMCell(3, 4)
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in layer.state_dict().items()})
    h = c = torch.zeros(1, 4)
    for t in range(6):
        with torch.no_grad():
            h, c = cell(x[:, t], (h, c))
        torch.testing.assert_close(found["cell state"][t], c[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found["output gate"][t] * torch.tanh(c[0]), h[0], atol=1e-5, rtol=1e-4)


def test_panels_of_a_nested_network() -> None:
    network = Sequential([Bidirectional(LSTM(3, return_sequences=True)), GRU(2)])
    network(torch.zeros(1, 4, 2))
    titles = [
        panel.title
        for panel in hidden_states(plain_question(lambda x: network(x)[:, 0], torch.randn(4, 2), network=network))
    ]
    assert sum("hidden state" in title for title in titles) == 3 and sum("gate" in title for title in titles) == 8


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_torchs_recurrent_layers_compute_as_in_evaluation(kind: type[nn.RNNBase]) -> None:
    layer = kind(3, 4, num_layers=2, dropout=0.5, batch_first=True).eval()
    x = torch.randn(2, 5, 3)
    with torch.no_grad():
        wanted = layer(x)[0]
    with differentiable(layer):
        assert layer.training  # cuDNN's condition for a way back
        torch.testing.assert_close(layer(x)[0].detach(), wanted)
    assert not layer.training and layer.dropout == 0.5


def test_gradients_through_our_layers_are_those_of_evaluation_mode() -> None:
    network = Sequential([LSTM(4, dropout=0.5, recurrent_dropout=0.3)])
    network(torch.zeros(1, 5, 3))
    network.train()
    x = torch.randn(5, 3)
    question = plain_question(
        lambda v: network(v).sum(1), x, network=network, parts=torch.arange(15).view(5, 3), kind="series"
    )
    found = gradient(question)
    network.eval()
    wanted = x.clone()[None].requires_grad_()
    network(wanted).sum().backward()
    assert wanted.grad is not None
    torch.testing.assert_close(found, wanted.grad[0].abs(), atol=1e-6, rtol=1e-5)


def test_a_stateful_layer_keeps_its_state() -> None:
    network = Sequential([GRU(3, stateful=True)])
    network.eval()
    with torch.no_grad():
        network(torch.randn(1, 4, 2))
    (layer,) = network.layers
    before = [state.clone() for state in layer._carried]
    integrated_gradients(plain_question(lambda x: network(x).sum(1), torch.randn(4, 2), network=network), steps=4)
    assert all(torch.equal(a, b) for a, b in zip(before, layer._carried, strict=True))
