from __future__ import annotations

import pytest
import torch

from corecur.errors import ConfigError
from corecur.layers.conv import Conv2D
from corecur.layers.lstm import LSTM
from corecur.layers.pool import MaxPooling2D
from corecur.learners.image_networks import NETWORKS, blocks, hybrid, textbook


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_probabilities_and_learns(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]((12, 12, 3), 4, widths=(8, 16), depth=2, pools=2)
    answers = network(torch.rand(5, 12, 12, 3))
    torch.testing.assert_close(answers.sum(1), torch.ones(5))
    answers[:, 0].sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())


@pytest.mark.parametrize(("depth", "pools"), [(1, 0), (2, 1), (3, 2), (4, 2)])
def test_depth_and_pools_are_counted(depth: int, pools: int) -> None:
    network = blocks((16, 16, 1), 2, widths=(8, 8), depth=depth, pools=pools)
    assert sum(isinstance(m, Conv2D) for m in network.modules()) == 1 + 2 * depth
    assert sum(isinstance(m, MaxPooling2D) for m in network.modules()) == pools


@pytest.mark.parametrize(("side", "pools", "rows"), [(28, 3, 7), (8, 1, 8), (3, 5, 1)])
def test_the_hybrid_reads_rows_as_time(side: int, pools: int, rows: int) -> None:
    network = hybrid((side, side, 1), 10, widths=(4, 8, 8), pools=pools)
    (first, second) = (m for m in network.modules() if isinstance(m, LSTM))
    assert first.return_sequences and not second.return_sequences
    assert first.input_shape == (None, rows, rows * 8)


def test_a_picture_too_small_for_the_textbook() -> None:
    with pytest.raises(ConfigError, match="blocks"):
        textbook((9, 28, 1), 10)
