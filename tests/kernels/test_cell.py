"""The equations, one step each, against torch's cells and against equations written out again."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.kernels import cell as module
from corecur.kernels.cell import RECURRENCES, input_part, step_weights

B, C, H, P = 3, 4, 5, 2


def drawn(kind: str, *, seed: int = 0) -> tuple[dict[str, Tensor], Tensor, list[Tensor]]:
    """Weights, an input and states."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1

    outputs = P if kind.startswith("projected") else H
    row = RECURRENCES[kind]
    weights = {n: draw(*s) for n, s in row.shapes(features=C, units=H, outputs=outputs).items()}
    return weights, draw(B, C), [draw(B, outputs), draw(B, H)][: row.states]


def stepped(kind: str, w: dict[str, Tensor], x: Tensor, state: list[Tensor]) -> list[Tensor]:
    row = RECURRENCES[kind]
    step = row.step(torch.tanh, torch.sigmoid)
    return step(input_part(x, w), state[0], state, step_weights(row, w))


@pytest.mark.parametrize(
    ("kind", "cell"), [("simple_rnn", nn.RNNCell), ("lstm", nn.LSTMCell), ("gru", nn.GRUCell)], ids=str
)
def test_a_step_is_that_of_torchs_cell(kind: str, cell: Any) -> None:
    w, x, state = drawn(kind)
    other = cell(C, H).double()
    other.load_state_dict(w)
    expected = other(x, tuple(state) if len(state) == 2 else state[0])
    new = stepped(kind, w, x, state)
    for ours, theirs in zip(new, expected if len(state) == 2 else (expected,), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_projected_step_is_that_of_torchs_lstm() -> None:
    w, x, state = drawn("projected_lstm")
    other = nn.LSTM(C, H, proj_size=P, batch_first=True).double()
    other.load_state_dict({f"{name}_l0": value for name, value in w.items()})
    _, expected = other(x[:, None], tuple(s[None] for s in state))  # float64: no warning that oneDNN has none
    for ours, theirs in zip(stepped("projected_lstm", w, x, state), expected, strict=True):
        torch.testing.assert_close(ours, theirs[0])


def test_the_classic_gru_resets_before_the_product() -> None:
    w, x, [h] = drawn("classic_gru")
    w_ir, w_iz, w_in = w["weight_ih"].chunk(3)
    w_hr, w_hz, w_hn = w["weight_hh"].chunk(3)
    b_r, b_z, b_n = (w["bias_ih"] + w["bias_hh"]).chunk(3)
    r, z = torch.sigmoid(x @ w_ir.T + h @ w_hr.T + b_r), torch.sigmoid(x @ w_iz.T + h @ w_hz.T + b_z)
    n = torch.tanh(x @ w_in.T + (r * h) @ w_hn.T + b_n)
    torch.testing.assert_close(stepped("classic_gru", w, x, [h])[0], (1 - z) * n + z * h)


def test_peepholes_see_the_cell() -> None:
    w, x, [h, c] = drawn("peephole_lstm")
    i, f, g, o = (x @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]).chunk(4, 1)
    new = torch.sigmoid(f + w["weight_cf"] * c) * c + torch.sigmoid(i + w["weight_ci"] * c) * torch.tanh(g)
    found = stepped("peephole_lstm", w, x, [h, c])
    torch.testing.assert_close(found[1], new)
    torch.testing.assert_close(found[0], torch.sigmoid(o + w["weight_co"] * new) * torch.tanh(new))


def normal(x: Tensor) -> Tensor:
    return (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()


def test_layer_normalisation_stands_where_the_paper_puts_it() -> None:
    w, x, [h, c] = drawn("layer_norm_lstm")
    a = normal(x @ w["weight_ih"].T) * w["weight_norm_ih"] + normal(h @ w["weight_hh"].T) * w["weight_norm_hh"]
    i, f, g, o = (a + w["bias_ih"] + w["bias_hh"]).chunk(4, 1)
    new = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    found = stepped("layer_norm_lstm", w, x, [h, c])
    torch.testing.assert_close(found[1], new)
    shown = torch.tanh(normal(new) * w["weight_norm_c"] + w["bias_norm_c"])
    torch.testing.assert_close(found[0], torch.sigmoid(o) * shown)


@pytest.mark.parametrize("kind", ["projected_peephole_lstm", "projected_layer_norm_lstm"])
def test_a_projection_comes_last(kind: str) -> None:
    w, x, state = drawn(kind)
    row = RECURRENCES[kind.removeprefix("projected_")]
    inner = {name: value for name, value in w.items() if name != "weight_hr"}
    whole = row.step(torch.tanh, torch.sigmoid)(input_part(x, inner), state[0], state, step_weights(row, inner))
    found = stepped(kind, w, x, state)
    torch.testing.assert_close(found[0], whole[0] @ w["weight_hr"].T)
    torch.testing.assert_close(found[1], whole[1])


def test_a_missing_bias_is_zero() -> None:
    w, x, state = drawn("gru")
    bare = {name: value for name, value in w.items() if not name.startswith("bias")}
    zeroed = bare | {name: torch.zeros_like(w[name]) for name in ("bias_ih", "bias_hh")}
    torch.testing.assert_close(stepped("gru", bare, x, state), stepped("gru", zeroed, x, state))


def test_every_step_is_short_and_documented() -> None:
    for name in ("simple_rnn", "lstm", "peephole_lstm", "layer_norm_lstm", "gru", "classic_gru", "projected"):
        make = getattr(module, name)
        assert len(inspect.getsource(make).splitlines()) < 15
        assert "``" in make.__doc__ or "Gers" in make.__doc__
