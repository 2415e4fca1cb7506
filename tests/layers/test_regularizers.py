from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.regularizers import L1, L1L2, L2, REGULARIZERS, find_regularizer

from .reference import draw, tensor


def test_they_are_sums_in_numpy() -> None:
    w = draw(4, 3)
    t = tensor(w)
    np.testing.assert_allclose(L1(0.3)(t), 0.3 * np.abs(w).sum())
    np.testing.assert_allclose(L2(0.3)(t), 0.3 * (w**2).sum())
    np.testing.assert_allclose(L1L2(0.2, 0.3)(t), 0.2 * np.abs(w).sum() + 0.3 * (w**2).sum())


def test_names_have_keras_factors() -> None:
    assert dict(REGULARIZERS) == {"l1": L1(0.01), "l2": L2(0.01), "l1_l2": L1L2(0.01, 0.01)}
    assert find_regularizer(None) is None
    assert find_regularizer("L1L2") == L1L2(0.01, 0.01)
    with pytest.raises(ConfigError, match="unknown regularizer 'l3'"):
        find_regularizer("l3")


def test_kernel_bias_and_activity_add_up() -> None:
    layer = Dense(
        4, kernel_regularizer=L2(0.1), bias_regularizer=L1(0.2), activity_regularizer=L1(0.3), bias_initializer="ones"
    )
    y = layer(torch.randn(5, 3))
    kernel, bias = layer.get_weights()
    expected = 0.1 * (kernel**2).sum() + 0.2 * np.abs(bias).sum() + 0.3 * np.abs(y.detach().numpy()).sum() / 5
    assert layer.penalizes
    np.testing.assert_allclose(layer.penalty().item(), expected, rtol=1e-5)


def test_the_activity_counts_in_training_only_and_once() -> None:
    layer = Dense(4, activity_regularizer="l2")
    layer.eval()(torch.ones(2, 3))
    assert layer.penalty() is None
    layer.train()(torch.ones(2, 3))
    assert layer.penalty() is not None
    assert layer.penalty() is None


def test_without_regularizers_there_is_no_penalty() -> None:
    layer = Conv2D(2, 3)
    layer(torch.zeros(1, 4, 4, 1))
    assert not layer.penalizes
    assert layer.penalty() is None
