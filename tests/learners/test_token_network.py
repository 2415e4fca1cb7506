"""Which networks the native writer takes, and why not the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.layers.activation import Softmax
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.embedding import Embedding
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.merge import Add
from corecur.layers.simple_rnn import SimpleRNN
from corecur.learners.generator_recipe import GeneratorRecipe, with_probabilities
from corecur.learners.token_network import token_network
from corecur.models import Input, Model, Sequential
from tests.kernels.needs_kernels import needs_kernels


def chain(*layers: nn.Module) -> Sequential:
    model = Sequential([Embedding(9, 4), *layers])
    model(torch.zeros(1, 2, dtype=torch.int64))
    return model.eval()


def test_recipes_are_chains_of_stages() -> None:
    settings: list[dict[str, Any]] = [{}, {"model": "gru", "layers": 3}, {"tie": False}, {"embedding": 8}]
    for given in settings:
        network = with_probabilities(GeneratorRecipe(**{"units": 8, "embedding": 5} | given).build_network(9))
        found = token_network(network)
        if isinstance(found, str):
            assert "native kernels are missing" in found
            continue
        kinds = [part.kind for part in found.parts]
        recurrent = [given.get("model", "lstm")] * given.get("layers", 1)
        assert kinds == [*recurrent, *["dense"] * (len(kinds) - len(recurrent))]
        assert [layer is not None for layer in found.layers] == [kind != "dense" for kind in kinds]


@needs_kernels
def test_what_changes_nothing_is_left_out_and_logits_come_before_the_last_function() -> None:
    model = chain(nn.Dropout(0.5), SimpleRNN(5, "relu", return_sequences=True), Dropout(0.5), Dense(9, "softmax"))
    found = token_network(model)
    assert not isinstance(found, str)
    assert [(p.kind, p.activation) for p in found.parts] == [("simple_rnn", "relu"), ("dense", "linear")]


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


REFUSED: list[tuple[Any, str]] = [
    (lambda: chain(GRU(4, reset_after=False, return_sequences=True), Dense(9)), "classic_gru"),
    (lambda: chain(LSTM(4, zoneout=0.1, return_sequences=True), Dense(9)), "zoneout"),
    (lambda: chain(LSTM(4, peephole=True, return_sequences=True), Dense(9)), "peephole_lstm"),
    (lambda: chain(GRU(4, "relu", return_sequences=True), Dense(9)), "relu"),
    (lambda: chain(GRU(4, recurrent_activation="tanh", return_sequences=True), Dense(9)), "gates"),
    (lambda: chain(GRU(4, return_sequences=True), Dense(7, "gelu"), Dense(9)), "gelu"),
    (lambda: chain(GRU(4, return_sequences=True), Dense(9, "softmax"), Softmax()), "softmax"),
    (lambda: chain(GRU(4), Dense(9)), "for each token"),
    (lambda: chain(Doubled(), Dense(9)), "Doubled"),
    (lambda: chain(GRU(4, return_sequences=True), Dense(10)), "logit"),
    (lambda: chain(GRU(4, return_sequences=True)), "logit"),
    (lambda: chain(GRU(4, return_sequences=True), Dense(9)).double(), "float64"),
    (lambda: nn.Linear(2, 2), "no Model"),
    (lambda: Sequential([Embedding(9, 4, mask_zero=True), LSTM(4, return_sequences=True), Dense(9)]), "hides token 0"),
    (lambda: Sequential([Dense(9, input_shape=(None, 3))]), "Embedding"),
]


@needs_kernels
@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_reasons(make: Any, reason: str) -> None:
    network = make()
    if isinstance(network, Sequential):
        network.build((None, 3)) if not network.built else None
    found = token_network(network)
    assert isinstance(found, str) and reason in found


@needs_kernels
def test_no_chain_and_twice_the_same_layer_and_hooks() -> None:
    tokens = Input((None,), dtype=torch.int64)
    x = Embedding(9, 4)(tokens)
    shared = GRU(4, return_sequences=True)
    assert token_network(Model(tokens, Dense(9)(shared(shared(x))))) == "a recurrent layer stands in it twice"
    assert token_network(Model(tokens, Dense(9)(Add()([x, shared(x)])))) == "its layers are no chain"
    model = chain(GRU(4, return_sequences=True), Dense(9))
    assert not isinstance(token_network(model), str)
    handle = model.layers[1].register_forward_hook(lambda *_: None)
    assert "hooks" in str(token_network(model))
    handle.remove()
    assert not isinstance(token_network(model), str)
