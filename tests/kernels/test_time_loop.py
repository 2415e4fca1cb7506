"""The compiled loop against the Python loop, which runs the same code uncompiled."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from corecur.kernels.cell import RECURRENCES, Work
from corecur.kernels.time_loop import run_compiled, run_plain
from corecur.layers.activation import ACTIVATIONS
from corecur.layers.gated import step_function

B, T, C, H, P = 3, 6, 2, 4, 3


def work(kind: str, *, seed: int = 0, **more: Any) -> Work:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        values = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
        return values.requires_grad_()

    outputs = P if kind.startswith("projected") else H
    row = RECURRENCES[kind]
    weights = {n: draw(*s) for n, s in row.shapes(features=C, units=H, outputs=outputs).items()}
    state = [draw(B, outputs), draw(B, H)][: row.states]
    return Work(kind, torch.tanh, torch.sigmoid, draw(B, T, C), state, weights, **more)


def results(run: Any, given: Work) -> list[Tensor]:
    """Outputs, states and all gradients."""
    outputs, state = run(given)
    leaves = [given.x, *given.state, *given.weights.values()]
    total = outputs.sin().sum() + sum(s.cos().sum() for s in state)
    return [outputs, *state, *torch.autograd.grad(total, leaves)]


def variants(kind: str) -> dict[str, dict[str, Any]]:
    sizes = [P if kind.startswith("projected") else H, H][: RECURRENCES[kind].states]
    generator = torch.Generator().manual_seed(1)
    keep = [torch.rand(T, B, size, generator=generator, dtype=torch.float64).round() for size in sizes]
    return {
        "plain": {},
        "ragged": {"lengths": torch.tensor([2, 6, 0])},
        "dropout": {"recurrent_dropout": torch.rand(B, sizes[0], generator=generator, dtype=torch.float64)},
        "zoneout": {"zoneout": tuple(keep), "lengths": torch.tensor([3, 1, 6])},
        "mean zoneout": {"zoneout": tuple(torch.full((1, 1, 1), 0.3, dtype=torch.float64) for _ in sizes)},
    }


@pytest.mark.parametrize("variant", ["plain", "ragged", "dropout", "zoneout", "mean zoneout"])
@pytest.mark.parametrize("kind", RECURRENCES)
def test_compiled_is_plain(kind: str, variant: str) -> None:
    given = work(kind, **variants(kind)[variant])
    for compiled, plain in zip(results(run_compiled, given), results(run_plain, given), strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_compiles(name: str) -> None:
    _, function = step_function(name)
    given = dataclasses.replace(work("simple_rnn"), phi=function)
    torch.testing.assert_close(run_compiled(given)[0], run_plain(given)[0], equal_nan=True)


def test_the_compiled_loop_takes_other_shapes_and_modes_later() -> None:
    for steps, batch in ((1, 1), (6, 3), (3, 2), (6, 3)):
        given = work("classic_gru")
        given = dataclasses.replace(given, x=given.x[:batch, :steps], state=[s[:batch] for s in given.state])
        torch.testing.assert_close(run_compiled(given)[0], run_plain(given)[0])
        with torch.no_grad():
            torch.testing.assert_close(run_compiled(given)[0], run_plain(given)[0])


def test_zoneout_of_one_keeps_the_state() -> None:
    keep = torch.ones(1, 1, 1, dtype=torch.float64)
    given = work("lstm", zoneout=(keep, keep))
    _, state = run_compiled(given)
    for new, old in zip(state, given.state, strict=True):
        torch.testing.assert_close(new, old)
