from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.conv import Conv1D, Conv2D, Conv3D, each_axis

from .reference import built, convolve, draw, first, last, tensor

CONVS: dict[int, Any] = {1: Conv1D, 2: Conv2D, 3: Conv3D}
TORCH: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@st.composite
def cases(choose: st.DrawFn, axes: int) -> dict[str, Any]:
    def numbers(most: int) -> tuple[int, ...]:
        return tuple(choose(st.integers(1, most)) for _ in range(axes))

    kernel, dilation, groups = numbers(4), numbers(2), choose(st.sampled_from([1, 1, 2]))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    padding = choose(st.sampled_from(["valid", "same", "causal"] if axes == 1 else ["valid", "same"]))
    least = reach if padding == "valid" else [1] * axes
    return {
        "kernel_size": kernel,
        "dilation": dilation,
        "strides": numbers(3),
        "padding": padding,
        "groups": groups,
        "sizes": tuple(n + choose(st.integers(0, 4)) for n in least),
        "channels": groups * choose(st.integers(1, 2)),
        "filters": groups * choose(st.integers(1, 2)),
    }


def check_against_loops(axes: int, case: dict[str, Any]) -> None:
    x = draw(2, *case["sizes"], case["channels"])
    layer = CONVS[axes](
        case["filters"], case["kernel_size"], case["strides"], case["padding"],
        dilation_rate=case["dilation"], groups=case["groups"],
    )  # fmt: skip
    built(layer, tensor(x))
    expected = convolve(
        x, layer.weight.detach().numpy(), strides=case["strides"], dilation=case["dilation"], padding=case["padding"],
        groups=case["groups"],
    )  # fmt: skip
    expected += layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(tensor(x)).detach().numpy(), expected, rtol=0, atol=1e-12)


@settings(max_examples=35, deadline=None)
@given(cases(1))
def test_conv1d_is_the_sum_in_loops(case: dict[str, Any]) -> None:
    check_against_loops(1, case)


@settings(max_examples=35, deadline=None)
@given(cases(2))
def test_conv2d_is_the_sum_in_loops(case: dict[str, Any]) -> None:
    check_against_loops(2, case)


@settings(max_examples=10, deadline=None)
@given(cases(3))
def test_conv3d_is_the_sum_in_loops(case: dict[str, Any]) -> None:
    check_against_loops(3, case)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
