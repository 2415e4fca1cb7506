from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corecur.errors import ConfigError
from corecur.layers.dense import Dense

from .reference import built, draw, tensor


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (2, 3, 4, 3)])
def test_it_is_the_matrix_product_over_the_last_axis(shape: tuple[int, ...]) -> None:
    x = draw(*shape)
    layer = built(Dense(4, "tanh"), tensor(x))
    kernel, bias = layer.get_weights()  # Keras: (C, U)
    np.testing.assert_allclose(layer(tensor(x)).detach(), np.tanh(x @ kernel + bias), rtol=0, atol=1e-12)


def test_weights_move_to_and_from_torch_as_they_are() -> None:
    x = torch.randn(2, 3)
    ours, theirs = Dense(5), nn.Linear(3, 5)
    ours(x)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x), theirs(x))
    theirs.load_state_dict(built(ours, x).state_dict())
    torch.testing.assert_close(ours(x), theirs(x))


def test_without_bias() -> None:
    layer = Dense(5, use_bias=False)
    layer(torch.zeros(1, 3))
    assert list(layer.state_dict()) == ["weight"]
    assert [a.shape for a in layer.get_weights()] == [(3, 5)]


@pytest.mark.parametrize("units", [0, -1, 2.5, "3", True])
def test_wrong_units(units: Any) -> None:
    with pytest.raises(ConfigError, match="Dense needs a number of units"):
        Dense(units)
