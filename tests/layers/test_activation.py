from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers.activation import (
    ACTIVATIONS,
    ELU,
    Activation,
    LeakyReLU,
    PReLU,
    ReLU,
    Softmax,
    find_activation,
    in_place,
)
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.symbolic import SymbolicTensor

from .reference import Array, draw, tensor


def soft(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def logistic(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

#: The formulas of Keras' documentation.
FORMULAS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x)),
    "celu": lambda x: np.maximum(x, 0) + np.minimum(0, np.expm1(x)),
    "gelu": lambda x: x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * logistic(x),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sigmoid": logistic,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "softmax": soft,
    "log_softmax": lambda x: np.log(soft(x)),
    "exponential": np.exp,
}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_follows_its_formula(name: str) -> None:
    x = 4 * draw(3, 5, 7)
    np.testing.assert_allclose(Activation(name)(tensor(x)), FORMULAS[name](x), rtol=1e-9, atol=1e-12)


def test_names_in_any_spelling_functions_and_nothing() -> None:
    assert find_activation("LeakyReLU") is ACTIVATIONS["leaky_relu"]
    assert find_activation("swish") is ACTIVATIONS["silu"]
    assert find_activation(torch.cos) is torch.cos
    x = torch.randn(3)
    assert find_activation(None)(x) is x
    with pytest.raises(ConfigError, match="did you mean 'sigmoid'"):
        find_activation("sigmiod")
    with pytest.raises(ConfigError, match="a name or a function"):
        find_activation(3)


@pytest.mark.parametrize("max_value", [None, 1.5])
@pytest.mark.parametrize("slope", [0.0, 0.1])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_relu_follows_keras_definition(max_value: float | None, slope: float, threshold: float) -> None:
    x = np.concatenate([2 * draw(40), [0.0, 0.5, 1.5]])[None]
    expected = np.where(x >= threshold, x, slope * (x - threshold))
    expected = expected if max_value is None else np.where(x >= max_value, max_value, expected)
    layer = ReLU(max_value, negative_slope=slope, threshold=threshold)
    np.testing.assert_allclose(layer(tensor(x)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("what", ["max_value", "negative_slope", "threshold"])
def test_relu_refuses_negative_arguments(what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        ReLU(**{what: -1.0})


def test_leaky_relu_and_elu_are_torchs_with_keras_defaults() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(LeakyReLU()(x), nn.LeakyReLU(0.3)(x))
    assert torch.equal(ELU()(x), nn.ELU(1.0)(x))
    assert torch.equal(ELU(0.5)(x), nn.ELU(0.5)(x))


def test_prelu_is_torchs_with_a_slope_for_each_channel() -> None:
    x = torch.randn(2, 5, 4, 3)
    ours, theirs = PReLU("random_normal", shared_axes=(1, 2)), nn.PReLU(3)
    ours(x)
    assert ours.alpha.shape == (1, 1, 3)
    with torch.no_grad():
        theirs.weight.copy_(ours.alpha.flatten())
    torch.testing.assert_close(ours(x), theirs(x.movedim(-1, 1)).movedim(1, -1))


def test_prelu_has_a_slope_for_each_position_unless_shared() -> None:
    x = draw(2, 3, 4)
    layer = PReLU("random_normal", alpha_regularizer="l2")
    layer(torch.zeros(1, 3, 4))
    layer.double()
    (alpha,) = layer.get_weights()
    assert alpha.shape == (3, 4)
    np.testing.assert_allclose(layer(tensor(x)).detach(), np.where(x > 0, x, alpha * x), rtol=0, atol=1e-12)
    np.testing.assert_allclose(layer.penalty().item(), 0.01 * (alpha**2).sum())


def test_prelu_refuses_other_shapes() -> None:
    layer = PReLU(shared_axes=(1,), name="p")
    layer(torch.zeros(2, 5, 4))
    assert layer(torch.zeros(2, 9, 4)).shape == (2, 9, 4)
    with pytest.raises(ShapeError, match=r"layer 'p' \(PReLU\)"):
        layer(torch.zeros(2, 5, 3))
    with pytest.raises(ShapeError, match="shared_axes"):
        PReLU()(SymbolicTensor((None, None, 4)))
    with pytest.raises(ConfigError, match="no axis 3"):
        PReLU(shared_axes=(3,))(torch.zeros(2, 5, 4))


def test_softmax_over_another_axis() -> None:
    x = draw(2, 3, 4)
    got = Softmax(1)(tensor(x))
    np.testing.assert_allclose(got, np.swapaxes(soft(np.swapaxes(x, 1, 2)), 1, 2), rtol=0, atol=1e-12)
    assert not hasattr(got, "logits")


@pytest.mark.parametrize("layer", [Softmax(), Softmax(1), Activation("softmax"), Activation("sigmoid")])
def test_logits_stay_on_the_output(layer: Any) -> None:
    x = torch.randn(3, 4)
    assert layer(x).logits is x


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_in_place_gives_values_and_gradients_of_the_function_over_its_input(name: str) -> None:
    function = find_activation(name)
    twin = in_place(function)
    assert twin is not None
    results = []
    for apply in (function, twin):
        x = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
        product = x * 1.5
        y = apply(product)
        assert (y is product) == (apply is twin)
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        results.append((y.detach(), gradient))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_in_place_is_for_functions_of_single_elements_known_by_identity() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x

    assert in_place(find_activation("softmax")) is None
    assert in_place(find_activation(None)) is None
    assert in_place(Unhashable()) is None


@pytest.mark.parametrize(
    "layer", [lambda: Conv2D(3, 2, activation="relu"), lambda: Dense(3, "relu")], ids=["conv", "dense"]
)
def test_layers_that_activate_in_place_leave_their_input_alone(layer: Callable[[], Any]) -> None:
    made, x = layer(), torch.randn(2, 4, 4, 3)
    before = x.clone()
    y = made(x)
    assert torch.equal(x, before)
    assert (y >= 0).all() and (y == 0).any()