def test_float32_agrees_with_float64_loops(padding: Any, strides: int) -> None:
    x = draw(2, 9, 8, 3)
    layer = built(Conv2D(5, (3, 2), strides, padding), torch.from_numpy(x))
    expected = convolve(
        x, layer.weight.detach().numpy(), strides=(strides,) * 2, dilation=(1, 1), padding=padding
    ) + layer.bias.detach().numpy()  # fmt: skip
    got = layer.float()(torch.from_numpy(x).float())
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3), (1, 2)])
def test_flip_kernel_is_the_convolution_of_the_formula(shape: tuple[int, int]) -> None:
    rows, columns = shape
    layer = built(Conv2D(1, shape, flip_kernel=True, use_bias=False), torch.zeros(1, 6, 5, 1, dtype=torch.float64))
    x, w = draw(6, 5), layer.weight.detach().numpy()[0, 0]
    y = np.zeros((6, 5))  # y(i, j) = sum over p, q of x(i - p, j - q) w(p, q)
    for i, j, p, q in np.ndindex(6, 5, rows, columns):
        if i - p >= 0 and j - q >= 0:
            y[i, j] += x[i - p, j - q] * w[p, q]
    got = layer(tensor(x[None, ..., None])).detach().numpy()[0, ..., 0]
    np.testing.assert_allclose(got, y[rows - 1 :, columns - 1 :], rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_flip_kernel_differs_from_correlation_by_the_turned_weight_only(axes: int) -> None:
    x = tensor(draw(2, *(5,) * axes, 3))
    flipped = built(CONVS[axes](4, 2, padding="same", flip_kernel=True), x)
    plain = built(CONVS[axes](4, 2, padding="same"), x)
    with torch.no_grad():
        plain.weight.copy_(flipped.weight.flip(*range(2, 2 + axes)))
    torch.testing.assert_close(flipped(x), plain(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_weights_move_to_and_from_torch_as_they_are(axes: int) -> None:
    x = torch.randn(2, *(6,) * axes, 4)
    ours = CONVS[axes](6, 3, 2, dilation_rate=2, groups=2)
    theirs = TORCH[axes](4, 6, 3, stride=2, dilation=2, groups=2)
    ours(x)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(x), last(theirs(first(x))), rtol=1e-5, atol=1e-5)
    theirs.load_state_dict(built(ours, x).state_dict())
    torch.testing.assert_close(ours(x), last(theirs(first(x))), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_arrays_have_keras_layout(axes: int) -> None:
    kernel = (2, 3, 4)[:axes]
    layer = CONVS[axes](5, kernel, padding="same")
    layer(torch.zeros(1, *(4,) * axes, 3))
    weight, bias = layer.get_weights()
    assert (weight.shape, bias.shape) == ((*kernel, 3, 5), (5,))
    at = (1,) * axes
    assert weight[(*at, 2, 4)] == layer.weight[(4, 2, *at)]


def test_same_outputs_are_the_ceiling_and_the_odd_zero_comes_last() -> None:
    layer = Conv1D(1, 3, 2, "same", use_bias=False, kernel_initializer="ones")
    # zeros after only: windows (1, 2, 3), (3, 4, 0)
    assert layer(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]])).flatten().tolist() == [6.0, 7.0]


def test_causal_sees_only_the_past() -> None:
    layer = Conv1D(2, 3, padding="causal", dilation_rate=2)
    x = torch.randn(1, 9, 3)
    before = layer(x)
    changed = x.clone()
    changed[:, 5:] += 1
    torch.testing.assert_close(layer(changed)[:, :5], before[:, :5])
    assert not torch.allclose(layer(changed)[:, 5:], before[:, 5:])


def test_images_are_not_copied_on_the_way() -> None:
    layer = Conv2D(4, 3, padding="same", activation="relu")
    y = layer(torch.randn(2, 8, 8, 3))
    assert y.is_contiguous()
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "arguments",
    [
        {"filters": 0},
        {"filters": 2.5},
        {"kernel_size": 0},
        {"kernel_size": "3"},
        {"kernel_size": 3.0},
        {"kernel_size": (3, 3, 3)},
        {"strides": 0},
        {"strides": (1, True)},
        {"dilation_rate": -1},
        {"padding": "full"},
        {"padding": "causal"},
        {"groups": 0},
        {"groups": 3},
        {"activation": "rellu"},
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Conv2D(**{"filters": 4, "kernel_size": 3, **arguments})


def test_a_mistyped_activation_meets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'relu'"):
        Conv2D(4, 3, activation="rellu")


def test_channels_that_do_not_split() -> None:
    with pytest.raises(ShapeError, match=r"Conv2D cannot split 3 channels into 2 groups"):
        Conv2D(4, 3, groups=2)(torch.zeros(1, 5, 5, 3))


def test_a_kernel_larger_than_the_image_is_explained() -> None:
    with pytest.raises(ShapeError, match=r"(?s)reaches over 5 positions.*\(1, 8, 4, 3\).*padding=\"same\""):
        Conv2D(4, 3, dilation_rate=2)(torch.zeros(1, 8, 4, 3))


def test_channels_first_images_get_the_remedy() -> None:
    layer = Conv2D(4, 3)
    layer(torch.zeros(1, 8, 8, 3))
    with pytest.raises(ShapeError, match=r"x\.permute\(0, 2, 3, 1\)"):
        layer(torch.zeros(1, 3, 8, 8))


def test_each_axis_takes_lists_from_json() -> None:
    assert each_axis([3, 2], 2, what="kernel_size") == (3, 2)
