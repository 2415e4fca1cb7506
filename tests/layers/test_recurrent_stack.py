"""Recurrent layers stacked for one row: what the layers give one by one, and nothing that can be seen changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.kernels.choose import asking_for
from corecur.layers import GRU, LSTM, Dense, Dropout, GaussianNoise, Masking, SimpleRNN, recurrent_stack
from corecur.layers.recurrent import carrying_state
from corecur.models import Input, Model, Sequential
from tests.kernels.at_once import at_once
from tests.kernels.needs_kernels import needs_kernels

__all__ = ["at_once"]
pytestmark = needs_kernels


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With a megabyte of second cache each."""
    monkeypatch.setattr(recurrent_stack, "second_cache", lambda: 1 << 20)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def built(*layers: nn.Module, steps: int = 40, features: int = 5) -> Sequential:
    """The layers as a model for answers, with weights."""
    torch.manual_seed(0)
    model = Sequential(list(layers)).eval()
    with torch.no_grad():
        model(torch.zeros(1, steps, features))
    return model


def one_by_one(model: Any, x: Tensor) -> Any:
    for layer in model.layers:
        x = layer(x)
    return x


STACKS: dict[str, tuple[Any, list[int]]] = {
    "two": (lambda: [LSTM(64, return_sequences=True), LSTM(65)], [2]),
    "kinds": (lambda: [GRU(70, return_sequences=True), SimpleRNN(96, "relu", return_sequences=True), LSTM(64)], [3]),
    "dropout": (lambda: [GRU(90, return_sequences=True), Dropout(0.5), GaussianNoise(1.0), GRU(90), Dense(3)], [2]),
    "sequences": (lambda: [LSTM(64, return_sequences=True), LSTM(64, return_sequences=True), Dense(2)], [2]),
    "dense between": (lambda: [LSTM(64, return_sequences=True), Dense(64), LSTM(64, return_sequences=True)], []),
    "no steps between": (lambda: [LSTM(64, return_sequences=True), LSTM(64), Dense(4)], [2]),
    "backwards": (lambda: [LSTM(64, return_sequences=True), LSTM(64, go_backwards=True)], []),
    "no step kernel": (lambda: [LSTM(64, return_sequences=True), LSTM(64, activation="relu")], []),
    "two pairs": (
        lambda: [LSTM(64, return_sequences=True), GRU(64, return_sequences=True), Dense(9), *pair()],
        [2, 2],
    ),
    "small": (lambda: [LSTM(8, return_sequences=True), LSTM(8)], []),
}


def pair() -> list[nn.Module]:
    return [LSTM(64, return_sequences=True), LSTM(64)]


@pytest.mark.parametrize("steps", [8, 9, 43])
@pytest.mark.parametrize("name", STACKS)
def test_a_stack_gives_what_its_layers_give(name: str, steps: int, at_once: list[int]) -> None:
    make, expected = STACKS[name]
    model = built(*make())
    x = torch.randn(1, steps, 5)
    at_once.clear()
    with torch.no_grad():
        y = model(x)
        if steps == 43:  # fewer may be too little work
            assert at_once == expected
        torch.testing.assert_close(y, one_by_one(model, x), rtol=1e-5, atol=2e-6)
        with asking_for("python loop"):
            torch.testing.assert_close(y, model(x), rtol=1e-4, atol=1e-5)


def test_a_functional_model_stacks_too_and_gives_what_it_is_asked_for(at_once: list[int]) -> None:
    inputs = Input((40, 5))
    middle = LSTM(64, return_sequences=True)(inputs)
    upper = LSTM(64)(Dropout(0.5)(middle))
    x = torch.randn(1, 40, 5)
    with torch.no_grad():
        stacked, both = Model(inputs, upper).eval(), Model(inputs, [middle, upper]).eval()
        at_once.clear()
        y = stacked(x)
        assert at_once == [2]
        steps, last = both(x)  # the lower layer's outputs are asked for
        assert at_once == [2]
    torch.testing.assert_close(y, last, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(steps, inputs_to(stacked, x), rtol=1e-5, atol=2e-6)


def inputs_to(model: Model, x: Tensor) -> Tensor:
    """What the lower recurrent layer of the model gives."""
    with torch.no_grad():
        lower = next(layer for layer in model.layers if isinstance(layer, LSTM))
        found: Tensor = lower(x)
    return found


def test_the_same_bytes_whatever_the_number_of_threads() -> None:
    model, x = built(*pair()), torch.randn(1, 50, 5)
    with torch.no_grad():
        first = model(x)
        for count in (2, 3, 4):
            torch.set_num_threads(count)
            assert torch.equal(model(x), first)


@pytest.mark.parametrize(
    "watch",
    [
        lambda model, x: model(torch.cat([x, x])),
        lambda model, x: model.train()(x),
        lambda model, x: torch.enable_grad()(model)(x),
        lambda model, x: model(x[:, :3]),
        lambda model, x: model.double()(x.double()),
        lambda model, x: asking_for("native")(model)(x),
        lambda model, x: Sequential([Masking(), *model.layers]).eval()(x.index_fill(1, torch.tensor([3]), 0.0)),
    ],
    ids=["rows", "training", "gradients", "few steps", "float64", "another kernel", "mask"],
)
def test_where_layers_run_one_by_one(watch: Any, at_once: list[int]) -> None:
    model, x = built(LSTM(64, return_sequences=True, dropout=0.1), LSTM(64)), torch.randn(1, 40, 5)
    at_once.clear()
    with torch.no_grad():
        watch(model, x)
    assert at_once == []


def test_layers_of_many_weights_run_one_by_one(at_once: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(*pair())
    at_once.clear()
    monkeypatch.setattr(recurrent_stack, "second_cache", lambda: 4 * 2 * 64 * 4 * 64 - 1)
    with torch.no_grad():
        model(torch.randn(1, 40, 5))
    assert at_once == []


def test_one_thread_runs_them_one_by_one(at_once: list[int]) -> None:
    model = built(*pair())
    at_once.clear()
    torch.set_num_threads(1)
    with torch.no_grad():
        model(torch.randn(1, 40, 5))
    assert at_once == []


def test_whoever_watches_a_layer_sees_its_output(at_once: list[int]) -> None:
    model, x = built(*pair()), torch.randn(1, 40, 5)
    seen: list[Tensor] = []
    model.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    at_once.clear()
    with torch.no_grad():
        model(x)
        assert at_once == []
        torch.testing.assert_close(seen[0], model.layers[0](x))


def test_states_carried_from_piece_to_piece_are_those_of_the_whole(at_once: list[int]) -> None:
    model, x = built(*pair()), torch.randn(1, 90, 5)
    at_once.clear()
    with torch.no_grad():
        whole = model(x)
        with carrying_state(model):
            for piece in x.split(30, 1):
                y = model(piece)
    assert at_once == [2] * 4
    torch.testing.assert_close(y, whole, rtol=1e-5, atol=2e-6)


def test_input_that_does_not_fit_is_refused_by_name() -> None:
    model = built(*pair())
    with torch.no_grad(), pytest.raises(ValueError, match="was built for 5 channels"):
        model(torch.randn(1, 40, 6))
