from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.separable_conv import SeparableConv1D, SeparableConv2D

from .reference import first, last

TORCH: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d}
OURS: dict[int, Any] = {1: SeparableConv1D, 2: SeparableConv2D}


@pytest.mark.parametrize("axes", [1, 2])
def test_it_is_torchs_depthwise_then_its_pointwise_convolution(axes: int) -> None:
    x = torch.randn(2, *(7,) * axes, 3)
    theirs = nn.ModuleDict(
        {
            "depthwise": TORCH[axes](3, 6, 3, stride=2, groups=3, bias=False),
            "pointwise": TORCH[axes](6, 5, 1),
        }
    )
    ours = OURS[axes](5, 3, 2, depth_multiplier=2, activation="relu")
    ours(x)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    expected = last(theirs["pointwise"](theirs["depthwise"](first(x)))).relu()
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)


def test_arrays_come_in_keras_order_and_layout() -> None:
    layer = SeparableConv2D(5, (3, 2), depth_multiplier=2)
    layer(torch.zeros(1, 4, 4, 3))
    assert [a.shape for a in layer.get_weights()] == [(3, 2, 3, 2), (1, 1, 6, 5), (5,)]


def test_penalties_and_freezing_reach_the_parts() -> None:
    layer = SeparableConv2D(5, 3, depthwise_regularizer="l2", pointwise_regularizer="l1", trainable=False)
    layer(torch.zeros(1, 4, 4, 3))
    assert not any(p.requires_grad for p in layer.parameters())
    assert layer.depthwise.penalizes
    assert layer.pointwise.penalizes


def test_errors_name_the_layer() -> None:
    with pytest.raises(ShapeError, match=r"layer 'mine' \(SeparableConv2D\) takes 4 axes"):
        SeparableConv2D(5, 3, name="mine")(torch.zeros(4, 4, 3))
    with pytest.raises(ConfigError, match="padding 'full'"):
        SeparableConv2D(5, 3, padding="full")
