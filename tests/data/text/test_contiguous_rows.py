from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.text.contiguous_rows import contiguous_rows
from corecur.data.time_pieces import TimePieces
from corecur.errors import ConfigError, DataError


@given(st.integers(2, 200), st.integers(1, 8), st.integers(0, 9), st.integers(0, 3), st.integers(0, 5))
def test_rows_go_on_where_the_row_above_ends(count: int, rows: int, shift: int, seed: int, epoch: int) -> None:
    stream = torch.arange(count)
    if (count - 1 - shift) // rows < 1:
        with pytest.raises(DataError, match="too short"):
            contiguous_rows(stream, rows, shift=shift, seed=seed)
        return
    batches = contiguous_rows(stream, rows, shift=shift, seed=seed)
    (batch,) = batches.epoch(epoch)
    text = batch.inputs.flatten()
    first = int(text[0])
    assert 0 <= first <= shift
    assert text.tolist() == list(range(first, first + len(text)))
    assert torch.equal(batch.targets, batch.inputs + 1)
    assert count - len(text) <= rows + shift  # hardly anything is left out
    assert len(batches) == 1 and torch.equal(next(batches.epoch(epoch)).inputs, batch.inputs)


def test_the_offset_follows_from_seed_and_epoch_alone() -> None:
    stream = torch.arange(10_000)
    starts = [[int(next(contiguous_rows(stream, 4, shift=63, seed=seed).epoch(e)).inputs[0, 0]) for e in range(9)]
              for seed in (0, 0, 1)]  # fmt: skip
    assert starts[0] == starts[1] != starts[2]
    assert len(set(starts[0])) > 4


def test_nothing_is_copied_and_pieces_are_counted() -> None:
    stream = torch.arange(1000, dtype=torch.int32)
    batches = contiguous_rows(stream, 4, shift=7)
    (batch,) = batches.epoch(0)
    assert batch.inputs.untyped_storage().data_ptr() == stream.untyped_storage().data_ptr()
    pieces = TimePieces(batches, 50)
    assert len(pieces) == len(list(pieces.epoch(3))) == 5


def test_impossible_layouts() -> None:
    for rows, shift in ((0, 0), (1, -1)):
        with pytest.raises(ConfigError):
            contiguous_rows(torch.arange(9), rows, shift=shift)
