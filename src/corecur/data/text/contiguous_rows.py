"""One long text as a batch of rows, each going on where the row above it ends: for stateful training.

N tokens of the text, B rows, L tokens of a row.
"""

from __future__ import annotations

from torch import Tensor

from corecur.data.batches import Batch, TensorBatches
from corecur.data.random_keys import key
from corecur.errors import ConfigError, DataError


class Shifted:
    """A batch transform: the rows of each epoch begin a little later in the text, by an offset keyed by the seed.

    What is cut from the past at the start of a piece then differs from epoch to epoch.
    """

    def __init__(self, stream: Tensor, shape: tuple[int, int], *, most: int, seed: int) -> None:
        self.stream, self.shape, self.most, self.seed = stream, shape, most, seed

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        first = key(self.seed, epoch, stream="rows") % (self.most + 1)
        last = first + self.shape[0] * self.shape[1]
        return batch._replace(
            inputs=self.stream[first:last].view(self.shape),
            targets=self.stream[first + 1 : last + 1].view(self.shape),
        )


def contiguous_rows(stream: Tensor, rows: int, *, shift: int = 0, seed: int = 0) -> TensorBatches:
    """One batch: ``stream`` (N,) as inputs (B, L), and as targets the token after each; nothing is copied.

    In every epoch the rows begin 0 to ``shift`` tokens into the text. Up to ``rows + shift`` tokens at the end are
    left out. Raises ConfigError for less than a row, DataError where the text is too short.

    >>> import torch
    >>> batch = next(iter(contiguous_rows(torch.arange(9), 2)))
    >>> batch.inputs.tolist(), batch.targets.tolist()
    ([[0, 1, 2, 3], [4, 5, 6, 7]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    """
    if rows < 1 or shift < 0:
        raise ConfigError("a text is laid out in 1 row or more", got=f"{rows} rows, shift {shift}")
    length = (len(stream) - 1 - shift) // rows
    if length < 1:
        raise DataError(
            "the text is too short for its layout",
            got=f"{len(stream):,} tokens",
            expected=f"{rows + shift + 1:,} or more: {rows:,} rows, and a shift of {shift:,}",
        )
    shape = (rows, length)
    count = rows * length
    return TensorBatches(
        stream[:count].view(shape),
        stream[1 : count + 1].view(shape),
        batch_size=rows,
        transform=Shifted(stream, shape, most=shift, seed=seed),
    )
