"""Batches of rows of different lengths as native kernels take them: step by step, only the rows that are still running.

B batch, T time, N the real steps of all rows together. Rows stand in order of their lengths and time comes first: step
t is the rows that run at t, one after the other, so that a finished row costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the real steps of a batch stand in the packed order, and how to come there and back."""

    batch: int
    steps: int
    #: (T), how many rows run at each step, and where they begin among all N.
    sizes: Tensor
    offsets: Tensor
    #: The rows, longest first (B); None, as all below, where every step is real.
    order: Tensor | None = None
    #: (N): each packed row's place among the steps of all rows, batch first, and its row.
    places: Tensor | None = None
    #: (N): where h holds the state before each packed row.
    before: Tensor | None = None

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, …) -> (N, …)."""
        if self.places is not None:
            return x.reshape(-1, *x.shape[2:]).index_select(0, self.places)
        return x.transpose(0, 1).contiguous().view(-1, *x.shape[2:])

    def unpack(self, y: Tensor) -> Tensor:
        """(N, …) -> (B, T, …), zeros after each row's end."""
        if self.places is None:
            return y.view(self.steps, self.batch, *y.shape[1:]).transpose(0, 1)
        padded = y.new_zeros(self.batch * self.steps, *y.shape[1:])
        return padded.index_copy_(0, self.places, y).view(self.batch, self.steps, *y.shape[1:])

    def sort(self, state: Tensor) -> Tensor:
        """A state (B, …) in the packed order of rows."""
        return state if self.order is None else state.index_select(0, self.order)

    def unsort(self, state: Tensor) -> Tensor:
        """A state in the packed order of rows as (B, …)."""
        return state if self.order is None else torch.empty_like(state).index_copy_(0, self.order, state)

    def last(self, states: Tensor) -> Tensor:
        """Each row's last state, in the packed order of rows, of the states (B + N, …)."""
        if self.order is None or self.before is None:
            return states[len(states) - self.batch :]
        lengths = (self.sizes[:, None] > torch.arange(self.batch, device="cpu")).sum(0)  # (B)
        rows = torch.arange(self.batch, device="cpu")
        ends = self.batch + self.offsets[(lengths - 1).clamp(min=0)] + rows
        return states.index_select(0, torch.where(lengths > 0, ends, rows))

    def rows(self) -> Tensor:
        """(N): the row of the batch, in the packed order of rows, of each packed row."""
        if self.places is None:
            return torch.arange(self.batch, device="cpu").repeat(self.steps)
        return torch.cat([torch.arange(int(size), device="cpu") for size in self.sizes])

    def earlier(self, states: Tensor) -> Tensor:
        """(B + N, …) -> (N, …): the state before each packed row."""
        return states[: len(states) - self.batch] if self.before is None else states.index_select(0, self.before)


def whole(batch: int, steps: int) -> Packing:
    """The packing of a batch without padding.

    >>> whole(2, 3).offsets
    tensor([0, 2, 4])
    """
    # Made anew each time: kept tensors may be fake ones, of a compiler that has only traced the layer.
    return Packing(batch, steps, torch.full((steps,), batch, device="cpu"), torch.arange(steps, device="cpu") * batch)


def ragged(lengths: Tensor, steps: int) -> Packing:
    """The packing of rows whose real steps stand in front.

    >>> ragged(torch.tensor([1, 3]), 3).places
    tensor([3, 0, 4, 5])
    """
    lengths, order = torch.sort(lengths.cpu(), descending=True, stable=True)
    batch = len(lengths)
    running = torch.arange(steps, device="cpu")[:, None] < lengths  # (T, B)
    sizes = running.sum(1)
    offsets = sizes.cumsum(0) - sizes
    t, row = running.nonzero(as_tuple=True)  # (N)
    before = torch.where(t > 0, batch + offsets[(t - 1).clamp(min=0)] + row, row)
    return Packing(batch, steps, sizes, offsets, order, order[row] * steps + t, before)
