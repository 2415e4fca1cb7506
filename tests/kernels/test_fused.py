"""torch's operations over ragged rows against each row alone, the cell's state and its gradient included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from corecur.kernels.cell import RECURRENCES, Work
from corecur.kernels.fused import OPERATIONS, last_output, run_fused
from corecur.kernels.time_loop import run_plain

LENGTHS = torch.tensor([3, 0, 5, 1])
PHI = {"tanh": torch.tanh, "relu": torch.relu}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("kind", "activation"), OPERATIONS)
def test_ragged_rows_are_those_of_the_loop(kind: str, activation: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1).requires_grad_()

    row = RECURRENCES[kind]
    weights = {name: draw(*shape) for name, shape in row.shapes(features=2, units=3, outputs=3).items()}
    x, state = draw(4, 5, 2), [draw(4, 3) for _ in range(row.states)]
    given = Work(kind, PHI[activation], torch.sigmoid, x, state, weights, lengths=LENGTHS)
    real = (torch.arange(5) < LENGTHS[:, None])[..., None]
    found = []
    for run in (run_fused, run_plain):
        outputs, last = run(given)
        loss = (outputs * real).sin().sum() + sum(s.cos().sum() for s in last)
        found.append([outputs * real, *last, *torch.autograd.grad(loss, [x, *state, *weights.values()])])
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)


def test_the_last_output_of_an_empty_row_is_what_was_before() -> None:
    outputs = torch.arange(12.0).view(2, 3, 2)
    before = torch.full((2, 2), -1.0)
    assert last_output(outputs, torch.tensor([2, 0]), before=before).tolist() == [[2.0, 3.0], [-1.0, -1.0]]
