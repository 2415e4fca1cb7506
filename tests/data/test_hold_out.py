from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from corecur.data.hold_out import hold_out
from corecur.errors import ConfigError, DataError


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 1 / 3, 0.5, 0.99])
def test_the_last_part_is_held_out_as_keras_does(fraction: float) -> None:
    x, y, w = np.arange(100, dtype=np.float32), np.arange(100), np.arange(1.0, 101)
    train, held = hold_out((x, x), y, w, fraction)
    split = int(np.floor(100 * (1 - fraction)))
    for part, rows in ((train, slice(split)), (held, slice(split, None))):
        inputs, targets, weights = part
        assert isinstance(inputs, tuple) and targets is not None and weights is not None
        assert inputs[0].tolist() == inputs[1].tolist() == x[rows].tolist()
        assert targets.tolist() == y[rows].tolist() and weights.tolist() == w[rows].tolist()
    assert train[0][0].data_ptr() == x.ctypes.data


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), 0.05])
def test_a_side_without_samples_is_refused(fraction: float) -> None:
    x = np.zeros((1 if fraction == 0.05 else 10, 2))
    with pytest.raises(ConfigError, match="validation_split"):
        hold_out(x, None, None, fraction)


def test_only_arrays_of_one_length_are_split() -> None:
    with pytest.raises(ConfigError, match="validation_data"):
        hold_out(DataLoader(TensorDataset(torch.zeros(4))), None, None, 0.5)
    with pytest.raises(DataError, match="inputs 4, targets 3"):
        hold_out(np.zeros(4), np.zeros(3), None, 0.5)
