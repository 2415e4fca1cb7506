from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ReduceLROnPlateau

from corecur.engine.plateau import Plateau
from corecur.errors import ConfigError


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(0, 4),
    st.sampled_from(["min", "max"]),
)
@settings(max_examples=100, deadline=None)
def test_against_torch(values: list[float], patience: int, cooldown: int, mode: str) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # Keras counts the value that cuts, and the one that ends the cool-down; torch waits one longer for each.
    theirs = ReduceLROnPlateau(
        optimizer,
        mode=mode,
        factor=0.5,
        patience=patience - 1,
        threshold=0.01,
        threshold_mode="abs",  # type: ignore[arg-type]
        cooldown=max(cooldown - 1, 0),
        min_lr=1e-3,
        eps=0.0,
    )
    ours = Plateau(0.5, patience=patience, min_delta=0.01, cooldown=cooldown, min_lr=1e-3, mode=mode)  # type: ignore[arg-type]
    rate = 1.0
    for number, value in enumerate(values):
        theirs.step(value)
        if number == len(values) // 2:  # resumed from a checkpoint half-way
            state = ours.state()
            ours = Plateau(0.5, patience=patience, min_delta=0.01, cooldown=cooldown, min_lr=1e-3, mode=mode)  # type: ignore[arg-type]
            ours.load_state(state)
        rate = ours.update(value, rate)
        np.testing.assert_allclose(rate, optimizer.param_groups[0]["lr"], rtol=1e-12)


def test_nan_is_no_improvement() -> None:
    plateau = Plateau(0.5, patience=2)
    assert [plateau.update(value, 1.0) for value in (float("nan"), float("nan"))] == [1.0, 0.5]


def test_refusals() -> None:
    with pytest.raises(ConfigError):
        Plateau(1.0)
    with pytest.raises(ConfigError):
        Plateau(0.5, mode="auto")  # type: ignore[arg-type]
