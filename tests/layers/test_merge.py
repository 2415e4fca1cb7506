from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError, ShapeError
from corecur.layers import LAYERS
from corecur.layers.merge import Add, Concatenate, Dot, Subtract
from corecur.layers.symbolic import SymbolicTensor

from .reference import draw, tensor

FORMULAS: dict[str, Any] = {
    "Add": lambda a, b, c: a + b + c,
    "Multiply": lambda a, b, c: a * b * c,
    "Average": lambda a, b, c: (a + b + c) / 3,
    "Maximum": lambda a, b, c: np.maximum(np.maximum(a, b), c),
    "Minimum": lambda a, b, c: np.minimum(np.minimum(a, b), c),
    "Concatenate": lambda a, b, c: np.concatenate([a, b, c], axis=-1),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_three_inputs_follow_the_formula(name: str) -> None:
    arrays = [draw(2, 4, 3, seed=seed) for seed in range(3)]
    got = LAYERS[name]()([tensor(a) for a in arrays])
    np.testing.assert_allclose(got, FORMULAS[name](*arrays), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in FORMULAS if n != "Concatenate"])
def test_sizes_of_one_are_repeated(name: str) -> None:
    arrays = [draw(2, 4, 3), draw(2, 1, 3, seed=1), draw(2, 4, 1, seed=2)]
    layer = LAYERS[name]()
    np.testing.assert_allclose(layer([tensor(a) for a in arrays]), FORMULAS[name](*arrays), rtol=0, atol=1e-12)
    assert layer([SymbolicTensor((None, 4, 3)), SymbolicTensor((None, 1, 3))]).shape == (None, 4, 3)


@pytest.mark.parametrize("name", FORMULAS)
def test_one_input_is_enough(name: str) -> None:
    x = torch.randn(2, 3)
    torch.testing.assert_close(LAYERS[name]()([x]), x)


def test_subtract_takes_the_second_from_the_first() -> None:
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(Subtract()([a, b]), a - b)
    with pytest.raises(ShapeError, match="Subtract takes 2 inputs"):
        Subtract()([a, b, a])


@pytest.mark.parametrize("axis", [1, 2, -1, -2, 0])
def test_concatenate_along_any_axis(axis: int) -> None:
    a, b = draw(2, 4, 3), draw(2, 4, 3, seed=1)
    np.testing.assert_array_equal(Concatenate(axis)([tensor(a), tensor(b)]), np.concatenate([a, b], axis))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    ("axes", "a", "b", "formula"),
    [
        (1, (5, 3), (5, 3), "bi,bi->b"),
        (2, (5, 4, 3), (5, 6, 3), "bis,bjs->bij"),
        ((1, 2), (5, 3, 4), (5, 6, 3), "bsi,bjs->bij"),
        (-1, (5, 4, 3), (5, 3), "bis,bs->bi"),
    ],
)
def test_dot_sums_over_the_axes(axes: Any, a: Any, b: Any, formula: str, normalize: bool) -> None:
    x, y = draw(*a), draw(*b, seed=1)
    pair = (axes, axes) if isinstance(axes, int) else axes
    u, v = x, y
    if normalize:
        u, v = (t / np.linalg.norm(t, axis=s, keepdims=True) for t, s in zip((x, y), pair, strict=True))
    expected = np.einsum(formula, u, v)
    got = Dot(axes, normalize=normalize)([tensor(x), tensor(y)]).numpy()
    np.testing.assert_allclose(got, expected[:, None] if expected.ndim == 1 else expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_shapes_that_do_not_fit_are_named(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"(?s)layer 'm' \({name}\).*\(2, 4, 3\) and \(2, 5, 2\)"):
        LAYERS[name](name="m")([torch.zeros(2, 4, 3), torch.zeros(2, 5, 2)])
    with pytest.raises(ShapeError, match=r"\(None, 4, 3\) and \(None, 5, 2\)"):
        LAYERS[name]()([SymbolicTensor((None, 4, 3)), SymbolicTensor((None, 5, 2))])
    with pytest.raises(ShapeError, match=r"\(2, 4, 3\) and \(2, 12\)"):
        LAYERS[name]()([torch.zeros(2, 4, 3), torch.zeros(2, 12)])


def test_a_shared_layer_still_checks_its_later_calls() -> None:
    layer = Add()
    layer([torch.zeros(2, 3), torch.zeros(2, 3)])
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(2, 4\)"):
        layer([torch.zeros(2, 3), torch.zeros(2, 4)])
    with pytest.raises(ShapeError, match=r"\(None, 3\) and \(None, 4\)"):
        layer([SymbolicTensor((None, 3)), SymbolicTensor((None, 4))])


def test_tensors_not_in_a_list() -> None:
    for _ in range(2):
        with pytest.raises(ShapeError, match=r"(?s)Add takes a list of tensors.*Add\(\)\(\[a, b\]\)"):
            Add()(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="at least 1"):
        Add()([])


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigError, match="Concatenate needs an axis"):
        Concatenate("last")
    with pytest.raises(ConfigError, match="Dot needs the axes"):
        Dot((0, 1))
    with pytest.raises(ShapeError, match=r"equal sizes along axes \(1, 1\)"):
        Dot(1)([torch.zeros(2, 3), torch.zeros(2, 4)])
