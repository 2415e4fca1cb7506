"""Native recurrences, cell by cell, against the same step in float64: values, states and every gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corecur.kernels.cell import RECURRENCES, Work
from corecur.kernels.choose import KERNELS
from corecur.kernels.native import KINDS
from corecur.kernels.native_rows import KINDS as ROW_KINDS
from corecur.kernels.time_loop import run_plain
from tests.kernels.needs_kernels import needs_kernels

pytestmark = needs_kernels

EVERY = [*dict.fromkeys(kind for kind, _ in KINDS), *ROW_KINDS]
#: The error of stock float32 that counts as none: a few roundings of numbers of about 1.
FLOOR = 2e-6


def work(
    kind: str, batch: int, steps: int, features: int, units: int, *, ragged: bool, dropped: bool, zoned: bool
) -> Work:
    """Random sequences and weights of a size at which no recurrence is chaotic."""
    draw = torch.Generator().manual_seed(batch + 41 * steps + 1681 * units)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    outputs = max(1, units // 2) if "projected" in kind else units
    spread = 0.5 / max(features, units) ** 0.5
    weights = {
        name: (normal(*shape) * spread + name.startswith("weight_norm")).requires_grad_()
        for name, shape in RECURRENCES[kind].shapes(features=features, units=units, outputs=outputs).items()
    }
    widths = (outputs, units)[: RECURRENCES[kind].states]
    x, lengths = normal(batch, steps, features), None
    if ragged:
        lengths = torch.randint(0, steps + 1, (batch,), generator=draw)
        x = x * (torch.arange(steps) < lengths[:, None])[..., None]
    pattern = (torch.rand(batch, outputs, generator=draw) > 0.3) / 0.7 if dropped else None
    zoneout = tuple((torch.rand(steps, batch, width, generator=draw) > 0.8).float() for width in widths)
    return Work(
        kind, torch.tanh, torch.sigmoid, x.requires_grad_(), [normal(batch, w).requires_grad_() for w in widths],
        weights, lengths=lengths, recurrent_dropout=pattern, zoneout=zoneout if zoned else (),
    )  # fmt: skip


def in_float64(given: Work) -> Work:
    def wide(tensor: Tensor) -> Tensor:
        return tensor.detach().double().requires_grad_(tensor.requires_grad)

    return Work(
        given.kind, given.phi, given.sigma, wide(given.x), list(map(wide, given.state)),
        {name: wide(weight) for name, weight in given.weights.items()}, lengths=given.lengths,
        recurrent_dropout=None if given.recurrent_dropout is None else wide(given.recurrent_dropout),
        zoneout=tuple(map(wide, given.zoneout)),
    )  # fmt: skip


def everything(kernel: str, given: Work) -> dict[str, Tensor]:
    """Outputs at real steps, last states, and the gradients of a random weighting of both."""
    y, last = (run_plain if kernel == "reference" else KERNELS[kernel].run)(given)
    if given.lengths is not None:
        y = y * (torch.arange(y.shape[1]) < given.lengths[:, None])[..., None]
    draw = torch.Generator().manual_seed(0)
    total = sum((part * torch.randn(part.shape, generator=draw).to(part)).sum() for part in (y, *last))
    inputs = {"x": given.x, **{f"state {n}": s for n, s in enumerate(given.state)}, **given.weights}
    gradients = torch.autograd.grad(total, list(inputs.values()))
    found = {f"d {name}": gradient for name, gradient in zip(inputs, gradients, strict=True)}
    return {"y": y.detach(), **{f"last {n}": s.detach() for n, s in enumerate(last)}, **found}


def compare(given: Work) -> None:
    """Native numbers are at most twice as far from float64 as the loop of torch's operations in float32."""
    exact = everything("reference", in_float64(given))
    stock, found = everything("reference", given), everything("native", given)
    for name, value in exact.items():
        size = max(float(value.abs().max()), 1.0) if value.numel() else 1.0
        error, allowed = ((part[name].double() - value).abs().max().item() / size if value.numel() else 0.0
                          for part in (found, stock))  # fmt: skip
        # A norm over a few units divides small differences by a small spread.
        floor = 10 * FLOOR if "norm" in given.kind else FLOOR
        assert error <= 2 * allowed + floor, (name, error, allowed)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize(
    ("ragged", "dropped", "zoned"), [(False, False, False), (True, False, True), (True, True, False)]
)
def test_values_states_and_gradients(kind: str, ragged: bool, dropped: bool, zoned: bool) -> None:
    compare(work(kind, 9, 6, 5, 37, ragged=ragged, dropped=dropped, zoned=zoned))


@pytest.mark.parametrize("kind", EVERY)
@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    st.integers(0, 9), st.integers(1, 7), st.integers(1, 20), st.integers(2, 40), st.booleans(), st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_any_size(
    kind: str, batch: int, steps: int, features: int, units: int, ragged: bool, dropped: bool, zoned: bool
) -> None:
    if "norm" in kind:  # over two or three units nothing but rounding errors passes a norm
        units += 6
    compare(work(kind, batch, steps, features, units, ragged=ragged, dropped=dropped, zoned=zoned))


@pytest.mark.parametrize("kind", EVERY)
def test_rows_without_any_step_keep_their_state(kind: str) -> None:
    given = work(kind, 3, 4, 2, 5, ragged=True, dropped=False, zoned=False)
    empty = Work(**{**given.__dict__, "lengths": torch.zeros(3, dtype=torch.long)})
    found = everything("native", empty)
    for n, state in enumerate(given.state):
        torch.testing.assert_close(found[f"last {n}"], state, rtol=0, atol=0)
    for name in given.weights:
        assert not found[f"d {name}"].any()


@pytest.mark.parametrize("kind", EVERY)
def test_the_same_again(kind: str) -> None:
    given = work(kind, 8, 5, 6, 33, ragged=True, dropped=True, zoned=True)
    first, second = everything("native", given), everything("native", given)
    for name, value in first.items():
        assert torch.equal(value, second[name])
