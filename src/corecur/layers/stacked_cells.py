"""StackedRNNCells: several cells as one, each fed with the output of the one before.

B batch, C features, P outputs of the last cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Unpack

from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.keras_weight import KerasWeight, permuted
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.symbolic import Shape, SymbolicTensor, call_symbolically, symbols_in

Size = int | tuple[int, ...]


def state_shapes_of(cell: nn.Module) -> list[tuple[int, ...]]:
    """The shape of each of a cell's states without the batch axis, from its ``state_size``.

    ``state_size`` is a whole number, or a list of one for each state; a tuple of numbers in that list is a shape.

    >>> from corecur.layers.lstm import LSTMCell
    >>> state_shapes_of(LSTMCell(4))
    [(4,), (4,)]
    """
    sizes: Any = getattr(cell, "state_size", None)
    if sizes is None:
        raise ConfigError(
            f"{type(cell).__name__} is no recurrent cell: it has no state_size",
            do="set self.state_size to the width of its state, or to a list of them (of LSTM, the cell is LSTMCell)",
        )
    entries = list(sizes) if isinstance(sizes, (list, tuple)) else [sizes]
    return [tuple(entry) if isinstance(entry, (list, tuple)) else (int(entry),) for entry in entries]


def build_cell(cell: nn.Module, input_shape: Shape) -> Shape:
    """Make a cell's weights for inputs of this shape (batch axis included) and return its output's shape."""
    x = SymbolicTensor(input_shape)
    states = [SymbolicTensor((input_shape[0], *shape)) for shape in state_shapes_of(cell)]
    result = cell(x, states) if isinstance(cell, Layer) else call_symbolically(cell, (x, states), {})
    if not isinstance(result, (tuple, list)) or len(result) != 2 or not isinstance(result[0], SymbolicTensor):
        raise ConfigError(
            f"the cell {type(cell).__name__} returned something else than its output and its new states",
            got=type(result).__name__,
            do="return output, [state, …] from its forward(self, x, states)",
        )
    new = tuple(symbols_in(result[1]))
    if [symbol.shape[1:] for symbol in new] != [state.shape[1:] for state in states]:
        raise ShapeError(
            f"the cell {type(cell).__name__} returned states that do not fit its state_size",
            got=", ".join(str(symbol.shape) for symbol in new) or "none",
            expected=", ".join(str(state.shape) for state in states),
        )
    return result[0].shape


class StackedRNNCells(Layer):
    """Cells one upon the other: ``cell(x, states) -> (output, new states)``, the states of all in one flat list.

    ``RNN`` runs such a stack cell by cell over the whole sequence, which is the same and faster.

    >>> import torch
    >>> from corecur.layers.lstm import LSTMCell
    >>> output, states = StackedRNNCells([LSTMCell(4), LSTMCell(2)])(torch.zeros(3, 5))
    >>> output.shape, len(states)
    (torch.Size([3, 2]), 4)
    """

    rank = 2
    fixes_channels = True

    def __init__(self, cells: Sequence[nn.Module], **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        if isinstance(cells, nn.Module) or not cells or not all(isinstance(cell, nn.Module) for cell in cells):
            raise ConfigError("StackedRNNCells takes a list of cells", got=repr(cells))
        self.cells = nn.ModuleList(cells)
        self._shapes = [state_shapes_of(cell) for cell in cells]

    @property
    def state_size(self) -> list[Size]:
        """The size of each state, the first cell's first."""
        return [shape[0] if len(shape) == 1 else shape for shapes in self._shapes for shape in shapes]

    def build(self, input_shape: Shape) -> None:
        for cell in self.cells:
            input_shape = build_cell(cell, input_shape)

    def forward(self, x: Tensor, states: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        if states is None:
            states = [x.new_zeros(len(x), *shape) for shapes in self._shapes for shape in shapes]
        if len(states) != sum(map(len, self._shapes)):
            raise ShapeError(
                f"{self.title} takes the states of all its cells in one flat list",
                got=f"{len(states)} of them",
                expected=sum(map(len, self._shapes)),
            )
        new: list[Tensor] = []
        for cell, shapes in zip(self.cells, self._shapes, strict=True):
            x, found = cell(x, list(states[len(new) : len(new) + len(shapes)]))
            new += [found] if isinstance(found, Tensor) else list(found)
        return x, new

    def window(self) -> None:
        return None

    def keras_state(self) -> Iterator[KerasWeight]:
        for number, cell in enumerate(self.cells):
            if isinstance(cell, Layer):
                yield from (replace(weight, name=f"cells.{number}.{weight.name}") for weight in cell.keras_state())
            else:
                state = cell.state_dict(keep_vars=True)
                yield from (permuted(f"cells.{number}.{name}", tensor, None) for name, tensor in state.items())
