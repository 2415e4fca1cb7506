from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError
from corecur.layers.conv import Conv2D
from corecur.layers.conv_transpose import Conv2DTranspose
from corecur.layers.initializers import (
    INITIALIZERS,
    Constant,
    Initializer,
    Orthogonal,
    TruncatedNormal,
    VarianceScaling,
    fans,
    find_initializer,
)

SHAPE = (300, 200, 3, 3)
FAN_IN, FAN_OUT = 200 * 9, 300 * 9

#: Variance and largest magnitude by Keras' documentation.
SCALED: dict[str, tuple[float, float]] = {
    "glorot_uniform": (2 / (FAN_IN + FAN_OUT), math.sqrt(6 / (FAN_IN + FAN_OUT))),
    "glorot_normal": (2 / (FAN_IN + FAN_OUT), 2 * math.sqrt(2 / (FAN_IN + FAN_OUT)) / 0.8796),
    "he_uniform": (2 / FAN_IN, math.sqrt(6 / FAN_IN)),
    "he_normal": (2 / FAN_IN, 2 * math.sqrt(2 / FAN_IN) / 0.8796),
    "lecun_uniform": (1 / FAN_IN, math.sqrt(3 / FAN_IN)),
    "lecun_normal": (1 / FAN_IN, 2 * math.sqrt(1 / FAN_IN) / 0.8796),
    "variance_scaling": (1 / FAN_IN, 2 * math.sqrt(1 / FAN_IN) / 0.8796),
    "random_uniform": (0.05**2 / 3, 0.05),
    "random_normal": (0.05**2, math.inf),
    "truncated_normal": (0.05**2 * 0.8796**2, 0.1),
}


def filled(initializer: Initializer, *shape: int) -> torch.Tensor:
    torch.manual_seed(0)
    return initializer(torch.empty(shape))


@pytest.mark.parametrize("name", SCALED)
def test_variance_mean_and_limit(name: str) -> None:
    variance, limit = SCALED[name]
    values = filled(INITIALIZERS[name], *SHAPE).double()
    n = values.numel()
    assert abs(values.mean()) < 5 * math.sqrt(variance / n)
    np.testing.assert_allclose(values.var(), variance, rtol=0.01)
    assert values.abs().max() <= limit * 1.001


def test_every_row_is_tested() -> None:
    assert set(INITIALIZERS) == {*SCALED, "zeros", "ones", "constant", "orthogonal", "dirac"}


def test_constants() -> None:
    assert filled(INITIALIZERS["zeros"], 3).tolist() == [0, 0, 0]
    assert filled(INITIALIZERS["ones"], 2).tolist() == [1, 1]
    assert filled(Constant(0.5), 2).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (4, 2, 3, 3)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    matrix = filled(Orthogonal(2.0), *shape).flatten(1)
    small = min(matrix.shape)
    product = matrix @ matrix.T if matrix.shape[0] == small else matrix.T @ matrix
    torch.testing.assert_close(product, 4 * torch.eye(small), rtol=0, atol=1e-5)


def test_dirac_passes_the_channels_through() -> None:
    layer = Conv2D(5, 3, padding="same", kernel_initializer="dirac", use_bias=False)
    x = torch.randn(1, 6, 6, 3)
    torch.testing.assert_close(layer(x)[..., :3], x, rtol=0, atol=1e-6)
    assert layer.weight[3:].std() > 0


def test_variance_scaling_modes() -> None:
    for mode, size in (("fan_in", FAN_IN), ("fan_out", FAN_OUT), ("fan_avg", (FAN_IN + FAN_OUT) / 2)):
        for distribution in ("truncated_normal", "untruncated_normal", "uniform"):
            values = filled(VarianceScaling(3.0, mode, distribution), *SHAPE)
            np.testing.assert_allclose(values.var(), 3 / size, rtol=0.01)


@pytest.mark.parametrize("wrong", [{"mode": "fan"}, {"distribution": "normal"}])
def test_variance_scaling_refuses(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        VarianceScaling(**wrong)


def test_fans_of_vectors_and_of_transposed_kernels() -> None:
    assert fans((7,)) == (7.0, 7.0)
    layer = Conv2DTranspose(300, 3, kernel_initializer="he_uniform")
    layer(torch.zeros(1, 2, 2, 200))
    # Keras reads the fan in off (kH, kW, F, C) as 9 F
    np.testing.assert_allclose(layer.weight.detach().var(), 2 / (9 * 300), rtol=0.01)


def test_torchs_generator_decides() -> None:
    assert torch.equal(filled(TruncatedNormal(), 50), filled(TruncatedNormal(), 50))


def test_names() -> None:
    assert find_initializer("HeNormal") is INITIALIZERS["he_normal"]
    assert find_initializer(Constant(2)) == Constant(2)
    with pytest.raises(ConfigError, match="did you mean 'glorot_uniform'"):
        find_initializer("glorot_unifrom")
