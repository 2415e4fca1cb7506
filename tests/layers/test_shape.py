from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError, ShapeError
from corecur.layers.conv import Conv2D
from corecur.layers.shape import Flatten, Permute, Reshape
from corecur.layers.symbolic import SymbolicTensor

from .reference import draw


def test_they_are_numpys() -> None:
    x = draw(2, 3, 4, 5)
    t = torch.from_numpy(x)
    np.testing.assert_array_equal(Flatten()(t), x.reshape(2, -1))
    np.testing.assert_array_equal(Reshape((5, -1, 2))(t), x.reshape(2, 5, -1, 2))
    np.testing.assert_array_equal(Permute((2, 3, 1))(t), x.transpose(0, 2, 3, 1))


def test_flatten_of_images_is_a_view_also_behind_a_convolution() -> None:
    x = torch.randn(2, 4, 4, 3)
    assert Flatten()(x).data_ptr() == x.data_ptr()
    y = Conv2D(5, 3, padding="same")(x)
    assert Flatten()(y).data_ptr() == y.data_ptr()
    np.testing.assert_array_equal(Flatten()(y).detach(), y.detach().numpy().reshape(2, -1))


def test_flatten_of_a_vector_makes_an_axis() -> None:
    assert Flatten()(torch.zeros(3)).shape == (3, 1)


def test_reshape_of_an_empty_batch_still_finds_the_open_size() -> None:
    assert Reshape((-1, 2))(torch.zeros(0, 3, 4)).shape == (0, 6, 2)


def test_open_sizes_of_symbols() -> None:
    assert Reshape((-1, 4))(SymbolicTensor((None, 6, 2))).shape == (None, 3, 4)
    assert Reshape((-1, 4))(SymbolicTensor((None, None, 2))).shape == (None, None, 4)


@pytest.mark.parametrize("target", [(-1, -1), (2, -2), (2.0,), ("a",)])
def test_reshape_refuses_impossible_targets(target: Any) -> None:
    with pytest.raises(ConfigError, match="Reshape"):
        Reshape(target)


def test_reshape_names_the_layer_and_the_count() -> None:
    with pytest.raises(ShapeError, match=r"(?s)layer 'r' \(Reshape\).*12 values.*a multiple of 5"):
        Reshape((5, -1), name="r")(torch.zeros(2, 3, 4))
    with pytest.raises(ShapeError, match=r"(?s)\(None, 3, 4\).*10 values in each sample"):
        Reshape((5, 2))(SymbolicTensor((None, 3, 4)))


@pytest.mark.parametrize("dims", [(0, 1), (1, 1), (2, 3)])
def test_permute_needs_every_axis_once(dims: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="every axis once"):
        Permute(dims)


def test_permute_names_the_layer_when_axes_are_missing() -> None:
    with pytest.raises(ShapeError, match=r"layer 'p' \(Permute\) orders 3 axes"):
        Permute((2, 1), name="p")(torch.zeros(2, 3, 4, 5))
