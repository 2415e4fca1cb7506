"""RNN: any cell, or several one upon the other, over time.

B batch, T time, L the longest row's real steps, C features, P outputs of a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError
from corecur.kernels.choose import OWN, Request, decide
from corecur.layers.gated import GatedCell
from corecur.layers.recurrent import Recurrent, RecurrentOptions
from corecur.layers.stacked_cells import StackedRNNCells, build_cell, state_shapes_of
from corecur.layers.symbolic import Shape


class RNN(Recurrent):
    """A cell over time: (B, T, C) -> (B, P), or (B, T, P) with ``return_sequences``.

    A cell is a module with ``state_size``, called as ``cell(x_t, states)``, that returns its output and its new
    states; a list of cells is a stack (``StackedRNNCells``). The package's own cells run as its layers do. A cell of
    one's own is called step by step, which is a Python loop; masks work the same. States of a stack are one flat list,
    the first cell's first.

    >>> from corecur.layers.gru import GRUCell
    >>> from corecur.layers.lstm import LSTMCell
    >>> RNN([LSTMCell(4), GRUCell(2)], return_sequences=True)(torch.zeros(2, 5, 3)).shape
    torch.Size([2, 5, 2])
    """

    rank = None

    def __init__(self, cell: nn.Module | Sequence[nn.Module], **options: Unpack[RecurrentOptions]) -> None:
        super().__init__(**options)
        if not isinstance(cell, (nn.Module, list, tuple)):
            raise ConfigError("RNN takes a cell or a list of cells", got=repr(cell), do="RNN(LSTMCell(64))")
        self.cell = cell if isinstance(cell, nn.Module) else StackedRNNCells(cell)
        self._shapes = state_shapes_of(self.cell)
        self._output_shape: tuple[int, ...] = ()

    @property
    def cells(self) -> list[nn.Module]:
        """The cells, the first one at the input."""
        return list(self.cell.cells) if isinstance(self.cell, StackedRNNCells) else [self.cell]

    def check_input(self, shape: Shape | torch.Size) -> None:
        if len(shape) < 3:
            raise ShapeError(
                f"{self.title} takes sequences, (batch, time, features)",
                got=tuple(shape),
                expected="3 axes or more",
                do="return_sequences=True in a recurrent layer before it, or x.unsqueeze(-1) for one feature",
            )
        super().check_input(shape)

    def build(self, input_shape: Shape) -> None:
        made = build_cell(self.cell, (None, *input_shape[2:]))
        self._output_shape = tuple(int(size or 0) for size in made[1:])

    def state_shapes(self, x: Tensor) -> list[tuple[int, ...]]:
        return self._shapes

    def output_shape(self, x: Tensor) -> tuple[int, ...]:
        return self._output_shape

    def over_shapes(self, x: Tensor) -> Tensor:
        for cell in self.cells:
            if isinstance(cell, GatedCell):
                x = cell.over_shapes(x)
            else:  # as if all steps were one batch
                steps = x.flatten(0, 1)
                state = [steps.new_empty(len(steps), *shape) for shape in state_shapes_of(cell)]
                x = torch.unflatten(cell(steps, state)[0], 0, x.shape[:2])
        return x

    def zero_state(self, x: Tensor, shapes: list[tuple[int, ...]]) -> list[Tensor]:
        """The state before the first step: what a cell of one's own says in ``get_initial_state``, otherwise zeros."""
        zeros, found = super().zero_state(x, shapes), list[Tensor]()
        for cell in self.cells:
            own = zeros[len(found) : len(found) + len(state_shapes_of(cell))]
            start = getattr(cell, "get_initial_state", None)
            if start is not None and not isinstance(cell, GatedCell):
                given = start(batch_size=len(x))
                own = [s.to(x.device) for s in ([given] if isinstance(given, Tensor) else given)]
            found += own
        if [tuple(s.shape) for s in found] != shapes:
            raise ShapeError(
                f"{self.title} has a cell whose get_initial_state does not fit its state_size",
                got=", ".join(str(tuple(s.shape)) for s in found),
                expected=", ".join(map(str, shapes)),
            )
        return found

    def over_time(
        self, x: Tensor, state: list[Tensor], lengths: Tensor | None, *, need_state: bool
    ) -> tuple[Tensor, list[Tensor]]:
        new: list[Tensor] = []
        for cell in self.cells:
            own = state[len(new) : len(new) + len(state_shapes_of(cell))]
            if isinstance(cell, GatedCell):
                x, last = cell.over_time(x, own, lengths, need_state=need_state)
            else:
                decide(Request(OWN))
                x, last = run_own(cell, x, own, lengths)
            new += last
        return x, new


def run_own(cell: nn.Module, x: Tensor, state: list[Tensor], lengths: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Call a cell step by step: outputs (B, L, …), zeros after a row's end, and each row's state at its end."""
    outputs = []
    for t in range(x.shape[1]):
        output, new = cell(x[:, t], state)
        new = [new] if isinstance(new, Tensor) else list(new)
        if lengths is not None:
            real = lengths > t  # (B,)
            output, *new = (
                torch.where(real.view(-1, *[1] * (tensor.ndim - 1)), tensor, before)
                for tensor, before in zip((output, *new), (torch.zeros_like(output), *state), strict=True)
            )
        outputs.append(output)
        state = new
    return torch.stack(outputs, 1), state
