"""Batches of token rows of similar length, so that little of a batch is padding.

Shapes: N samples, B batch, T time (the longest of a batch).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from corecur.data.arrays import check_lengths
from corecur.data.batches import Batch, Batches, Field, Transform, checked_start, moved
from corecur.data.random_keys import permutation
from corecur.data.text.token_arrays import TokenArrays
from corecur.errors import ConfigError, DataError

Tokens: TypeAlias = TokenArrays | tuple[TokenArrays, ...]


class BucketBatches(Batches):
    """Batches of token rows (B, T) int64, padded on the right with 0, each of samples of about one length.

    ``inputs`` are `TokenArrays`, or several of the same lengths. ``targets`` are (N, …) tensors, or `TokenArrays` for
    a number at every step: (B, T) with ``target_padding`` beyond the end. ``shuffle`` draws an order each epoch from
    ``seed`` and the epoch alone, parts it into pools of ``pool`` batches, sorts each pool by length, and shuffles the
    batches. Otherwise samples come in the given order, or with ``by_length`` sorted by it (``index`` says which is
    which). ``transform(batch, epoch)`` sees the batch on ``device``. Raises DataError where lengths differ or there
    are no samples, ConfigError for sizes below 1.

    >>> batches = BucketBatches(TokenArrays.of([[5], [6, 7, 8], [9]]), torch.tensor([0, 1, 0]), batch_size=2)
    >>> [batch.inputs.tolist() for batch in batches]
    [[[5, 0, 0], [6, 7, 8]], [[9]]]
    """

    batch_size: int
    samples: int

    def __init__(
        self,
        inputs: Tokens,
        targets: Tensor | TokenArrays | None = None,
        weights: Tensor | None = None,
        *,
        batch_size: int = 32,
        shuffle: bool = False,
        by_length: bool = False,
        seed: int = 0,
        pool: int = 50,
        drop_last: bool = False,
        target_padding: int = 0,
        transform: Transform | None = None,
        device: torch.device | None = None,
    ) -> None:
        for name, value in (("batch size", batch_size), ("pool", pool)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"wrong {name}", got=repr(value), expected="a whole number, 1 or more")
        self.inputs, self.targets, self.weights = inputs, targets, weights
        self.batch_size, self.shuffle, self.by_length, self.seed = batch_size, shuffle, by_length, seed
        self.pool, self.drop_last, self.target_padding = pool, drop_last, target_padding
        self.transform, self.device = transform, device
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        self.lengths = parts[0].lengths  # (N,)
        for part in (*parts[1:], *([targets] if isinstance(targets, TokenArrays) else [])):
            if not torch.equal(part.lengths, self.lengths):
                raise DataError("inputs and targets have different lengths", expected="one number for every token")
        rows = targets.lengths if isinstance(targets, TokenArrays) else targets
        self.samples = check_lengths(inputs=self.lengths, targets=rows, weights=weights)

    def __len__(self) -> int:
        return self.samples // self.batch_size if self.drop_last else -(-self.samples // self.batch_size)

    def plan(self, epoch: int) -> list[Tensor]:
        """The places of the samples in each batch of an epoch, each (B,) int64.

        >>> BucketBatches(TokenArrays.of([[1, 2], [3], [4]]), batch_size=2, by_length=True).plan(0)
        [tensor([1, 2]), tensor([0])]
        """
        if not self.shuffle:
            order = self.lengths.argsort(stable=True) if self.by_length else torch.arange(self.samples)
            return _parts(order, self.batch_size)[: len(self)]
        order = permutation(self.samples, self.seed, epoch)
        pools = [part[self.lengths[part].argsort(stable=True)] for part in _parts(order, self.batch_size * self.pool)]
        batches = [batch for part in pools for batch in _parts(part, self.batch_size)][: len(self)]
        return [batches[place] for place in permutation(len(batches), self.seed, epoch, stream="batches").tolist()]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, after the first ``start``."""
        for rows in self.plan(epoch)[checked_start(start) :]:
            batch = self._batch(rows)
            if self.device is not None and self.device.type != "cpu":
                batch = moved(batch, self.device)
            yield batch if self.transform is None else self.transform(batch, epoch)

    def _batch(self, rows: Tensor) -> Batch:
        if isinstance(self.inputs, tuple):
            inputs: Field = tuple(part.padded(rows)[0] for part in self.inputs)  # each (B, T)
        else:
            inputs = self.inputs.padded(rows)[0]  # (B, T)
        targets = self.targets
        if isinstance(targets, TokenArrays):
            steps, mask = targets.padded(rows)  # (B, T)
            targets = steps.masked_fill_(~mask, self.target_padding)
        elif targets is not None:
            targets = targets[rows]
        return Batch(inputs, targets, None if self.weights is None else self.weights[rows], rows)


def _parts(order: Tensor, size: int) -> list[Tensor]:
    """Places in pieces of ``size``; the last may be shorter."""
    return [order[start : start + size] for start in range(0, len(order), size)]
