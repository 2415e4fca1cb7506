from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corecur.errors import ConfigError
from corecur.layers.depthwise_conv import DepthwiseConv1D, DepthwiseConv2D

from .reference import built, convolve, draw, first, last, tensor


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_each_channel_has_kernels_of_its_own(axes: int, multiplier: int, padding: Any) -> None:
    cls: Any = (DepthwiseConv1D, DepthwiseConv2D)[axes - 1]
    x = draw(2, *(7, 6)[:axes], 2)
    layer = built(cls(3, 2, padding, depth_multiplier=multiplier), tensor(x))
    kernel, bias = layer.get_weights()  # Keras: (k…, C, M)
    got = layer(tensor(x)).detach().numpy()
    for channel in range(2):
        weight = np.moveaxis(kernel[..., channel : channel + 1, :], (-1, -2), (0, 1))  # (M, 1, k…)
        alone = convolve(
            x[..., channel : channel + 1], weight, strides=(2,) * axes, dilation=(1,) * axes, padding=padding
        )
        outputs = slice(channel * multiplier, (channel + 1) * multiplier)
        np.testing.assert_allclose(got[..., outputs], alone + bias[outputs], rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2])
def test_weights_move_to_and_from_torch_as_they_are(axes: int) -> None:
    cls: Any = (DepthwiseConv1D, DepthwiseConv2D)[axes - 1]
    torch_type: Any = (nn.Conv1d, nn.Conv2d)[axes - 1]
    x = torch.randn(2, *(6,) * axes, 4)
    ours = cls(3, dilation_rate=2, depth_multiplier=2)
    theirs = torch_type(4, 8, 3, dilation=2, groups=4)
    ours(x)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x), last(theirs(first(x))), rtol=1e-5, atol=1e-5)
    theirs.load_state_dict(built(ours, x).state_dict())
    torch.testing.assert_close(ours(x), last(theirs(first(x))), rtol=1e-5, atol=1e-5)


def test_arrays_have_keras_layout() -> None:
    layer = DepthwiseConv2D((2, 3), depth_multiplier=4)
    layer(torch.zeros(1, 5, 5, 3))
    kernel, bias = layer.get_weights()
    assert (kernel.shape, bias.shape) == ((2, 3, 3, 4), (12,))
    assert kernel[1, 2, 2, 3] == layer.weight[2 * 4 + 3, 0, 1, 2]


def test_fans_are_counted_as_keras_does() -> None:
    layer = DepthwiseConv2D(3, depth_multiplier=2)
    layer(torch.zeros(1, 5, 5, 500))
    limit = np.sqrt(6 / (9 * 500 + 9 * 2))  # Keras' (kH, kW, C, M): fan in 9 C, fan out 9 M
    assert layer.weight.abs().max() <= limit
    np.testing.assert_allclose(layer.weight.detach().var(), limit**2 / 3, rtol=0.05)


def test_the_penalty_is_of_the_weight_that_is_used() -> None:
    layer = DepthwiseConv2D(3, depthwise_regularizer="l2", bias_regularizer="l1", bias_initializer="ones")
    layer(torch.zeros(1, 5, 5, 4))
    torch.testing.assert_close(layer.penalty(), 0.01 * layer.weight.square().sum() + 0.01 * 4)


def test_wrong_multiplier() -> None:
    with pytest.raises(ConfigError, match="DepthwiseConv2D's depth_multiplier"):
        DepthwiseConv2D(3, depth_multiplier=0)
