"""Weights too small to be normal numbers: how much they slow a network down."""

from __future__ import annotations

import statistics
import time

import pytest
import torch

from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.lstm import LSTM
from corecur.models import Sequential

NETWORKS = {
    "convolutions": ([Conv2D(32, 3, input_shape=(32, 32, 16)), Conv2D(32, 3)], (8, 32, 32, 16)),
    "products": ([Dense(512, input_shape=(512,)), Dense(512)], (256, 512)),
    "recurrent": ([LSTM(64, input_shape=(50, 32))], (16, 50, 32)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_flood_of_denormals_costs_little(name: str) -> None:
    layers, shape = NETWORKS[name]
    model, x = Sequential(layers).eval(), torch.randn(shape)
    ordinary = {key: torch.randn_like(value) * 0.05 for key, value in model.state_dict().items()}
    flood = {key: torch.full_like(value, 1e-40) for key, value in ordinary.items()}
    times: dict[int, list[float]] = {0: [], 1: []}
    with torch.no_grad():
        for _ in range(40):
            for number, state in enumerate((ordinary, flood)):
                model.load_state_dict(state)
                model(x)
                began = time.perf_counter()
                model(x)
                times[number].append(time.perf_counter() - began)
    ratio = min(times[1]) / min(times[0])
    print(f"{name}: {ratio:.2f} times, medians {statistics.median(times[1]) / statistics.median(times[0]):.2f}")
    assert ratio < 1.2
