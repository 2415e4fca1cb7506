from __future__ import annotations

from typing import Any

import pytest
import torch

from corecur.errors import ConfigError, ShapeError
from corecur.layers import LAYERS
from corecur.layers.dropout import Dropout, GaussianDropout, GaussianNoise, SpatialDropout2D, drop

RATED = ["Dropout", "GaussianDropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"]
RANKS = {"1D": 3, "2D": 4, "3D": 5}


def sample(name: str) -> torch.Tensor:
    return torch.ones((4,) * RANKS.get(name[-2:], 3))


@pytest.mark.parametrize("name", RATED)
def test_without_training_or_rate_the_very_input_comes_back(name: str) -> None:
    x = sample(name)
    assert LAYERS[name](rate=0.5).eval()(x) is x
    assert LAYERS[name](rate=0)(x) is x
    assert not torch.equal(LAYERS[name](rate=0.5)(x), x)


@pytest.mark.parametrize("name", RATED)
@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, "0.5", None, True, float("nan")])
def test_rates_are_from_0_to_below_1(name: str, rate: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} needs a rate"):
        LAYERS[name](rate=rate)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_dropout_zeroes_the_share_and_keeps_the_mean(rate: float) -> None:
    torch.manual_seed(0)
    count = 400_000
    y = Dropout(rate)(torch.ones(count))
    kept = (y != 0).double().mean().item()
    assert abs(kept - (1 - rate)) < 5 * (rate * (1 - rate) / count) ** 0.5
    torch.testing.assert_close(y.max().item(), 1 / (1 - rate), rtol=1e-4, atol=0)
    assert y.unique().numel() == 2


def test_decisions_are_independent_of_their_neighbours() -> None:
    torch.manual_seed(1)
    y = (Dropout(0.5)(torch.ones(1 << 18)) != 0).double() - 0.5
    for lag in range(1, 9):  # four decisions share one random word
        assert abs((y[lag:] * y[:-lag]).mean().item() * 4) < 5 / (1 << 9)


def test_tiny_and_huge_rates_keep_the_mean() -> None:
    torch.manual_seed(2)
    for rate in (1e-7, 1 - 1e-4):
        y = Dropout(rate)(torch.ones(1 << 20))
        assert abs(y.mean().item() - 1) < 5 * ((1 / (1 - rate) - 1) / (1 << 20)) ** 0.5 + 1e-4


def test_the_gradient_passes_where_the_value_does() -> None:
    x = torch.randn(7, 5, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y / x).detach(), rtol=1e-5, atol=1e-6)


def test_torchs_generator_decides() -> None:
    for layer in (Dropout(0.5), GaussianDropout(0.5), GaussianNoise(1.0)):
        x = torch.ones(50)
        torch.manual_seed(3)
        once = layer(x)
        torch.manual_seed(3)
        assert torch.equal(layer(x), once)
        assert not torch.equal(layer(x), once)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_spatial_dropout_takes_whole_channels_of_a_sample(axes: int) -> None:
    torch.manual_seed(4)
    y = LAYERS[f"SpatialDropout{axes}D"](rate=0.5)(torch.ones(50, *(3,) * axes, 40))
    flat = y.flatten(1, -2)  # (B, S, C)
    assert torch.equal(flat.amin(1), flat.amax(1))
    kept = (flat[:, 0] != 0).double()
    assert abs(kept.mean() - 0.5) < 0.06
    assert kept.mean(0).std() > 0.03  # channels of different samples are decided apart
    assert kept.mean(1).std() > 0.03


def test_noise_shape_shares_decisions() -> None:
    y = Dropout(0.5, noise_shape=(None, 1, None))(torch.ones(6, 5, 4))
    assert torch.equal(y.amin(1), y.amax(1))
    with pytest.raises(ShapeError, match=r"layer 'd' \(Dropout\)"):
        Dropout(0.5, noise_shape=(None, 2), name="d")(torch.ones(3, 4))


def test_gaussian_noise_and_dropout_have_their_moments() -> None:
    torch.manual_seed(5)
    x = torch.full((200_000,), 2.0, dtype=torch.float64)
    added = GaussianNoise(0.3)(x)
    assert abs(added.mean() - 2) < 5e-3
    assert abs(added.std() - 0.3) < 5e-3
    times = GaussianDropout(0.2)(x)
    assert abs(times.mean() - 2) < 1e-2
    assert abs(times.std() - 2 * (0.2 / 0.8) ** 0.5) < 1e-2
    with pytest.raises(ConfigError, match="standard deviation"):
        GaussianNoise(-1)


def test_other_devices_take_torchs_own_dropout() -> None:
    assert drop(torch.ones(5, 4, device="meta"), 0.5, (5, 1)).shape == (5, 4)


def test_images_stay_in_their_memory_layout() -> None:
    x = torch.randn(2, 4, 4, 3)
    for layer in (Dropout(0.5), SpatialDropout2D(0.5)):
        assert layer(x).is_contiguous()
