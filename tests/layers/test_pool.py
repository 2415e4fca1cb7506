from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.errors import ConfigError, ShapeError
from corecur.layers import LAYERS
from corecur.layers.pool import AveragePooling2D, MaxPooling2D
from corecur.layers.symbolic import SymbolicTensor

from .reference import draw, pool, tensor

REDUCTIONS: dict[str, Any] = {"Max": np.max, "Average": np.mean}


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from([1, 1, 2, 2, 2, 3]), st.sampled_from(["Max", "Average"]))
def test_windows_are_those_of_the_loops(data: st.DataObject, axes: int, kind: str) -> None:
    def numbers(least: int, most: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(least, most)) for _ in range(axes))

    padding = data.draw(st.sampled_from(["valid", "same"]))
    size = numbers(1, 5)
    strides = data.draw(st.one_of(st.none(), st.just(numbers(1, 4))))
    sizes = tuple(n + (k - 1 if padding == "valid" else 0) for n, k in zip(numbers(1, 6), size, strict=True))
    x = draw(2, *sizes, 2)
    layer = LAYERS[f"{kind}Pooling{axes}D"](size, strides, padding)
    expected = pool(x, size=size, strides=strides or size, padding=padding, reduce=REDUCTIONS[kind])
    np.testing.assert_allclose(layer(tensor(x)).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_global_pooling_reduces_the_spatial_axes(axes: int, keepdims: bool, kind: str) -> None:
    x = draw(2, *(4, 5, 3)[:axes], 3)
    layer = LAYERS[f"Global{kind}Pooling{axes}D"](keepdims=keepdims)
    expected = REDUCTIONS[kind](x, axis=tuple(range(1, axes + 1)), keepdims=keepdims)
    np.testing.assert_allclose(layer(tensor(x)).numpy(), expected, rtol=0, atol=1e-12)
    assert layer.window() is None


def test_padding_does_not_count_in_the_average_and_never_wins_the_maximum() -> None:
    x = torch.full((1, 3, 3, 1), -2.0)
    for layer in (AveragePooling2D(2, padding="same"), MaxPooling2D(2, 1, "same")):
        y = layer(x)
        assert torch.equal(y, torch.full_like(y, -2.0))


def test_gradients_at_the_padded_ends() -> None:
    x = tensor(draw(2, 5, 4, 2)).requires_grad_()
    for cls in (MaxPooling2D, AveragePooling2D):
        for strides in (1, 2, 3):
            assert torch.autograd.gradcheck(cls((2, 3), strides, "same"), (x,), fast_mode=True)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_images_are_not_copied_on_the_way(padding: Any) -> None:
    for cls in (MaxPooling2D, AveragePooling2D):
        assert cls(2, padding=padding)(torch.randn(2, 8, 8, 3)).is_contiguous()


def test_strides_are_the_window_unless_given() -> None:
    assert MaxPooling2D((2, 3)).window() == (2, 2)
    assert MaxPooling2D((2, 3))(torch.zeros(1, 6, 6, 1)).shape == (1, 3, 2, 1)
    assert MaxPooling2D(2, strides=3).get_config()["strides"] == 3


def test_a_window_larger_than_the_image_is_explained() -> None:
    with pytest.raises(ShapeError, match=r"(?s)window covers 4 positions, the input has 3.*\(2, 5, 3, 1\)"):
        MaxPooling2D(4)(torch.zeros(2, 5, 3, 1))
    with pytest.raises(ShapeError, match=r"\(None, 3, 3, 1\)"):
        MaxPooling2D(4, name="late")(SymbolicTensor((None, 3, 3, 1)))


@pytest.mark.parametrize("arguments", [{"pool_size": 0}, {"pool_size": (2,)}, {"strides": -1}, {"padding": "causal"}])
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="MaxPooling2D"):
        MaxPooling2D(**arguments)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("kind", REDUCTIONS)
def test_sequences_without_steps_give_zeros(kind: str, keepdims: bool, masked: bool) -> None:
    layer = LAYERS[f"Global{kind}Pooling1D"](keepdims=keepdims)
    for rows in (0, 2):
        y = layer(torch.zeros(rows, 0, 3), mask=torch.ones(rows, 0, dtype=torch.bool) if masked else None)
        assert torch.equal(y, torch.zeros((rows, 1, 3) if keepdims else (rows, 3)))
