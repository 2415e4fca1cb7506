"""What a model is fed: the batches of an epoch, here from tensors that stay in memory.

Shapes: N samples, B batch; the rest of a sample's shape is free.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from corecur.data.arrays import check_lengths
from corecur.data.random_keys import permutation
from corecur.errors import ConfigError

Field: TypeAlias = Tensor | tuple[Tensor, ...]


class Batch(NamedTuple):
    """Some samples: inputs and targets (B, …), weights (B,) float32, index (B,) int64, their places in the whole data.

    >>> Batch(torch.zeros(2, 3)).targets is None
    True
    """

    inputs: Field
    targets: Field | None = None
    weights: Tensor | None = None
    index: Tensor | None = None  # type: ignore[assignment]  # hides tuple.index, which nobody needs of a batch


Transform: TypeAlias = Callable[[Batch, int], Batch]


class Batches(ABC):
    """The batches of any epoch: ``epoch(e)`` gives the same ones however often it is asked, on any day."""

    batch_size: int | None
    samples: int | None

    @abstractmethod
    def __len__(self) -> int:
        """Batches in an epoch; TypeError where nobody knows, as Python's protocol asks."""

    @abstractmethod
    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, after the first ``start``: the exact rest that a resumed run still has to see."""

    @property
    def generators(self) -> Sequence[torch.Generator]:
        """Generators of the user's own that epochs are drawn from; a checkpoint holds their states."""
        return ()

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)


def _each(field: Field, change: Callable[[Tensor], Tensor]) -> Field:
    """The same change to every tensor of a field."""
    return change(field) if isinstance(field, Tensor) else tuple(map(change, field))


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device; copies to CUDA go through pinned memory and are not waited for.

    >>> moved(Batch(torch.zeros(2)), torch.device("cpu")).inputs
    tensor([0., 0.])
    """

    def move(tensor: Tensor) -> Tensor:
        if device.type == "cuda" and tensor.device.type == "cpu":
            tensor = tensor.pin_memory()
        return tensor.to(device, non_blocking=True)

    def move_or_none(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else move(tensor)

    targets = None if batch.targets is None else _each(batch.targets, move)
    return Batch(_each(batch.inputs, move), targets, move_or_none(batch.weights), move_or_none(batch.index))


class TensorBatches(Batches):
    """Batches of tensors that stay in memory.

    ``inputs`` and ``targets`` are (N, …) tensors or tuples of them, ``weights`` (N,). ``shuffle`` draws a new order
    each epoch from ``seed`` alone; without it batches are views, not copies, so a ``transform`` must not write into
    them. ``transform(batch, epoch)`` sees the batch already on ``device``. Raises DataError where lengths differ or
    there are no samples, ConfigError for a batch size below 1.

    >>> batches = TensorBatches(torch.arange(5), batch_size=2)
    >>> [b.inputs.tolist() for b in batches], [b.inputs.tolist() for b in batches.epoch(0, start=2)]
    ([[0, 1], [2, 3], [4]], [[4]])
    """

    batch_size: int
    samples: int

    def __init__(
        self,
        inputs: Field,
        targets: Field | None = None,
        weights: Tensor | None = None,
        *,
        batch_size: int = 32,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        transform: Transform | None = None,
        device: torch.device | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError("wrong batch size", got=repr(batch_size), expected="a whole number, 1 or more")
        self.inputs, self.targets, self.weights = inputs, targets, weights
        self.batch_size, self.shuffle, self.seed, self.drop_last = batch_size, shuffle, seed, drop_last
        self.transform, self.device = transform, device
        self.samples = check_lengths(inputs=inputs, targets=targets, weights=weights)
        home = (inputs if isinstance(inputs, Tensor) else inputs[0]).device
        self._in_order = torch.arange(self.samples, device=home)
        moves = device is not None and (device.type != home.type or device.index not in (None, home.index))
        self._destination = device if moves else None

    def __len__(self) -> int:
        return self.samples // self.batch_size if self.drop_last else -(-self.samples // self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """The places of the samples in the order of an epoch, (N,) int64.

        >>> TensorBatches(torch.zeros(3)).order(0)
        tensor([0, 1, 2])
        """
        if not self.shuffle:
            return self._in_order
        return permutation(self.samples, self.seed, epoch).to(self._in_order.device)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, after the first ``start``."""
        take = self._gather if self.shuffle else self._slice
        order, size = self.order(epoch), self.batch_size
        transform, destination = self.transform, self._destination
        for number in range(checked_start(start), len(self)):
            batch = take(order[number * size : (number + 1) * size], number * size)
            if destination is not None:
                batch = moved(batch, destination)
            yield batch if transform is None else transform(batch, epoch)

    def _gather(self, index: Tensor, _first: int) -> Batch:
        def pick(tensor: Tensor) -> Tensor:
            return tensor.index_select(0, index)

        return self._fields(pick, index)

    def _slice(self, index: Tensor, first: int) -> Batch:
        def cut(tensor: Tensor) -> Tensor:
            return tensor[first : first + self.batch_size]

        return self._fields(cut, index)

    def _fields(self, rows: Callable[[Tensor], Tensor], index: Tensor) -> Batch:
        targets, weights = self.targets, self.weights
        return Batch(
            _each(self.inputs, rows),
            None if targets is None else _each(targets, rows),
            None if weights is None else rows(weights),
            index,
        )


def checked_start(start: int) -> int:
    """The number of batches to leave out, or ConfigError where it is negative.

    >>> checked_start(3)
    3
    """
    if start < 0:
        raise ConfigError("an epoch cannot start before its first batch", got=start, expected="0 or more")
    return start
