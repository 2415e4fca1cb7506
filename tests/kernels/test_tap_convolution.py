"""The convolution place by place against torch's operations in float64: results, all gradients, shapes, memory.

B batch, H × W positions, C channels, F filters.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.kernels.convolution import Block, run_stock
from corecur.kernels.tap_convolution import met, run_taps
from corecur.layers.conv import Conv2D
from corecur.layers.shape import Flatten
from corecur.models import Sequential
from tests.kernels.test_convolution import FOLLOWED, SAME, followed, gradients, tensors, worst

CASES = [
    (5, 2, 2, 40, 33, Block((3, 3), padding=SAME)),
    (4, 3, 2, 16, 24, Block((5, 3), padding=(2, 2, 1, 1))),
    (3, 4, 5, 8, 9, Block((3, 3), (2, 1), (1, 0, 2, 1), (1, 2))),
    (2, 2, 2, 4, 4, Block((2, 2), (3, 3), (4, 4, 4, 4))),  # outputs that see nothing but padding
    (1, 1, 1, 7, 5, Block((3, 3), padding=SAME)),
]


@pytest.mark.parametrize(("activation", "pool"), FOLLOWED)
@pytest.mark.parametrize("case", CASES)
def test_it_is_torch_in_float64(case: tuple[int, int, int, int, int, Block], activation: str, pool: str) -> None:
    block = followed(case[-1], activation, pool)
    if 0 in block.sizes(case[1], case[2]):
        return
    given_ = tensors((*case[:-1], block))
    expected = gradients(lambda *a: run_stock(*a, block), given_, torch.float64)
    assert max(worst(gradients(lambda *a: run_taps(*a, block), given_, torch.float64), expected)) < 1e-13
    stock = worst(gradients(lambda *a: run_stock(*a, block), given_, torch.float32), expected)
    for found, allowed in zip(
        worst(gradients(lambda *a: run_taps(*a, block), given_, torch.float32), expected), stock, strict=True
    ):
        assert found <= 2 * allowed + 4e-7


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_any_shape(data: st.DataObject) -> None:
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    block = Block(
        (draw(1, 5), draw(1, 5)),
        (draw(1, 3), draw(1, 3)),
        (draw(0, 4), draw(0, 4), draw(0, 4), draw(0, 4)),
        (draw(1, 3), draw(1, 2)),
    )
    case = (draw(1, 4), draw(1, 6), draw(1, 6), draw(1, 9), draw(1, 9), block)
    if 0 in block.sizes(case[1], case[2]):
        return
    given_ = tensors(case, draw(0, 2**20))
    expected = gradients(lambda *a: run_stock(*a, block), given_, torch.float64)
    assert max(worst(gradients(lambda *a: run_taps(*a, block), given_, torch.float64), expected)) < 1e-12


def test_the_share_that_is_met_is_what_ones_count() -> None:
    for block in (Block((3, 3), padding=SAME), Block((5, 3), (2, 1), (2, 1, 0, 2), (1, 2))):
        y = run_stock(torch.ones(1, 4, 6, 1), torch.ones(1, 1, *block.kernel), None, block)
        assert met(block, 4, 6) == pytest.approx(y.mean().item() / (block.kernel[0] * block.kernel[1]))


def test_the_bias_is_left_alone() -> None:
    bias = torch.ones(3)
    run_taps(torch.ones(1, 1, 1, 2), torch.ones(3, 2, 1, 1), bias, Block((1, 1)))
    assert bias.eq(1).all()


def test_gradients_of_gradients_and_only_those_asked_for() -> None:
    block = Block((3, 3), padding=SAME, activation="tanh", pool="max")
    x, weight, bias, d_y = tensors((2, 3, 3, 3, 4, block))
    found = []
    for run in (run_taps, run_stock):
        a, w, b = (t.clone().requires_grad_() for t in (x, weight, bias))
        first = torch.autograd.grad(run(a, w, b, block).square().sum(), [a, w, b], create_graph=True)
        total = sum((g.square().sum() for g in first), torch.zeros(()))
        found.append(list(torch.autograd.grad(total, [a, w, b])))
    assert max(worst(*found)) < 1e-12
    whole = gradients(lambda *a: run_taps(*a, block), [x, weight, bias, d_y], x.dtype)
    for only in range(3):
        given_ = [t.detach().clone().requires_grad_(n == only) for n, t in enumerate((x, weight, bias))]
        (alone,) = torch.autograd.grad(run_taps(*given_, block), [given_[only]], d_y)
        assert torch.equal(alone, whole[1 + only])


def test_a_network_takes_it_where_it_pays() -> None:
    torch.manual_seed(0)
    model = Sequential([Conv2D(256, 3, padding="same", activation="relu", input_shape=(2, 2, 256)), Flatten()])
    x = torch.randn(8, 2, 2, 256)
    layer = model.layers[0]
    expected = torch.relu(
        torch.nn.functional.conv2d(
            x.permute(0, 3, 1, 2).double(), layer.weight.double(), layer.bias.double(), padding=1
        )
    )
    torch.testing.assert_close(model(x).double(), expected.permute(0, 2, 3, 1).flatten(1), rtol=1e-5, atol=1e-5)
