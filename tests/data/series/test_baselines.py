"""Baselines, against loops over single series."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.data.series.baselines import BASELINES, drift, last_value, seasonal_naive
from corecur.errors import ConfigError

PAST = torch.randn(3, 11, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("horizon", [1, 4, 9])
def test_equal_their_definitions(horizon: int) -> None:
    for row in range(3):
        for channel in range(2):
            y = PAST[row, :, channel].double().numpy()
            steps = np.arange(1, horizon + 1)
            line = y[-1] + steps * (y[-1] - y[0]) / 10
            season = [y[11 - 4 + (step - 1) % 4] for step in steps]
            np.testing.assert_allclose(last_value(PAST, horizon)[row, :, channel], y[-1])
            np.testing.assert_allclose(drift(PAST, horizon)[row, :, channel], line, rtol=1e-5)
            np.testing.assert_allclose(seasonal_naive(PAST, horizon, 4)[row, :, channel], season)


def test_the_table_and_what_it_refuses() -> None:
    assert all(make(PAST, 3, 5).shape == (3, 3, 2) for make in BASELINES.values())
    with pytest.raises(ConfigError, match="too short"):
        seasonal_naive(PAST, 3, 12)
    with pytest.raises(ConfigError, match="too short"):
        drift(PAST[:, :1], 3)
    with pytest.raises(ConfigError, match="horizon"):
        last_value(PAST, 0)
