from __future__ import annotations

import pytest
import torch

from corecur.errors import ShapeError
from corecur.layers.attention_weights import allowed_pairs, attend, attention_weights, check_keys, split_inputs


def test_weights_are_the_softmax_over_what_is_allowed() -> None:
    scores, allowed = torch.randn(5, 6, dtype=torch.float64), torch.rand(5, 6) < 0.6
    allowed[0], allowed[1] = False, True
    weights = attention_weights(scores, allowed)
    for row, places, found in zip(scores, allowed, weights, strict=True):
        torch.testing.assert_close(found[places], torch.softmax(row[places], -1))
        assert not bool(found[~places].any())
    torch.testing.assert_close(attention_weights(scores, None), torch.softmax(scores, -1))


def test_a_row_with_nothing_allowed_passes_no_gradient() -> None:
    scores = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    allowed = torch.tensor([[True, False, True], [False] * 3])
    attention_weights(scores, allowed).sin().sum().backward()
    assert scores.grad is not None and bool(scores.grad.isfinite().all()) and not bool(scores.grad[1].any())
    assert torch.autograd.gradcheck(lambda s: attention_weights(s, allowed), (scores,))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_attend_is_the_product_with_the_weights(dropout: float) -> None:
    q, k, v = (torch.randn(2, 3, n, 4, dtype=torch.float64, requires_grad=True) for n in (5, 6, 6))
    allowed = torch.rand(2, 1, 5, 6) < 0.5
    allowed[0, 0, 2] = False
    expected = attention_weights(q @ k.mT * 0.3, allowed) @ v
    if not dropout:
        torch.testing.assert_close(attend(q, k, v, allowed, 0.3), expected)
        torch.testing.assert_close(attend(q, k, v, None, 0.3), torch.softmax(q @ k.mT * 0.3, -1) @ v)
    output = attend(q, k, v, allowed, 0.3, dropout)
    output.sin().sum().backward()
    assert bool(q.grad.isfinite().all()) and not bool(output[0, :, 2].any())


def test_who_may_look_at_whom() -> None:
    keys, mask = torch.zeros(2, 3, 1), torch.tensor([[True, True, False], [True] * 3])
    assert allowed_pairs(2, keys, None, causal=False) is None
    assert torch.equal(allowed_pairs(2, keys, mask, causal=False), mask.unsqueeze(1))
    both = allowed_pairs(3, keys, mask, causal=True, pairs=torch.eye(3).unsqueeze(0))
    assert torch.equal(both[0], torch.eye(3).bool() & mask[0])


def test_inputs_that_do_not_go_together() -> None:
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ShapeError, match="it cannot put these together"):
        check_keys(x, x, x[:, :2], "it")
    for wrong in ([x], [x] * 4):
        with pytest.raises(ShapeError, match=r"\[query, value\]"):
            split_inputs(wrong, None, "it")
    for masks in (torch.ones(2, 3), [None]):
        with pytest.raises(ShapeError, match="list of masks"):
            split_inputs([x, x], masks, "it")  # type: ignore[arg-type]


def test_the_key_follows_the_values_mask_unless_it_has_its_own() -> None:
    x = torch.ones(1, 3, 2)
    value_mask, key_mask = torch.tensor([[True, True, False]]), torch.tensor([[False, True, True]])
    assert torch.equal(split_inputs([x, x], [None, value_mask], "it")[4], value_mask)
    assert torch.equal(split_inputs([x, x, x], [None, value_mask], "it")[4], value_mask)
    assert torch.equal(split_inputs([x, x, x], [None, value_mask, key_mask], "it")[4], value_mask & key_mask)
    assert torch.equal(split_inputs([x, x, x], [None, None, key_mask], "it")[4], key_mask)
