"""Batches in smaller pieces where memory does not hold the whole: the same update from several passes.

B batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from corecur.data.batches import Batch, Field
from corecur.errors import RunError

T = TypeVar("T")

# What torch's errors without a type of their own say: its CPU allocator, C++'s, cuBLAS and cuDNN, Apple's.
_SHORT = ("can't allocate memory", "not enough memory", "bad_alloc", "_ALLOC_FAILED", "out of memory")


class MemoryShortError(RunError):
    """There is not enough memory for a step, however small its pieces."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough, on a device or on the CPU.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("size mismatch"))
    (True, False)
    """
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORT)
    )


def rows_of(batch: Batch) -> int:
    """How many rows a batch has.

    >>> rows_of(Batch(torch.zeros(3, 2)))
    3
    """
    first = batch.inputs[0] if isinstance(batch.inputs, tuple) else batch.inputs
    return int(first.shape[0])


def pieces_of(batch: Batch, count: int) -> list[Batch]:
    """A batch in up to ``count`` pieces of nearly equal size along its first axis; none is copied.

    >>> [piece.inputs.tolist() for piece in pieces_of(Batch(torch.arange(5)), 2)]
    [[0, 1, 2], [3, 4]]
    """
    rows = rows_of(batch)
    if count == 1 or rows < 2:
        return [batch]
    size = -(-rows // count)

    def cut(field: Field, first: int) -> Field:
        if isinstance(field, Tensor):
            return field[first : first + size]
        return tuple(part[first : first + size] for part in field)

    def cut_tensor(tensor: Tensor | None, first: int) -> Tensor | None:
        return None if tensor is None else tensor[first : first + size]

    return [
        Batch(
            cut(batch.inputs, first),
            None if batch.targets is None else cut(batch.targets, first),
            cut_tensor(batch.weights, first),
            cut_tensor(batch.index, first),
        )
        for first in range(0, rows, size)
    ]


class MicroBatches:
    """Runs work on a batch, in twice as many pieces each time memory was not enough, and remembers how many fit.

    ``tell(line)`` hears of every change, ``undo()`` is called before another try. MemoryShortError where a single row
    is too much; how many pieces fitted before is then still remembered.
    """

    def __init__(self, tell: Callable[[str], object], undo: Callable[[], object] | None = None) -> None:
        self.count = 1
        self.tell = tell
        self.undo = undo

    def run(self, batch: Batch, work: Callable[[list[Batch]], T]) -> T:
        """``work(pieces)`` with as few pieces as fit into memory."""
        before, rows = self.count, rows_of(batch)
        while True:
            try:
                return work(pieces_of(batch, self.count))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside of the handler: the error's trace holds what has to be freed.
            if self.undo is not None:
                self.undo()
            if self.count >= rows:
                self.count = before
                raise MemoryShortError(
                    "there is not enough memory for a single sample",
                    got=f"a batch of {rows}, one by one",
                    do="make samples or network smaller, or free memory",
                )
            self._halve(rows)

    def _halve(self, rows: int) -> None:
        self.count = min(rows, self.count * 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.tell(
            f"! memory is short: batches of {rows} are computed in {self.count} pieces from now on, the update is that "
            "of the whole batch (up to rounding, and to layers that look at a whole batch)"
        )
