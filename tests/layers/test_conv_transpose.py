from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.conv import Conv1D, Conv2D, Conv3D
from corecur.layers.conv_transpose import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose

from .reference import built, draw, first, last, tensor

PAIRS: dict[int, Any] = {1: (Conv1DTranspose, Conv1D), 2: (Conv2DTranspose, Conv2D), 3: (Conv3DTranspose, Conv3D)}
TORCH: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def gradient_of_convolution(layer: Any, x: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    """The gradient with respect to an input of these sizes of the convolution whose outputs have x's sizes."""
    _, convolution = PAIRS[layer.axes]
    forward = convolution(
        x.shape[-1], layer.kernel_size, layer.strides, layer.padding, dilation_rate=layer.dilation_rate,
        groups=layer.groups, use_bias=False,
    )  # fmt: skip
    z = torch.zeros(len(x), *sizes, layer.filters, dtype=x.dtype, requires_grad=True)
    built(forward, z.detach())
    with torch.no_grad():
        forward.weight.copy_(layer.weight)
    y = forward(z)
    assert y.shape == x.shape
    return torch.autograd.grad(y, z, x)[0]


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(1, 2), st.sampled_from(["valid", "same"]))
def test_it_is_the_gradient_of_the_convolution(data: st.DataObject, axes: int, padding: str) -> None:
    def numbers(most: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(1, most)) for _ in range(axes))

    kernel, strides, dilation, groups = numbers(4), numbers(3), numbers(2), data.draw(st.sampled_from([1, 2]))
    sizes = numbers(4)
    x = tensor(draw(2, *sizes, 2 * groups))
    layer = PAIRS[axes][0](3 * groups, kernel, strides, padding, dilation_rate=dilation, groups=groups, use_bias=False)
    built(layer, x)
    y = layer(x)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    expected = [  # as Keras documents it
        n * s if padding == "same" else n * s + max(r - s, 0) for n, s, r in zip(sizes, strides, reach, strict=True)
    ]
    assert list(y.shape[1:-1]) == expected
    torch.testing.assert_close(y, gradient_of_convolution(layer, x, tuple(expected)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("strides", [2, 3])
@pytest.mark.parametrize("output_padding", [0, 1, 2])
def test_output_padding_gives_keras_sizes_and_the_gradient(kernel: int, strides: int, output_padding: int) -> None:
    if output_padding >= strides:
        with pytest.raises(ConfigError, match="output_padding must be less than its strides"):
            Conv1DTranspose(2, kernel, strides, output_padding=output_padding)
        return
    x = tensor(draw(2, 4, 3))
    for padding, size in (("valid", 3 * strides + kernel), ("same", 3 * strides + kernel % 2)):
        layer = Conv1DTranspose(2, kernel, strides, padding, output_padding=output_padding, use_bias=False)
        built(layer, x)
        assert layer(x).shape[1] == size + output_padding
        makes_x = padding == "valid" or -(-(size + output_padding) // strides) == 4
        if makes_x:  # a convolution makes x's size of it, so there is a gradient to compare with
            expected = gradient_of_convolution(layer, x, (size + output_padding,))
            torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_same_with_an_even_kernel_cuts_the_odd_position_at_the_end() -> None:
    layer = Conv1DTranspose(1, 3, 2, "same", use_bias=False)
    layer(torch.zeros(1, 2, 1))
    layer.set_weights([np.array([1.0, 10.0, 100.0], dtype=np.float32).reshape(3, 1, 1)])
    # the whole is 1, 10, 100 + 2, 20, 200; one position goes, the last
    assert layer(torch.tensor([[[1.0], [2.0]]])).flatten().tolist() == [1.0, 10.0, 102.0, 20.0]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_weights_move_to_and_from_torch_as_they_are(axes: int) -> None:
    x = torch.randn(2, *(3,) * axes, 4)
    ours = PAIRS[axes][0](6, 3, 2, output_padding=1, groups=2)
    theirs = TORCH[axes](4, 6, 3, stride=2, output_padding=1, groups=2)
    ours(x)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x), last(theirs(first(x))), rtol=1e-5, atol=1e-5)
    theirs.load_state_dict(built(ours, x).state_dict())
    torch.testing.assert_close(ours(x), last(theirs(first(x))), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_arrays_have_keras_layout(axes: int) -> None:
    kernel = (2, 3, 4)[:axes]
    layer = PAIRS[axes][0](5, kernel)
    layer(torch.zeros(1, *(4,) * axes, 3))
    weight, bias = layer.get_weights()
    assert (weight.shape, bias.shape) == ((*kernel, 5, 3), (5,))
    at = (1,) * axes
    assert weight[(*at, 4, 2)] == layer.weight[(2, 4, *at)]


def test_activation_and_bias_reach_every_position() -> None:
    layer = Conv2DTranspose(2, 1, 3, activation="sigmoid", bias_initializer="ones")
    y = layer(torch.zeros(1, 2, 2, 1))
    assert y.shape == (1, 6, 6, 2)
    torch.testing.assert_close(y, torch.full_like(y, 1 / (1 + np.exp(-1.0))))


def test_the_receptive_field_shrinks_the_step() -> None:
    assert Conv2DTranspose(1, 4, 2).window() == (2, 0.5)
    assert Conv2DTranspose(1, 5, 2).window() == (3, 0.5)


def test_wrong_arguments_and_shapes() -> None:
    with pytest.raises(ConfigError, match="no padding 'causal'"):
        Conv1DTranspose(2, 3, padding="causal")
    with pytest.raises(ConfigError, match="output_padding"):
        Conv2DTranspose(2, 3, 2, output_padding=(1, -1))
    with pytest.raises(ShapeError, match="cannot split 3 channels into 2 groups"):
        Conv2DTranspose(2, 3, groups=2)(torch.zeros(1, 4, 4, 3))
    with pytest.raises(ShapeError, match="nothing is left"):
        Conv1DTranspose(2, 2, 2, "same", output_padding=0)(torch.zeros(1, 1, 3))
