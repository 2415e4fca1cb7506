"""Moving real steps to the front and back, against lists."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from corecur.layers.real_steps import find_real_steps

masks = st.integers(1, 6).flatmap(
    lambda steps: st.lists(st.lists(st.booleans(), min_size=steps, max_size=steps), min_size=1, max_size=4)
)


@given(masks)
def test_rows_are_what_lists_say(rows: list[list[bool]]) -> None:
    mask = torch.tensor(rows)
    x = torch.arange(1.0, mask.numel() + 1).view(*mask.shape, 1)
    steps = find_real_steps(mask)
    if steps is None:
        assert all(map(all, rows))
        return
    front = steps.to_front(x.masked_fill(~mask[..., None], float("nan")))[..., 0].tolist()
    back = steps.to_places(steps.to_front(x))[..., 0].tolist()
    zeroed = steps.to_places(steps.to_front(x), zeros=True)[..., 0]
    assert torch.equal(zeroed, x[..., 0] * mask)
    longest = max(1, max(map(sum, rows)))
    for row, real in enumerate(rows):
        values = [float(x[row, t]) for t, here in enumerate(real) if here]
        assert front[row] == values + [0.0] * (longest - len(values))
        shown, expected = 0.0, []
        for t, here in enumerate(real):
            shown = float(x[row, t]) if here else shown
            expected.append(shown)
        assert back[row] == expected
