from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.batches import Batch, TensorBatches
from corecur.data.time_pieces import TimePieces
from corecur.errors import ConfigError, ShapeError


@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 5), st.integers(0, 8))
def test_the_pieces_are_the_whole(rows: int, steps: int, size: int, start: int) -> None:
    x = torch.arange(rows * steps).view(rows, steps)
    begun: list[int] = []
    pieces = TimePieces(TensorBatches((x, x + 1), x + 2, batch_size=4), size, before_each=lambda: begun.append(1))
    found = list(pieces)
    assert len(found) == len(pieces) == -(-rows // 4) * -(-steps // size)
    assert len(begun) == -(-rows // 4)
    per_batch = -(-steps // size)
    whole = torch.cat(
        [torch.cat([p.inputs[0] for p in found[n : n + per_batch]], 1) for n in range(0, len(found), per_batch)]
    )
    assert torch.equal(whole, x)
    assert all(torch.equal(p.inputs[1] + 1, p.targets) for p in found)  # type: ignore[arg-type, operator]
    rest = list(pieces.epoch(0, start=start))
    assert len(rest) == max(0, len(found) - start)
    assert all(torch.equal(a.targets, b.targets) for a, b in zip(rest, found[start:], strict=True))  # type: ignore[arg-type]


def test_weights_for_each_step_are_cut_and_others_stay() -> None:
    x = torch.zeros(2, 5, 1)
    each = TimePieces(TensorBatches(x, x, torch.arange(10.0).view(2, 5)), 2)
    assert [p.weights.tolist() for p in each][2] == [[4.0], [9.0]]  # type: ignore[union-attr]
    one = TimePieces(TensorBatches(x, x, torch.tensor([1.0, 2.0])), 2)
    assert [p.weights.tolist() for p in one] == [[1.0, 2.0]] * 3  # type: ignore[union-attr]


def test_what_cannot_be_cut_is_named() -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        TimePieces(TensorBatches(torch.zeros(2, 3)), 0)
    with pytest.raises(ShapeError, match="a value at every step"):
        list(TimePieces(TensorBatches(torch.zeros(2, 3, 1), torch.zeros(2)), 2))
    with pytest.raises(ShapeError, match="no targets"):
        list(TimePieces(TensorBatches(torch.zeros(2, 3, 1)), 2))
    assert isinstance(next(iter(TimePieces(TensorBatches(torch.zeros(2, 3), torch.zeros(2, 3)), 2))), Batch)
