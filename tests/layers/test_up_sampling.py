from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.errors import ConfigError
from corecur.layers import LAYERS
from corecur.layers.up_sampling import UpSampling2D

from .reference import Array, draw


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 8)] * 3))
def test_nearest_is_numpys_repeat(axes: int, sizes: tuple[int, ...], factors: tuple[int, ...]) -> None:
    sizes, factors = sizes[:axes], factors[:axes]
    x = draw(1, *sizes, 2).astype(np.float32)
    expected = x
    for axis, factor in enumerate(factors, start=1):
        expected = np.repeat(expected, factor, axis)
    np.testing.assert_array_equal(LAYERS[f"UpSampling{axes}D"](factors)(torch.from_numpy(x)), expected)


def between(x: Array, factor: int, axis: int) -> Array:
    """Linear interpolation with half-pixel centres, by the definition."""
    size = x.shape[axis]
    at = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, size - 1)
    share = (at - low).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share


@pytest.mark.parametrize("factors", [(2, 2), (3, 1), (2, 5)])
def test_bilinear_has_half_pixel_centres(factors: tuple[int, int]) -> None:
    x = draw(2, 4, 3, 2)
    expected = between(between(x, factors[0], 1), factors[1], 2)
    got = UpSampling2D(factors, interpolation="bilinear")(torch.from_numpy(x))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_images_are_not_copied_on_the_way() -> None:
    assert UpSampling2D(2)(torch.randn(1, 4, 4, 3)).is_contiguous()


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigError, match="did you mean 'bilinear'"):
        UpSampling2D(2, interpolation="bilinaer")
    with pytest.raises(ConfigError, match="UpSampling2D's size"):
        UpSampling2D(0)
