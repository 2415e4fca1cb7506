"""Batches of long sequences cut along time, for back-propagation through a part of the past.

B batch, T time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from corecur.data.batches import Batch, Batches, Field, TensorBatches, checked_start
from corecur.errors import ConfigError, ShapeError


class TimePieces(Batches):
    """The batches of ``batches`` in pieces of ``steps`` along axis 1, the last piece of each as short as need be.

    ``before_each()`` is called before the first piece of each batch, not where ``start`` cut that off. Raises
    ConfigError for fewer than one step, ShapeError where inputs and targets have not the same number of steps.

    >>> import torch
    >>> pieces = TimePieces(TensorBatches(torch.arange(10).view(1, 10), torch.arange(10).view(1, 10)), 4)
    >>> len(pieces), [piece.inputs.tolist() for piece in pieces]
    (3, [[[0, 1, 2, 3]], [[4, 5, 6, 7]], [[8, 9]]])
    """

    def __init__(self, batches: Batches, steps: int, *, before_each: Callable[[], object] | None = None) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ConfigError("back-propagation goes back a whole number of steps, 1 or more", got=repr(steps))
        self.batches, self.steps, self.before_each = batches, steps, before_each
        self.batch_size, self.samples = batches.batch_size, batches.samples

    def __len__(self) -> int:
        if not isinstance(self.batches, TensorBatches):
            raise TypeError("the number of pieces is not known before the batches are read")
        return len(self.batches) * -(-_times(self.batches.inputs) // self.steps)

    @property
    def generators(self) -> Sequence[torch.Generator]:
        """Those of the batches."""
        return self.batches.generators

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The pieces of one epoch, after the first ``start``."""
        left, stream, rest = checked_start(start), self.batches.epoch(epoch), list[Batch]()
        # Here, not at the first piece: whoever resumes sets the global generators after this.
        while left and not rest:
            batch = next(stream, None)
            if batch is None:
                break
            pieces = list(self._pieces(batch))
            left, rest = max(0, left - len(pieces)), pieces[left:]
        return itertools.chain(rest, self._whole(stream))

    def _whole(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        for batch in stream:
            for number, piece in enumerate(self._pieces(batch)):
                if number == 0 and self.before_each is not None:
                    self.before_each()
                yield piece

    def _pieces(self, batch: Batch) -> Iterator[Batch]:
        return (_cut(batch, first, first + self.steps) for first in range(0, _checked(batch), self.steps))


def _times(field: Field) -> int:
    first = field if isinstance(field, Tensor) else field[0]
    return int(first.shape[1]) if first.dim() > 1 else 0


def _checked(batch: Batch) -> int:
    """The number of steps, where all tensors of the batch have it."""
    fields = [field for field in (batch.inputs, batch.targets) if field is not None]
    times = {_times(part) for field in fields for part in ((field,) if isinstance(field, Tensor) else field)}
    if len(times) != 1 or batch.targets is None:
        raise ShapeError(
            "back-propagation can be truncated where inputs and targets have a value at every step",
            got="no targets" if batch.targets is None else f"{sorted(times)} steps",
            do="give targets (batch, time, …) and a network that returns sequences, or leave bptt_steps out",
        )
    return times.pop()


def _cut(batch: Batch, first: int, last: int) -> Batch:
    def piece(field: Field) -> Field:
        return field[:, first:last] if isinstance(field, Tensor) else tuple(part[:, first:last] for part in field)

    weights = batch.weights
    if weights is not None and weights.dim() > 1:
        weights = weights[:, first:last]
    targets = None if batch.targets is None else piece(batch.targets)
    return batch._replace(inputs=piece(batch.inputs), targets=targets, weights=weights)
