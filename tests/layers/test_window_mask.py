from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corecur.layers.conv import Conv1D
from corecur.layers.pool import MaxPooling1D
from corecur.layers.window_mask import window_mask


@given(
    st.integers(1, 8),
    st.integers(0, 8),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(["valid", "same", "causal"]),
)
def test_a_sequence_padded_on_the_right_has_as_many_outputs_as_alone(
    length: int, extra: int, reach: int, stride: int, padding: str
) -> None:
    length = max(length, reach)
    mask = torch.arange(length + extra).unsqueeze(0) < length
    layer = Conv1D(1, reach, stride, padding)  # type: ignore[arg-type]
    alone = layer(torch.zeros(1, length, 1)).shape[1]
    found = window_mask(mask, reach, stride, padding)
    assert found.shape[1] == layer(torch.zeros(1, length + extra, 1)).shape[1]
    assert found[0].tolist() == [place < alone for place in range(found.shape[1])]


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pooling_has_the_same_mask(padding: str) -> None:
    mask = torch.tensor([[True] * 5 + [False] * 3])
    pooled = MaxPooling1D(2, padding=padding)(torch.zeros(1, 8, 3), mask=mask)  # type: ignore[arg-type]
    assert pooled.mask.tolist() == [[True, True, padding == "same", False]]
