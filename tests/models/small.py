"""A small network and data it can learn, for the tests of models.

N samples, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from corecur.layers.dense import Dense
from corecur.models import Sequential

N, K = 50, 3
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))  # (N, 6)
Y = (X @ torch.randn(6, K, generator=torch.Generator().manual_seed(2))).argmax(1)  # (N,), learnable


def network(activation: str | None = "softmax", *, seed: int = 0) -> Sequential:
    torch.manual_seed(seed)
    return Sequential([Dense(8, "relu", input_shape=(6,)), Dense(K, activation)])


def compiled(optimizer: Any = "adam", metrics: Any = ("accuracy",), **more: Any) -> Sequential:
    model = network()
    model.compile(optimizer, "sparse_categorical_crossentropy", list(metrics), **more)
    return model


def weights_of(model: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
