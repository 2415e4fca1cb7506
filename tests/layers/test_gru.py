"""GRU: both forms against the reference, with masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.kernels.reference import backward, forward
from corecur.layers import GRU, GRUCell

from .sequences import MASK, listed, made, poisoned


@pytest.mark.parametrize(("kind", "reference"), [("gru", "gru"), ("gru classic", "classic_gru")])
def test_it_is_the_reference(kind: str, reference: str) -> None:
    layer = made(kind, return_sequences=True, return_state=True)
    x = poisoned(MASK)
    weights = {name.removesuffix("_l0"): p.detach().numpy() for name, p in layer.named_parameters()}
    done = forward(reference, x.numpy(), weights, mask=MASK.numpy())
    leaf = x.clone().requires_grad_()
    outputs, h = listed(layer(leaf, mask=MASK))
    np.testing.assert_allclose(outputs.detach(), done.outputs, atol=1e-12)
    np.testing.assert_allclose(h.detach(), done.state[0], atol=1e-12)
    (outputs.sin().sum() + h.square().sum()).backward()
    dx, _, dw = backward(done, np.cos(done.outputs), [2 * done.state[0]])
    np.testing.assert_allclose(leaf.grad, dx, atol=1e-11)
    for name, gradient in dw.items():
        np.testing.assert_allclose(getattr(layer, f"{name}_l0").grad, gradient, atol=1e-11)


def test_the_forms_differ_where_the_reset_gate_acts() -> None:
    x = torch.randn(2, 5, 3)
    after, before = GRU(4), GRU(4, reset_after=False)
    after(x)
    before(x)
    before.load_state_dict(after.state_dict())
    assert not torch.allclose(after(x), before(x), atol=1e-3)
    with torch.no_grad():  # an open reset gate does nothing in either
        for layer in (after, before):
            layer.bias_ih_l0[:4] = 50.0
    torch.testing.assert_close(after(x), before(x))


def test_the_second_articles_equations_keep_nothing_past_a_reset() -> None:
    """With its extra r ⊙, a closed reset gate forgets whatever the update gate says; the GRU keeps the state."""
    layer = GRU(4, reset_after=False)
    layer(torch.zeros(1, 1, 3))
    with torch.no_grad():
        layer.bias_ih_l0[:4] = -50.0  # r = 0
        layer.bias_ih_l0[4:8] = 50.0  # z = 1: all of the old state
    h = torch.randn(2, 4)
    torch.testing.assert_close(layer(torch.randn(2, 3, 3), initial_state=h), h)
    r, z, kept = 0.0, 1.0, h
    articles = (1 - (1 - z)) * r * kept  # its z is 1 - z
    assert not articles.any()


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_layer_is_its_cell_over_time(reset_after: bool) -> None:
    x = torch.randn(2, 5, 3)
    layer, cell = GRU(4, reset_after=reset_after, return_sequences=True), GRUCell(4, reset_after=reset_after)
    layer(x)
    cell(x[:, 0])
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    states, outputs = None, []
    for t in range(5):
        output, states = cell(x[:, t], states)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs, 1), layer(x))


@pytest.mark.parametrize("reset_after", [True, False])
def test_biases_as_arrays(reset_after: bool) -> None:
    layer = GRU(4, reset_after=reset_after)
    layer(torch.zeros(1, 2, 3))
    assert layer.get_weights()[2].shape == ((2, 12) if reset_after else (12,))
