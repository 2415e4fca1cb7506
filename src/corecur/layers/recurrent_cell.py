"""What a cell is: one step of a recurrence as a layer of its own.

B batch, C features, P outputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.layer import Layer


class RecurrentCell(Layer):
    """One step: ``cell(x, states) -> (output, new states)``, x (B, C), output (B, P), states a list of (B, …)."""

    rank = 2
    fixes_channels = True

    @property
    def state_size(self) -> int | list[int]:
        """The width of the state, or of each of several."""
        sizes = self.state_sizes()
        return sizes[0] if len(sizes) == 1 else sizes

    @property
    def output_size(self) -> int:
        """The width of the output."""
        return self.state_sizes()[0]

    def state_sizes(self) -> list[int]:
        """The width of each state."""
        raise ConfigError(f"{type(self).__name__} does not say which states it has", do="define state_sizes(self)")

    def window(self) -> None:
        return None

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Zeros for every state."""
        like = next(iter(self.parameters()), torch.empty(0))
        return [like.new_zeros(batch_size, size) for size in self.state_sizes()]

    def checked_states(self, x: Tensor, states: Any) -> list[Tensor]:
        """The states of a call as a list, zeros if None; ShapeError where they do not fit."""
        expected = [(len(x), size) for size in self.state_sizes()]
        if states is None:
            return [x.new_zeros(shape) for shape in expected]
        found = [states] if isinstance(states, Tensor) else list(states)
        if [tuple(s.shape) for s in found] != expected:
            raise ShapeError(
                f"{self.title} got states that do not fit",
                got=", ".join(str(tuple(s.shape)) for s in found),
                expected=", ".join(map(str, expected)),
                do="pass a list of tensors (batch, units), one for each state",
            )
        return found
