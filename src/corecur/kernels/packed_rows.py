"""Batches of rows of different lengths as native kernels take them: step by step, only the rows that are still running.

B batch, T time, L steps of the longest row, N the real steps of all rows together. Rows stand in order of their lengths
and time comes first: step t is the rows that run at t, one after the other, so that a finished row costs nothing. The
states (B + N + 1, …) are each row's first one, those after every packed step, and a row of zeros.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from corecur.errors import ConfigError
from corecur.kernels.traced import traced_by


@dataclass(frozen=True)
class Ragged:
    """Where the real steps of a batch with padding stand in the packed order, and how to come there and back."""

    #: The rows, longest first (B).
    order: Tensor
    #: (N): each packed row's place among the steps of all rows, batch first.
    places: Tensor
    #: (B · T): the packed row of each place, N where it is not real.
    returns: Tensor
    #: (B · T): the packed row that each place shows, N where it shows zeros.
    seen: Tensor
    #: Places that show the last real step again, and the packed row of that step; None where all such show zeros.
    again: tuple[Tensor, Tensor] | None
    #: (N): the row of the states that holds the state before each packed row.
    before: Tensor
    #: (B): the row of the states that holds each row's last state, in the packed order of rows.
    ends: Tensor
    #: (B): the same in the order of the batch, B + N where a row has no real step.
    last: Tensor
    #: (B): each row's place in the packed order of rows, B where it has no real step.
    ranks: Tensor

    @functools.cached_property
    def shows(self) -> Tensor:
        """(B · T): the row of the states that each place shows."""
        return self.seen + len(self.order)


#: What ``Packing.addresses`` gives, one after the other: addresses of tensors by their names, and four numbers.
ADDRESSES = (
    "sizes", "offsets", "places", "returns", "seen", "order", "last", "ranks", "again", "again_of", "real", "longest",
    "states", "repeated",
)  # fmt: skip


@dataclass(frozen=True)
class Packing:
    """The packed order of a batch."""

    batch: int
    steps: int
    #: (L), how many rows run at each step, and where they begin among all N.
    sizes: Tensor
    offsets: Tensor
    #: None where every step is real.
    ragged: Ragged | None = None

    @property
    def real(self) -> int:
        """N."""
        return self.batch * self.steps if self.ragged is None else len(self.ragged.places)

    @property
    def addresses(self) -> list[int | None]:
        """For a native program: addresses and numbers by ``ADDRESSES``, of the latter N, L, B + N, and of ``again``.

        Looked up anew each time, as a copy of this has tensors of its own.
        """
        ragged = self.ragged
        if ragged is None:
            raise ConfigError("a batch without padding has no packed rows")
        tensors = (self.sizes, self.offsets, ragged.places, ragged.returns, ragged.seen, ragged.order, ragged.last)
        again = ragged.again or ()
        found = [t.data_ptr() for t in (*tensors, ragged.ranks, *again)]
        repeated = len(again[0]) if again else 0
        numbers = (self.real, len(self.sizes), self.batch + self.real, repeated or None)
        return [*found, *[None] * (2 - len(again)), *numbers]

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, …) -> (N, …)."""
        if self.ragged is not None:
            return x.reshape(-1, *x.shape[2:]).index_select(0, self.ragged.places)
        return x.transpose(0, 1).contiguous().view(-1, *x.shape[2:])

    def spread(self, states: Tensor) -> Tensor:
        """The states (B + N + 1, …) -> (B, T, …): after each real step, elsewhere what the packing shows there."""
        if self.ragged is None:
            return states[self.batch : -1].view(self.steps, self.batch, *states.shape[1:]).transpose(0, 1)
        return states.index_select(0, self.ragged.shows).view(self.batch, self.steps, *states.shape[1:])

    def spread_gradient(self, d_y: Tensor) -> Tensor:
        """The gradient of what ``spread`` gives (B, T, …) as that of the packed rows (N, …)."""
        packed = self.pack(d_y)
        if self.ragged is not None and self.ragged.again is not None:
            shown, of = self.ragged.again
            packed.index_add_(0, of, d_y.reshape(-1, *d_y.shape[2:]).index_select(0, shown))
        return packed

    def unpack(self, rows: Tensor) -> Tensor:
        """(N + 1, …) -> (B, T, …): the packed rows in their places, the last row where a step is not real."""
        if self.ragged is None:
            return rows[:-1].view(self.steps, self.batch, *rows.shape[1:]).transpose(0, 1)
        return rows.index_select(0, self.ragged.returns).view(self.batch, self.steps, *rows.shape[1:])

    def sort(self, state: Tensor) -> Tensor:
        """A state (B, …) in the packed order of rows."""
        return state if self.ragged is None else state.index_select(0, self.ragged.order)

    def unsort(self, state: Tensor) -> Tensor:
        """A state in the packed order of rows as (B, …)."""
        return state if self.ragged is None else torch.empty_like(state).index_copy_(0, self.ragged.order, state)

    def last(self, states: Tensor) -> Tensor:
        """Each row's last state, in the packed order of rows, of the states (B + N + 1, …)."""
        if self.ragged is None:
            return states[-self.batch - 1 : -1]
        return states.index_select(0, self.ragged.ends)

    def empty(self) -> Tensor:
        """Whether a row has no real step, (B, 1)."""
        if self.ragged is None:
            return torch.zeros(self.batch, 1, dtype=torch.bool, device="cpu")
        return self.unsort((self.ragged.ends < self.batch)[:, None])

    def rows(self) -> Tensor:
        """(N): the row of the batch, in the packed order of rows, of each packed row."""
        if self.ragged is None:
            return torch.arange(self.batch, device="cpu").repeat(self.steps)
        return torch.arange(len(self.ragged.places), device="cpu") - self.offsets.repeat_interleave(self.sizes)

    def earlier(self, states: Tensor) -> Tensor:
        """(B + N + 1, …) -> (N, …): the state before each packed row."""
        if self.ragged is None:
            return states[: -self.batch - 1]
        return states.index_select(0, self.ragged.before)


