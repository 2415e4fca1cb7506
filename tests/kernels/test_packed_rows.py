"""The packed order of rows with padding, against lists."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corecur.kernels.packed_rows import Packing, masked, packing_of, ragged

masks = st.integers(1, 6).flatmap(
    lambda steps: st.lists(st.lists(st.booleans(), min_size=steps, max_size=steps), min_size=1, max_size=5)
)


def steps_in_order(rows: list[list[bool]]) -> list[tuple[int, int]]:
    """Row and time of every real step, as kernels take them: step by step, the longest rows first."""
    real = [[t for t, here in enumerate(row) if here] for row in rows]
    order = sorted(range(len(rows)), key=lambda row: -len(real[row]))
    longest = max(map(len, real))
    return [(row, real[row][k]) for k in range(longest) for row in order if k < len(real[row])]


def numbered(packing: Packing, batch: int, steps: int) -> tuple[Tensor, Tensor]:
    """Every place of a batch by its number from 1, and these as states; the first ones are minus a row's number."""
    x = torch.arange(1.0, batch * steps + 1).view(batch, steps, 1)
    first = -torch.arange(1.0, batch + 1)[:, None]
    return x, torch.cat([packing.sort(first), packing.pack(x), torch.zeros(1, 1)])


@given(masks, st.booleans())
def test_what_is_packed_comes_back(rows: list[list[bool]], repeats: bool) -> None:
    mask = torch.tensor(rows)
    batch, steps = mask.shape
    packing = masked(mask, repeats=repeats)
    x, states = numbered(packing, batch, steps)
    assert states[batch:-1, 0].tolist() == [row * steps + t + 1 for row, t in steps_in_order(rows)]
    shown = packing.spread(states)[..., 0].tolist()
    back = packing.unpack(states[batch:])[..., 0]
    assert torch.equal(back, x[..., 0] * mask)
    for row, real in enumerate(rows):
        last = 0.0
        for t, here in enumerate(real):
            last = float(x[row, t]) if here else last if repeats else 0.0
            assert shown[row][t] == last


@given(masks)
def test_states_before_and_at_the_end(rows: list[list[bool]]) -> None:
    mask = torch.tensor(rows)
    packing = masked(mask)
    x, states = numbered(packing, *mask.shape)
    before, ends = [], []
    for row, t in steps_in_order(rows):
        earlier = [s for s in range(t) if rows[row][s]]
        before.append(float(x[row, earlier[-1]]) if earlier else -(row + 1.0))
    for row, real in enumerate(rows):
        steps = [t for t, here in enumerate(real) if here]
        ends.append(float(x[row, steps[-1]]) if steps else -(row + 1.0))
    assert packing.earlier(states)[:, 0].tolist() == before
    assert packing.unsort(packing.last(states))[:, 0].tolist() == ends
    assert packing.empty()[:, 0].tolist() == [not any(real) for real in rows]
    order = packing.sort(torch.arange(len(rows)))
    assert order[packing.rows()].tolist() == [row for row, _ in steps_in_order(rows)]


@settings(deadline=None)  # the first gradient of a process takes its time
@given(masks, st.booleans())
def test_the_gradient_of_what_is_shown(rows: list[list[bool]], repeats: bool) -> None:
    mask = torch.tensor(rows)
    packing = masked(mask, repeats=repeats)
    _, states = numbered(packing, *mask.shape)
    states = states.double().requires_grad_()
    d_y = torch.rand(*mask.shape, 1, dtype=torch.float64)
    packing.spread(states).backward(d_y)
    assert states.grad is not None
    expected = states.grad[len(rows) : -1]
    assert torch.allclose(packing.spread_gradient(d_y), expected)


def test_a_mask_is_packed_once_until_it_changes() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    found = packing_of(mask)
    assert packing_of(mask) is found and packing_of(mask, repeats=True) is not found
    mask[1, 1] = False
    assert packing_of(mask).sizes.tolist() == [2]
    with torch.inference_mode():
        unversioned = torch.tensor([[True, False]])
        assert packing_of(unversioned).sizes.tolist() == [1]


def test_full_rows_are_whole() -> None:
    assert masked(torch.ones(2, 3, dtype=torch.bool)).ragged is None
    assert ragged(torch.tensor([3, 3]), 3).ragged is None


def test_what_an_answer_packed_serves_a_training_too() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    with torch.inference_mode():
        ragged_rows = packing_of(mask).ragged
    assert ragged_rows is not None and not ragged_rows.places.is_inference()
    weight = torch.ones(2, 2, 1, requires_grad=True)
    packing_of(mask).pack(weight).sum().backward()
    assert weight.grad is not None and weight.grad[..., 0].tolist() == mask.float().tolist()
