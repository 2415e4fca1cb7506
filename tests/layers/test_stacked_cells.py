"""StackedRNNCells: one after the other, step by step and over time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers import GRU, LSTM, RNN, Dense, GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from corecur.models import Sequential

from .sequences import OwnCell


def test_steps_are_those_of_the_cells_in_turn() -> None:
    lower, upper, x = LSTMCell(4), GRUCell(3), torch.randn(2, 5)
    stack = StackedRNNCells([lower, upper])
    output, states = stack(x)
    h, [_, c] = lower(x)
    top, _ = upper(h)
    torch.testing.assert_close(states, [h, c, top])
    torch.testing.assert_close(output, top)
    assert stack.state_size == [4, 4, 3]


@pytest.mark.parametrize(
    "cells", [lambda: [LSTMCell(4), SimpleRNNCell(3)], lambda: [OwnCell(4), GRUCell(2), OwnCell(3)]]
)
def test_over_time_it_is_the_steps(cells: Any) -> None:
    stack, x = StackedRNNCells(cells()), torch.randn(2, 6, 5)
    y, *last = RNN(stack, return_sequences=True, return_state=True)(x)
    states, outputs = None, []
    for t in range(6):
        output, states = stack(x[:, t], states)
        outputs.append(output)
    torch.testing.assert_close(y, torch.stack(outputs, 1))
    torch.testing.assert_close(last, states)


def test_over_time_it_is_stacked_layers() -> None:
    x = torch.randn(2, 6, 5)
    stack = RNN([LSTMCell(4), GRUCell(3)], return_sequences=True)
    layers = Sequential([LSTM(4, return_sequences=True), GRU(3, return_sequences=True)])
    stack(x)
    layers(x)
    layers.set_weights(stack.get_weights())
    torch.testing.assert_close(stack(x), layers(x))


def test_a_list_is_a_stack_and_names_say_so() -> None:
    stack = RNN([LSTMCell(4), GRUCell(3)])
    stack(torch.randn(2, 6, 5))
    assert list(stack.state_dict())[0] == "cell.cells.0.weight_ih"
    assert len(stack.get_weights()) == 6


def test_wrong_cells_are_named() -> None:
    with pytest.raises(ConfigError, match="list of cells"):
        StackedRNNCells([])
    with pytest.raises(ConfigError, match="Dense is no recurrent cell"):
        StackedRNNCells([Dense(3)])
    with pytest.raises(ConfigError, match="a cell or a list"):
        RNN(3)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="3 of them"):
        StackedRNNCells([LSTMCell(2), LSTMCell(2)])(torch.zeros(1, 3), [torch.zeros(1, 2)] * 3)
    with pytest.raises(ShapeError, match=r"(?s)got states.*\(1, 3\)"):
        LSTMCell(2)(torch.zeros(1, 3), [torch.zeros(1, 2), torch.zeros(1, 3)])


class Wide(nn.Module):
    """A cell whose state is wider than it says."""

    state_size = 3

    def forward(self, x: torch.Tensor, states: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def test_states_of_another_size_than_told_are_named() -> None:
    with pytest.raises(ShapeError, match=r"(?s)Wide returned states.*\(None, 5\).*\(None, 3\)"):
        RNN(Wide())(torch.zeros(2, 4, 5))


class Bare(nn.Module):
    """A cell that is no layer of ours, with a single state that it returns bare."""

    state_size = 3

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.RNNCell(5, 3)

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, Tensor]:
        h = self.inner(x, states[0])
        return h, h


def test_a_torch_module_can_be_a_cell() -> None:
    x, cell = torch.randn(2, 6, 5), Bare()
    layer = RNN(cell, return_sequences=True)
    other = nn.RNN(5, 3, batch_first=True)
    other.load_state_dict({f"{name}_l0": value for name, value in cell.inner.state_dict().items()})
    torch.testing.assert_close(layer(x), other(x)[0])
    torch.testing.assert_close(RNN([Bare(), GRUCell(2)])(x).shape, torch.Size([2, 2]))


def test_a_cell_that_returns_something_else_is_named() -> None:
    class Half(Bare):
        def forward(self, x: Tensor, states: list[Tensor]) -> Any:
            return self.inner(x, states[0])

    with pytest.raises(ConfigError, match="the cell Half returned something else"):
        RNN(Half())(torch.zeros(1, 2, 5))


def test_sequences_of_pictures_go_to_cells_as_pictures() -> None:
    class Mean(nn.Module):
        state_size = [(4, 4, 1)]

        def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
            new = (x.mean(-1, keepdim=True) + states[0]) / 2
            return new, [new]

    layer = RNN(Mean(), return_sequences=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    x = torch.randn(2, 3, 4, 4, 2)
    y = layer(x, mask=mask)
    assert y.shape == (2, 3, 4, 4, 1)
    torch.testing.assert_close(y[0, 2], layer(x[:1, [0, 2]])[0, 1])
    assert not y[1].any()
    with pytest.raises(ShapeError, match="sequences"):
        layer(torch.zeros(2, 3))
