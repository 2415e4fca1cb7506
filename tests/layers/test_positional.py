from __future__ import annotations

import math

import pytest
import torch

from corecur.errors import ConfigError, ShapeError
from corecur.layers.positional import PositionalEncoding, PositionEmbedding, positions_of


@pytest.mark.parametrize("channels", [1, 4, 5])
def test_waves_are_those_of_the_paper(channels: int) -> None:
    y = PositionalEncoding(100.0)(torch.zeros(1, 7, channels, dtype=torch.float64))[0]
    for p in range(7):
        for c in range(channels):
            angle = p / 100.0 ** (c // 2 * 2 / channels)
            assert math.isclose(float(y[p, c]), math.cos(angle) if c % 2 else math.sin(angle), abs_tol=1e-12)


def test_positions_count_real_steps() -> None:
    mask = torch.tensor([[False, False, True, False, True, True]])
    assert positions_of(mask)[mask].tolist() == [0, 1, 2]
    layer = PositionEmbedding(3)
    y = layer(torch.zeros(1, 6, 2), mask=mask)
    torch.testing.assert_close(y[mask], layer.weight)


def test_longer_sequences_than_known_are_refused() -> None:
    layer = PositionEmbedding(3, name="where")
    layer(torch.zeros(1, 3, 2))
    with pytest.raises(ShapeError, match=r"(?s)'where'.*3 positions.*4 steps"):
        layer(torch.zeros(1, 4, 2))
    with pytest.raises(ShapeError, match="4 steps"):
        layer(torch.zeros(1, 5, 2), mask=torch.tensor([[True, True, True, True, False]]))


@pytest.mark.parametrize("wrong", [0, -1.0, None, True])
def test_wrong_arguments_are_refused_at_once(wrong: float) -> None:
    with pytest.raises(ConfigError):
        PositionalEncoding(wrong)
    if wrong is not None:
        with pytest.raises(ConfigError):
            PositionEmbedding(wrong)  # type: ignore[arg-type]