def whole(batch: int, steps: int) -> Packing:
    """The packing of a batch without padding.

    >>> whole(2, 3).offsets
    tensor([0, 2, 4])
    """
    if torch.compiler.is_compiling() or traced_by() is not None:  # whose tensors may be fake ones
        return _whole(batch, steps)
    return _kept_whole(batch, steps)


def _whole(batch: int, steps: int) -> Packing:
    return Packing(batch, steps, torch.full((steps,), batch, device="cpu"), torch.arange(steps, device="cpu") * batch)


@functools.lru_cache(maxsize=256)
def _kept_whole(batch: int, steps: int) -> Packing:
    """The same again and again: a small recurrence is done in the time that it takes."""
    with torch.inference_mode(False):  # for a way back as well
        return _whole(batch, steps)


def masked(mask: Tensor, *, repeats: bool = False) -> Packing:
    """The packing of the real steps (B, T) of a batch, wherever they stand in their rows.

    Elsewhere a row shows zeros, or with ``repeats`` the last real step again, zeros before the first.

    >>> masked(torch.tensor([[False, True, False], [True, True, True]])).ragged.places
    tensor([3, 1, 4, 5])
    """
    # By NumPy: of arrays as small as these are, torch takes several times as long for each step.
    real, tensor = mask.cpu().numpy(), torch.from_numpy
    if real.all():
        return whole(*mask.shape)
    (batch, steps), place = real.shape, real.ravel()
    so_far = real.cumsum(1)  # (B, T): real steps
    lengths, rows = so_far[:, -1], np.arange(batch)
    order = np.argsort(-lengths, kind="stable")
    rank = np.empty_like(order)
    rank[order] = rows
    lengths = lengths[order]
    sizes = batch - np.bincount(lengths).cumsum()[:-1]  # (L)
    starts = np.concatenate([[0], sizes.cumsum()])  # (L + 1): each step's first packed row, then N
    total = int(starts[-1])
    # The packed row of the last real step so far, N before the first.
    row = np.where(so_far > 0, starts[so_far - 1] + rank[:, None], total).ravel()
    returns = np.where(place, row, total)
    batch_first = place.nonzero()[0]
    places = np.empty_like(batch_first)
    places[row[batch_first]] = batch_first
    again = None
    if repeats:
        shown = (~place & (row < total)).nonzero()[0]
        again = (tensor(shown), tensor(row[shown])) if len(shown) else None
    # Before the first step a row's state is its own among the first B; later it stands as far before as rows ran then.
    before = np.arange(batch, batch + total) - np.concatenate([[batch], sizes])[:-1].repeat(sizes)
    ends = np.where(lengths > 0, batch + starts[lengths - 1] + rows, rows)
    last = np.empty_like(ends)
    last[order] = np.where(lengths > 0, ends, batch + total)
    ranks = np.where(so_far[:, -1] > 0, rank, batch)
    seen = row if repeats else returns
    ragged = Ragged(
        tensor(order), tensor(places), tensor(returns), tensor(seen), again, tensor(before), tensor(ends), tensor(last),
        tensor(ranks),
    )  # fmt: skip
    return Packing(batch, steps, tensor(sizes), tensor(starts[:-1]), ragged)


def packing_of(mask: Tensor, *, repeats: bool = False) -> Packing:
    """The same, found once for each mask, for all layers that see it.

    >>> mask = torch.tensor([[True, False]])
    >>> packing_of(mask) is packing_of(mask)
    True
    """
    if type(mask) is not Tensor or mask.is_inference() or torch.compiler.is_compiling():
        return masked(mask, repeats=repeats)
    version, found = mask.__dict__.get("packings", (None, {}))
    if version != mask._version:  # it has been written into since
        version, found = mask.__dict__["packings"] = mask._version, {}
    if repeats not in found:
        with torch.inference_mode(False):  # for a way back as well
            found[repeats] = masked(mask, repeats=repeats)
    packing: Packing = found[repeats]
    return packing


def ragged(lengths: Tensor, steps: int) -> Packing:
    """The packing of rows whose real steps stand in front; zeros after them.

    >>> ragged(torch.tensor([1, 3]), 3).ragged.places
    tensor([3, 0, 4, 5])
    """
    return masked(torch.arange(steps, device="cpu") < lengths.cpu()[:, None])
