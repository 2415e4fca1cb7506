from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.data.normalise import Normalisation, fit_normalisation
from corecur.errors import ConfigError, DataError, ShapeError


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]), st.integers(0, 2**31))
def test_equals_numpy_in_float64(n: int, h: int, w: int, c: int, seed: int) -> None:
    images = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, h, w, c), dtype=np.uint8))
    exact = images.numpy().astype(np.float64) / 255
    mean, std = exact.mean(axis=(0, 1, 2)), exact.std(axis=(0, 1, 2))
    std[std < 1e-12] = 1
    fitted = fit_normalisation(images)
    np.testing.assert_allclose(fitted.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(fitted.std, std, rtol=1e-9)
    out = fitted(images)
    assert out.shape == images.shape and out.dtype == torch.float32 and out.is_contiguous()
    np.testing.assert_allclose(out.numpy(), (exact - mean) / std, rtol=1e-5, atol=1e-5)


def test_a_value_becomes_the_same_number_wherever_it_stands() -> None:
    images = torch.randint(0, 256, (13, 7, 5, 3), dtype=torch.uint8)
    fitted = fit_normalisation(images)
    assert torch.equal(torch.cat([fitted(one) for one in images.split(1)]), fitted(images))
    assert torch.equal(fitted(images.flip(2)), fitted(images).flip(2))
    crop = images[:, 1:4, 2:5]  # not contiguous
    assert torch.equal(fitted(crop), fitted(images)[:, 1:4, 2:5])


def test_sums_stay_exact_where_float32_sums_do_not() -> None:
    images = torch.full((70_000, 16, 16, 1), 254, dtype=torch.uint8)
    images[0, 0, 0] = 255
    fitted = fit_normalisation(images)
    n = images.numel()
    assert fitted.mean[0] == pytest.approx((254 + 1 / n) / 255, rel=1e-15)
    assert fitted.std[0] == pytest.approx(np.sqrt((n - 1) / n**2) / 255, rel=1e-12)


def test_a_constant_channel_becomes_zeros() -> None:
    images = torch.zeros(4, 3, 3, 2, dtype=torch.uint8)
    images[..., 0] = 77
    fitted = fit_normalisation(images)
    assert fitted.std == (1.0, 1.0)
    assert fitted(images).abs().max() < 1e-6


def test_json_round_trip() -> None:
    fitted = fit_normalisation(torch.randint(0, 256, (5, 4, 4, 3), dtype=torch.uint8))
    assert Normalisation(**json.loads(json.dumps(dataclasses.asdict(fitted)))) == fitted


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((), ()),
        ((0.5,), (0.5, 0.5)),
        ((0.5,), (0.0,)),
        ((0.5,), (-1.0,)),
        ((float("nan"),), (1.0,)),
        ((0.0,), (float("inf"),)),
    ],
)
def test_impossible_normalisations_are_refused(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="no normalisation"):
        Normalisation(mean=mean, std=std)


def test_wrong_pictures_are_refused() -> None:
    grey = Normalisation(mean=(0.5,), std=(0.5,))
    with pytest.raises(ShapeError, match="channels"):
        grey(torch.zeros(1, 2, 2, 3, dtype=torch.uint8))
    for wrong in (torch.zeros(1, 2, 2, 1), torch.zeros(2, 2, 1, dtype=torch.uint8)):
        with pytest.raises(DataError, match="no.* pictures"):
            grey(wrong)
        with pytest.raises(DataError):
            fit_normalisation(wrong)
    with pytest.raises(DataError, match="no picture"):
        fit_normalisation(torch.zeros(0, 2, 2, 1, dtype=torch.uint8))
