"""SimpleRNN: against the reference, any activation, and the error for an unknown one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError
from corecur.kernels.choose import last_path
from corecur.kernels.library import info
from corecur.kernels.reference import backward, forward
from corecur.layers import SimpleRNN, SimpleRNNCell
from corecur.layers.activation import ACTIVATIONS, find_activation

from .sequences import MASK, listed, made, poisoned


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_it_is_the_reference(activation: str) -> None:
    layer = made(f"simple {activation}", return_sequences=True, return_state=True)
    x = poisoned(MASK)
    weights = {name.removesuffix("_l0"): p.detach().numpy() for name, p in layer.named_parameters()}
    done = forward("simple_rnn", x.numpy(), weights, mask=MASK.numpy(), activation=activation)
    leaf = x.clone().requires_grad_()
    outputs, h = listed(layer(leaf, mask=MASK))
    np.testing.assert_allclose(outputs.detach(), done.outputs, atol=1e-12)
    np.testing.assert_allclose(h.detach(), done.state[0], atol=1e-12)
    (outputs.sin().sum() + h.square().sum()).backward()
    dx, _, dw = backward(done, np.cos(done.outputs), [2 * done.state[0]])
    np.testing.assert_allclose(leaf.grad, dx, atol=1e-11)
    for name, gradient in dw.items():
        np.testing.assert_allclose(getattr(layer, f"{name}_l0").grad, gradient, atol=1e-11)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_activation(name: str) -> None:
    torch.manual_seed(0)
    layer, x = SimpleRNN(4, name, return_sequences=True), torch.randn(2, 3, 3)
    y = layer(x)
    known = "native" if info().isa else "fused"
    assert (last_path() or pytest.fail()).kernel == (known if name in ("tanh", "relu") else "scripted loop")
    h, phi = torch.zeros(2, 4), find_activation(name)
    for t in range(3):
        a = x[:, t] @ layer.weight_ih_l0.T + layer.bias_ih_l0
        h = phi(a + h @ layer.weight_hh_l0.T + layer.bias_hh_l0)
        torch.testing.assert_close(y[:, t], h.as_subclass(torch.Tensor), rtol=1e-4, atol=1e-5)


def test_a_function_of_ones_own() -> None:
    layer = SimpleRNN(4, lambda values: values.clamp(-1, 1))
    assert layer(10 * torch.randn(2, 3, 3)).abs().max() <= 1
    assert (last_path() or pytest.fail()).kernel == "python loop"


def test_no_activation_is_the_identity() -> None:
    layer = SimpleRNN(4, None, use_bias=False)
    x = torch.randn(2, 2, 3)
    y = layer(x)
    inner = x[:, 0] @ layer.weight_ih_l0.T
    torch.testing.assert_close(y, x[:, 1] @ layer.weight_ih_l0.T + inner @ layer.weight_hh_l0.T)


@pytest.mark.parametrize("kind", [SimpleRNN, SimpleRNNCell])
def test_an_unknown_activation_is_named(kind: type) -> None:
    with pytest.raises(ConfigError, match=r"(?s)unknown activation 'than'.*did you mean 'tanh'"):
        kind(4, activation="than")
