"""The reference against finite differences, torch's autograd and each sequence alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corecur.kernels.reference import REFERENCES, Arrays, backward, forward, train_step

KINDS = sorted(REFERENCES)
every_kind = pytest.mark.parametrize("kind", KINDS)


def weights(kind: str, *, features: int = 3, units: int = 4, seed: int = 0) -> Arrays:
    random = np.random.default_rng(seed)
    rows = REFERENCES[kind].gates * units
    shapes = {"weight_ih": (rows, features), "weight_hh": (rows, units), "bias_ih": (rows,), "bias_hh": (rows,)}
    return {name: random.uniform(-0.8, 0.8, shape) for name, shape in shapes.items()}


def objective(kind: str, x: Any, w: Arrays, state: Any, mask: Any, c: Any, d: Any, activation: str) -> float:
    done = forward(kind, x, w, state=state, mask=mask, activation=activation)
    return float((done.outputs * c).sum() + sum((s * e).sum() for s, e in zip(done.state, d, strict=True)))


@pytest.mark.parametrize(("kind", "activation"), [*((kind, "tanh") for kind in KINDS), ("simple_rnn", "relu")])
def test_gradients_are_those_of_finite_differences(kind: str, activation: str) -> None:
    random = np.random.default_rng(1)
    w, states = weights(kind), REFERENCES[kind].states
    x, mask = random.normal(size=(3, 4, 3)), np.array([[1, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]], dtype=bool)
    state = [random.normal(size=(3, 4)) for _ in range(states)]
    c, d = random.normal(size=(3, 4, 4)), [random.normal(size=(3, 4)) for _ in range(states)]
    done = forward(kind, x, w, state=state, mask=mask, activation=activation)
    dx, d_state, dw = backward(done, c, d)
    pairs = [(x, dx), *zip(state, d_state, strict=True), *((w[name], dw[name]) for name in w)]
    for values, gradient in pairs:
        for place in np.ndindex(values.shape):
            kept = values[place]
            sides = []
            for change in (1e-6, -1e-6):
                values[place] = kept + change
                sides.append(objective(kind, x, w, state, mask, c, d, activation))
            values[place] = kept
            assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(gradient[place], abs=1e-7)


@pytest.mark.parametrize(
    ("kind", "module"), [("simple_rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)], ids=lambda value: str(value)
)
def test_outputs_and_gradients_are_those_of_torch(kind: str, module: Any) -> None:
    w, x = weights(kind), np.random.default_rng(2).normal(size=(2, 5, 3))
    layer = module(3, 4, batch_first=True).double()
    layer.load_state_dict({f"{name}_l0": torch.from_numpy(value) for name, value in w.items()})
    xt = torch.from_numpy(x).requires_grad_()
    y, last = layer(xt)
    done = forward(kind, x, w)
    np.testing.assert_allclose(done.outputs, y.detach().numpy(), atol=1e-12)
    for ours, theirs in zip(done.state, last if kind == "lstm" else (last,), strict=True):
        np.testing.assert_allclose(ours, theirs[0].detach().numpy(), atol=1e-12)
    y.sin().sum().backward()
    dx, _, dw = backward(done, np.cos(done.outputs))
    np.testing.assert_allclose(dx, xt.grad.numpy(), atol=1e-12)  # type: ignore[union-attr]
    for name, value in dw.items():
        np.testing.assert_allclose(value, getattr(layer, f"{name}_l0").grad.numpy(), atol=1e-12)


@every_kind
def test_masked_steps_are_as_if_they_were_not_there(kind: str) -> None:
    w, x = weights(kind), np.random.default_rng(3).normal(size=(1, 5, 3))
    mask = np.array([[False, True, False, True, False]])
    x[~mask] = np.nan
    done, alone = forward(kind, x, w, mask=mask), forward(kind, x[:, [1, 3]], w)
    np.testing.assert_allclose(done.outputs[:, [1, 3]], alone.outputs, atol=0)
    np.testing.assert_array_equal(done.outputs[:, 0], 0)
    np.testing.assert_array_equal(done.outputs[:, 4], done.outputs[:, 3])
    for ours, theirs in zip(done.state, alone.state, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_third_articles_network_learns_to_remember() -> None:
    """Each output is the input of two steps before: what the article's own ``train`` cannot learn."""
    random = np.random.default_rng(4)
    w = weights("simple_rnn", features=1, units=12, seed=5)
    w |= {"weight_hy": random.normal(size=(1, 12)) * 0.3, "bias_hy": np.zeros(1)}
    w["weight_hh"] *= 0.4
    x = random.choice([-0.5, 0.5], size=(64, 12, 1))
    y = np.concatenate([np.zeros((64, 2, 1)), x[:, :-2]], 1)
    errors = [train_step(x, y, w, rate=0.02) for _ in range(400)]
    assert errors[-1] < 0.02 < 0.2 < errors[0]


def test_its_gradient_is_that_of_autograd() -> None:
    random = np.random.default_rng(6)
    w = weights("simple_rnn") | {"weight_hy": random.normal(size=(2, 4)), "bias_hy": np.zeros(2)}
    x, y = random.normal(size=(3, 5, 3)), random.normal(size=(3, 5, 2))
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in w.items()}
    h, outputs = torch.zeros(3, 4, dtype=torch.float64), []
    for t in range(5):
        a = torch.from_numpy(x[:, t]) @ tensors["weight_ih"].T + tensors["bias_ih"]
        h = torch.tanh(a + h @ tensors["weight_hh"].T + tensors["bias_hh"])
        outputs.append(h @ tensors["weight_hy"].T + tensors["bias_hy"])
    (0.5 * (torch.stack(outputs, 1) - torch.from_numpy(y)).square().sum() / 3).backward()
    before = {name: value.copy() for name, value in w.items()}
    train_step(x, y, w, rate=1.0)
    for name, value in before.items():
        np.testing.assert_allclose(value - w[name], tensors[name].grad.numpy(), atol=1e-12)
