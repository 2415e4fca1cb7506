"""The recurrences in plain NumPy float64, forward and backward by hand: what every kernel is compared with.

B batch, T time, C features, H units, G gates · H. Weights have the names, shapes and gate order of ``torch.nn``
(``cell.py``). A masked step leaves the state as it is; its output repeats the last real one, zeros before the first.

It is also the third article's NumPy network put right: there the hidden state is multiplied by the output's weights,
each step overwrites it, and the gradient is that of no loss. ``train_step`` below is that network's ``train``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from corecur.names import Table

Array = np.ndarray[Any, np.dtype[np.float64]]
Arrays = dict[str, Array]
Tape = tuple[Any, ...]


def sigmoid(x: Array) -> Array:
    """The logistic function, for any size of ``x``.

    >>> float(sigmoid(np.array(-1000.0)))
    0.0
    """
    return np.exp(-np.logaddexp(0.0, -x))


#: An activation and its derivative, given the activation's value.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "relu": (lambda x: np.maximum(x, 0.0), lambda y: (y > 0).astype(np.float64)),
}


def _simple_rnn(a: Array, state: list[Array], w: Arrays, activation: str) -> tuple[list[Array], Tape]:
    h = ACTIVATIONS[activation][0](a + state[0] @ w["weight_hh"].T + w["bias_hh"])
    return [h], (state[0], h)


def _simple_rnn_back(d: list[Array], tape: Tape, w: Arrays, g: Arrays, activation: str) -> tuple[Array, list[Array]]:
    before, h = tape
    da = d[0] * ACTIVATIONS[activation][1](h)
    _add_product(g, da, before)
    return da, [da @ w["weight_hh"]]


def _lstm(a: Array, state: list[Array], w: Arrays, activation: str) -> tuple[list[Array], Tape]:
    h, c = state
    i, f, g, o = np.split(a + h @ w["weight_hh"].T + w["bias_hh"], 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    new = f * c + i * g
    return [o * np.tanh(new), new], (h, c, i, f, g, o, np.tanh(new))


def _lstm_back(d: list[Array], tape: Tape, w: Arrays, grads: Arrays, activation: str) -> tuple[Array, list[Array]]:
    h, c, i, f, g, o, y = tape
    dc = d[1] + d[0] * o * (1 - y * y)
    da = np.concatenate(
        [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), d[0] * y * o * (1 - o)], axis=1
    )  # (B, 4H)
    _add_product(grads, da, h)
    return da, [da @ w["weight_hh"], dc * f]


def _gru(a: Array, state: list[Array], w: Arrays, activation: str) -> tuple[list[Array], Tape]:
    h = state[0]
    a_r, a_z, a_n = np.split(a, 3, axis=1)
    u_r, u_z, u_n = np.split(h @ w["weight_hh"].T + w["bias_hh"], 3, axis=1)
    r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
    n = np.tanh(a_n + r * u_n)
    return [(1 - z) * n + z * h], (h, r, z, n, u_n)


def _gru_back(d: list[Array], tape: Tape, w: Arrays, grads: Arrays, activation: str) -> tuple[Array, list[Array]]:
    h, r, z, n, u_n = tape
    dn = d[0] * (1 - z) * (1 - n * n)
    dr, dz = dn * u_n * r * (1 - r), d[0] * (h - n) * z * (1 - z)
    du = np.concatenate([dr, dz, dn * r], axis=1)  # (B, 3H): what flows into the recurrent product
    _add_product(grads, du, h)
    return np.concatenate([dr, dz, dn], axis=1), [d[0] * z + du @ w["weight_hh"]]


def _classic_gru(a: Array, state: list[Array], w: Arrays, activation: str) -> tuple[list[Array], Tape]:
    h = state[0]
    w_r, w_z, w_n = np.split(w["weight_hh"], 3)
    a_r, a_z, a_n = np.split(a + w["bias_hh"], 3, axis=1)
    r, z = sigmoid(a_r + h @ w_r.T), sigmoid(a_z + h @ w_z.T)
    n = np.tanh(a_n + (r * h) @ w_n.T)
    return [(1 - z) * n + z * h], (h, r, z, n)


def _classic_gru_back(
    d: list[Array], tape: Tape, w: Arrays, grads: Arrays, activation: str
) -> tuple[Array, list[Array]]:
    h, r, z, n = tape
    w_r, w_z, w_n = np.split(w["weight_hh"], 3)
    dn = d[0] * (1 - z) * (1 - n * n)
    through = dn @ w_n  # (B, H): what flows into r ⊙ h
    dr, dz = through * h * r * (1 - r), d[0] * (h - n) * z * (1 - z)
    grads["weight_hh"] += np.concatenate([dr.T @ h, dz.T @ h, dn.T @ (r * h)])
    da = np.concatenate([dr, dz, dn], axis=1)
    grads["bias_hh"] += da.sum(0)
    return da, [d[0] * z + through * r + dr @ w_r + dz @ w_z]


def _add_product(grads: Arrays, d: Array, h: Array) -> None:
    """The gradients of ``h W_hh^T + b_hh`` whose own gradient is ``d`` (B, G)."""
    grads["weight_hh"] += d.T @ h
    grads["bias_hh"] += d.sum(0)


@dataclass(frozen=True)
class Reference:
    """A kind: one step forward, the same step backward, and the number of its states and gates."""

    forward: Callable[[Array, list[Array], Arrays, str], tuple[list[Array], Tape]]
    backward: Callable[[list[Array], Tape, Arrays, Arrays, str], tuple[Array, list[Array]]]
    states: int
    gates: int


REFERENCES: Table[Reference] = Table(
    "recurrence",
    {
        "simple_rnn": Reference(_simple_rnn, _simple_rnn_back, 1, 1),
        "lstm": Reference(_lstm, _lstm_back, 2, 4),
        "gru": Reference(_gru, _gru_back, 1, 3),
        "classic_gru": Reference(_classic_gru, _classic_gru_back, 1, 3),
    },
)


@dataclass(frozen=True)
class Pass:
    """One pass over a batch: outputs (B, T, H), last states, and what the way back needs."""

    outputs: Array
    state: list[Array]
    kind: str
    activation: str
    x: Array
    weights: Arrays
    mask: np.ndarray[Any, np.dtype[np.bool_]]
    tapes: list[Tape]


def forward(
    kind: str,
    x: Array,
    weights: Arrays,
    *,
    state: list[Array] | None = None,
    mask: Any = None,
    activation: str = "tanh",
) -> Pass:
    """The recurrence over ``x`` (B, T, C), with ``mask`` (B, T) True at real steps.

    >>> w = {"weight_ih": np.eye(2), "weight_hh": np.eye(2), "bias_ih": np.zeros(2), "bias_hh": np.zeros(2)}
    >>> forward("simple_rnn", np.ones((1, 3, 2)), w).outputs.shape
    (1, 3, 2)
    """
    row, units = REFERENCES[kind], weights["weight_hh"].shape[1]
    batch, steps = x.shape[:2]
    real = np.ones((batch, steps), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    x = np.where(real[..., None], x, 0.0)
    state = [np.zeros((batch, units)) for _ in range(row.states)] if state is None else list(state)
    outputs, tapes, shown = np.zeros((batch, steps, units)), [], np.zeros((batch, units))
    for t in range(steps):
        a = x[:, t] @ weights["weight_ih"].T + weights["bias_ih"]  # (B, G)
        new, tape = row.forward(a, state, weights, activation)
        here = real[:, t, None]
        state = [np.where(here, n, s) for n, s in zip(new, state, strict=True)]
        shown = np.where(here, state[0], shown)
        outputs[:, t] = shown
        tapes.append(tape)
    return Pass(outputs, state, kind, activation, x, weights, real, tapes)


def backward(done: Pass, d_outputs: Array, d_state: list[Array] | None = None) -> tuple[Array, list[Array], Arrays]:
    """The gradients of the input, the first state and the weights, given those of the outputs and the last state.

    >>> w = {"weight_ih": np.eye(2), "weight_hh": np.eye(2), "bias_ih": np.zeros(2), "bias_hh": np.zeros(2)}
    >>> done = forward("simple_rnn", np.zeros((1, 1, 2)), w)
    >>> backward(done, np.ones((1, 1, 2)))[0]
    array([[[1., 1.]]])
    """
    row, weights = REFERENCES[done.kind], done.weights
    grads = {name: np.zeros_like(value) for name, value in weights.items()}
    d = [np.zeros_like(s) for s in done.state] if d_state is None else list(d_state)
    dx, d_shown = np.zeros_like(done.x), np.zeros_like(done.state[0])
    for t in reversed(range(done.x.shape[1])):
        here = done.mask[:, t, None]
        d_shown = d_shown + d_outputs[:, t]  # a masked step shows the output before it
        incoming = [np.where(here, part, 0.0) for part in (d[0] + d_shown, *d[1:])]
        da, d_before = row.backward(incoming, done.tapes[t], weights, grads, done.activation)
        d = [np.where(here, back, kept) for back, kept in zip(d_before, d, strict=True)]
        d_shown = np.where(here, 0.0, d_shown)
        grads["weight_ih"] += da.T @ done.x[:, t]
        grads["bias_ih"] += da.sum(0)
        dx[:, t] = da @ weights["weight_ih"]
    return dx, d, grads


def train_step(x: Array, y: Array, weights: Arrays, *, rate: float) -> float:
    """One step of gradient descent of the third article's network on ½ the squared error; returns the mean error.

    ``h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)``, ``y_t = W_hy h_t + b_y``; ``weights`` also has ``weight_hy``
    (outputs, H) and ``bias_hy`` (outputs,) and is changed in place. x (B, T, C), y (B, T, outputs).
    """
    done = forward("simple_rnn", x, {name: value for name, value in weights.items() if not name.endswith("hy")})
    error = done.outputs @ weights["weight_hy"].T + weights["bias_hy"] - y  # (B, T, outputs)
    d = error / len(x)
    _, _, grads = backward(done, d @ weights["weight_hy"])
    grads |= {"weight_hy": np.einsum("bto,bth->oh", d, done.outputs), "bias_hy": d.sum((0, 1))}
    for name, gradient in grads.items():
        weights[name] -= rate * gradient
    return float((error**2).mean())
