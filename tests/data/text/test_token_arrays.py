from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from corecur.data.text.token_arrays import TokenArrays
from corecur.errors import ConfigError, DataError

ROWS = st.lists(st.lists(st.integers(1, 90), max_size=12), min_size=1, max_size=10)


@given(ROWS, st.data())
def test_padded_rows_are_those_of_pad_sequence(rows: list[list[int]], data: st.DataObject) -> None:
    arrays = TokenArrays.of(rows)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=6))
    tokens, mask = arrays.padded(torch.tensor(chosen))
    wanted = pad_sequence([torch.tensor(rows[n], dtype=torch.int64) for n in chosen], batch_first=True)
    if wanted.shape[1] == 0:
        assert tokens.shape == (len(chosen), 1) and not tokens.any() and not mask.any()
        return
    assert torch.equal(tokens, wanted)
    assert torch.equal(mask, wanted != 0)


@given(ROWS, st.data())
def test_take_is_indexing(rows: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    taken = TokenArrays.of(rows).take(torch.tensor(chosen, dtype=torch.int64))
    assert [taken.row(n).tolist() for n in range(len(taken))] == [rows[n] for n in chosen]


@given(ROWS, st.integers(1, 10), st.data())
def test_a_cut_keeps_head_and_tail(rows: list[list[int]], longest: int, data: st.DataObject) -> None:
    tail = data.draw(st.integers(0, longest))
    found = TokenArrays.of(rows).cut(longest, tail=tail)
    wanted = [r if len(r) <= longest else [*r[: longest - tail], *(r[-tail:] if tail else [])] for r in rows]
    assert [found.row(n).tolist() for n in range(len(found))] == wanted


def test_unknown_tokens_are_counted() -> None:
    arrays = TokenArrays.of([[1, 1], [1, 5], [], [7, 8]])
    assert arrays.unknown_share == 0.5
    assert arrays.without_known().tolist() == [0, 2]
    assert TokenArrays.of([[]]).unknown_share == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="do not fit"):
        TokenArrays(torch.arange(3), torch.tensor([0, 2]))
    with pytest.raises(ConfigError, match="cut"):
        TokenArrays.of([[1]]).cut(2, tail=3)
