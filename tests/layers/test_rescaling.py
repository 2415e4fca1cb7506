from __future__ import annotations

import numpy as np
import torch

from corecur.layers.rescaling import Rescaling


def test_bytes_become_float32() -> None:
    x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    y = Rescaling(1 / 255, offset=-0.5)(torch.from_numpy(x))
    assert y.dtype == torch.float32
    np.testing.assert_allclose(y, x / 255.0 - 0.5, rtol=0, atol=1e-6)


def test_a_number_for_each_channel() -> None:
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64)
    mean, deviation = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.6, 0.7])
    layer = Rescaling(tuple(1 / deviation), tuple(-mean / deviation))
    np.testing.assert_allclose(layer(x), (x.numpy() - mean) / deviation, rtol=0, atol=1e-12)
    assert layer.state_dict() == {}


def test_scale_alone_leaves_the_input_as_it_is() -> None:
    x = torch.ones(1, 2)
    assert Rescaling(2)(x).tolist() == [[2.0, 2.0]]
    assert x.tolist() == [[1.0, 1.0]]
