from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from corecur.layers.symbolic import Node, SymbolicTensor, call_symbolically, replace_symbols, shape_of, symbols_in


def test_unknown_sizes_stay_unknown_where_they_are_passed_on() -> None:
    out = call_symbolically(nn.Conv1d(3, 4, 3), (SymbolicTensor((None, 3, None)),), {})
    assert out.shape == (None, 4, None)
    assert out.dtype == torch.float32
    assert isinstance(out.node, Node)


def test_outputs_keep_their_nesting() -> None:
    class Two(nn.Module):
        def forward(self, pair: list[Tensor], *, scale: float) -> tuple[Tensor, list[Tensor]]:
            a, b = pair
            return a.sum(1), [b * scale, a.long()]

    a, b = SymbolicTensor((None, 3)), SymbolicTensor((None, 5))
    first, (second, third) = call_symbolically(Two(), ([a, b],), {"scale": 2.0})
    assert [t.shape for t in (first, second, third)] == [(None,), (None, 5), (None, 3)]
    assert third.dtype == torch.int64
    assert first.node is second.node
    assert first.node.inputs == [a, b]
    assert first.node.outputs == (first, second, third)


def test_symbols_are_found_and_replaced_in_nested_arguments() -> None:
    a, b = SymbolicTensor((1,)), SymbolicTensor((2,))
    nested = ([a, 3], {"b": (b, "x")})
    assert list(symbols_in(nested)) == [a, b]
    assert replace_symbols(nested, {id(a): "A", id(b): "B"}) == (["A", 3], {"b": ("B", "x")})


def test_shapes_for_messages_hide_the_trial_sizes() -> None:
    assert shape_of(torch.empty(96, 28, device="meta")) == (None, 28)
    assert shape_of(torch.empty(96, 28)) == (96, 28)


def test_impossible_shapes_raise_where_they_arise() -> None:
    with pytest.raises(RuntimeError):
        call_symbolically(nn.Linear(3, 4), (SymbolicTensor((None, 5)),), {})
