"""The native convolution block against torch's operations in float64: results, all gradients, ties, determinism.

B batch, H × W positions, C channels, F filters.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.kernels.choose import asking_for, choose, explain
from corecur.kernels.convolution import Block, run_native, run_stock
from corecur.kernels.convolution_kernels import CONVOLUTIONS, ConvolutionRequest
from tests.kernels.needs_kernels import needs_kernels

SAME = (1, 1, 1, 1)
# B, H, W, C, F, block: odd sizes, channels beside the vectors' sizes, one to three of them, strides, dilation, padding.
WINDOWED = [
    (3, 9, 11, 5, 7, Block((3, 3))),
    (2, 12, 8, 33, 40, Block((3, 3), padding=SAME)),
    (1, 4, 3, 1, 1, Block((3, 3), padding=(2, 0, 1, 3))),
    (5, 13, 13, 32, 64, Block((3, 3))),
    (2, 7, 7, 100, 50, Block((3, 3), padding=SAME)),
]
OTHERS = [
    (4, 28, 28, 1, 32, Block((3, 3))),
    (2, 11, 9, 3, 20, Block((3, 3), padding=SAME)),
    (2, 14, 13, 2, 16, Block((5, 5), padding=(2, 2, 2, 2))),
    (3, 17, 13, 3, 20, Block((5, 5), (2, 2), (1, 2, 2, 2))),
    (3, 17, 13, 6, 33, Block((5, 3), (2, 1), (1, 2, 2, 2), (2, 3))),
    (2, 9, 9, 6, 50, Block((4, 1), (3, 2), (6, 6, 0, 0))),
    (2, 5, 5, 17, 9, Block((1, 1))),
]
CASES = [(case, True) for case in WINDOWED] + [(case, False) for case in WINDOWED + OTHERS]
FOLLOWED = [
    (activation, pool)
    for activation in ("linear", "relu", "tanh")
    for pool in ("", "max", "average")
    if (activation, pool) != ("tanh", "average")
]


def followed(block: Block, activation: str, pool: str) -> Block:
    """The block with this activation and pooling."""
    return Block(block.kernel, block.strides, block.padding, block.dilation, activation, pool)


def tensors(case: Any, seed: int = 0) -> list[Tensor]:
    """x, weight, bias and the gradient of the output, in float64."""
    batch, height, width, channels, filters, block = case
    torch.manual_seed(seed)
    x = torch.randn(batch, height, width, channels)
    taps = channels * block.kernel[0] * block.kernel[1]
    weight = torch.randn(filters, channels, *block.kernel) / taps**0.5
    _, _, rows, columns = block.sizes(height, width)
    return [t.double() for t in (x, weight, torch.randn(filters), torch.randn(batch, rows, columns, filters))]


def gradients(run: Any, given_: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """The output and the gradients of x, weight and bias."""
    x, weight, bias = (tensor.to(dtype).requires_grad_() for tensor in given_[:3])
    y = run(x, weight, bias)
    return [y.detach(), *torch.autograd.grad(y, [x, weight, bias], given_[3].to(dtype))]


def worst(found: list[Tensor], expected: list[Tensor]) -> list[float]:
    """How far each is off, by the size of the expected."""
    return [
        float((a - b).norm() / b.norm().clamp(min=1e-30)) if b.numel() else 0.0
        for a, b in zip(found, expected, strict=True)
    ]


@needs_kernels
@pytest.mark.parametrize(("activation", "pool"), FOLLOWED)
@pytest.mark.parametrize(("case", "winograd"), CASES)
def test_it_is_torch_in_float64(case: Any, winograd: bool, activation: str, pool: str) -> None:
    block = followed(case[-1], activation, pool)
    given_ = tensors((*case[:-1], block))
    expected = gradients(lambda *a: run_stock(*a, block), given_, torch.float64)
    stock = worst(gradients(lambda *a: run_stock(*a, block), given_, torch.float32), expected)
    ours = worst(gradients(lambda *a: run_native(*a, block, winograd=winograd), given_, torch.float32), expected)
    for found, allowed in zip(ours, stock, strict=True):
        assert found <= 2 * allowed + 4e-7  # the latter for sums of a few numbers, which torch may hit to the bit


@needs_kernels
@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.data())
def test_any_shape(data: st.DataObject) -> None:
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    windowed = data.draw(st.booleans())
    kernel = (3, 3) if windowed else (draw(1, 5), draw(1, 5))
    strides, dilation = ((1, 1), (1, 1)) if windowed else ((draw(1, 3), draw(1, 3)), (draw(1, 3), draw(1, 2)))
    padding = (draw(0, 4), draw(0, 4), draw(0, 4), draw(0, 4))
    block = Block(kernel, strides, padding, dilation, "relu", data.draw(st.sampled_from(["", "max", "average"])))
    case = (draw(1, 4), draw(1, 12), draw(1, 12), draw(1, 40), draw(1, 40), block)
    if 0 in block.sizes(case[1], case[2]):
        return
    given_ = tensors(case, draw(0, 2**20))
    expected = gradients(lambda *a: run_stock(*a, followed(block, "linear", block.pool)), given_, torch.float64)
    run = lambda *a: run_native(*a, followed(block, "linear", block.pool), winograd=windowed)  # noqa: E731
    assert max(worst(gradients(run, given_, torch.float32), expected)) < 5e-6
    y = run_native(*(t.float() for t in given_[:3]), block, winograd=windowed)
    torch.testing.assert_close(y.double(), run_stock(*given_[:3], block), rtol=1e-4, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("winograd", [True, False])
def test_the_first_of_equals_takes_the_gradient(winograd: bool) -> None:
    block = Block((3, 3), padding=SAME, pool="max")
    x, weight = torch.ones(1, 8, 8, 2), torch.zeros(3, 2, 3, 3)
    weight[:, :, 1, 1] = 1.0
    found = []
    for run in (lambda *a: run_native(*a, block, winograd=winograd), lambda *a: run_stock(*a, block)):
        a, b = x.clone().requires_grad_(), weight.clone().requires_grad_()
        found.append(torch.autograd.grad(run(a, b, None).sum(), [a, b]))
    for ours, torchs in zip(*found, strict=True):
        assert torch.equal(ours, torchs)
    assert found[0][0][0, ::2, ::2].eq(3).all() and found[0][0].sum() == 3 * 2 * 16


@needs_kernels
@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("pool", ["", "max", "average"])
def test_what_is_not_a_number_stays_so_and_stays_near(winograd: bool, pool: str) -> None:
    block = Block((3, 3), activation="relu", pool=pool)
    x = torch.randn(2, 20, 20, 4)
    x[0, 3, 3, 1] = torch.nan
    weight = torch.randn(5, 4, 3, 3)
    ours = run_native(x, weight, None, block, winograd=winograd)
    stock = run_stock(x, weight, None, block)
    assert ours.isnan()[stock.isnan()].all()
    reach = 4 if pool else 7
    assert not ours[1].isnan().any() and not ours[0, reach:].isnan().any() and not ours[0, :, reach:].isnan().any()
    if not winograd:
        assert torch.equal(ours.isnan(), stock.isnan())


@needs_kernels
@pytest.mark.parametrize("winograd", [True, False])
def test_the_same_bytes_every_time(winograd: bool) -> None:
    block = Block((3, 3), padding=SAME, activation="relu", pool="max")
    given_ = tensors((7, 14, 14, 24, 40, block))
    run = lambda *a: run_native(*a, block, winograd=winograd)  # noqa: E731
    first = gradients(run, given_, torch.float32)
    for _ in range(3):
        assert all(torch.equal(a, b) for a, b in zip(gradients(run, given_, torch.float32), first, strict=True))


@needs_kernels
@pytest.mark.parametrize("winograd", [True, False])
def test_memory_in_any_order(winograd: bool) -> None:
    block = Block((3, 3), activation="relu", pool="max")
    x, weight, bias, d_y = (t.float() for t in tensors((3, 10, 10, 16, 24, block)))
    turned = [x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1), weight.permute(2, 3, 1, 0).contiguous()]
    turned = [turned[0], turned[1].permute(3, 2, 0, 1), bias.repeat_interleave(2)[::2].contiguous(), d_y]
    run = lambda *a: run_native(*a, block, winograd=winograd)  # noqa: E731
    plain = gradients(run, [x, weight, bias, d_y], torch.float32)
    other = gradients(run, turned, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))


@needs_kernels
@pytest.mark.parametrize("winograd", [True, False])
def test_gradients_of_gradients(winograd: bool) -> None:
    block = Block((3, 3), activation="tanh", pool="max")
    x, weight, bias, _ = tensors((2, 6, 6, 3, 4, block))
    found = []
    for run, dtype in ((run_native, torch.float32), (run_stock, torch.float64)):
        a, w, b = (t.to(dtype).requires_grad_() for t in (x, weight, bias))
        y = run(a, w, b, block, **({"winograd": winograd} if run is run_native else {}))  # type: ignore[operator]
        first = torch.autograd.grad(y.square().sum(), [a, w, b], create_graph=True)
        total = sum((g.square().sum() for g in first), torch.zeros(()))
        found.append(list(torch.autograd.grad(total, [a, w, b])))
    assert max(worst(*found)) < 1e-5


@needs_kernels
@pytest.mark.parametrize("winograd", [True, False])
def test_only_the_gradients_asked_for(winograd: bool) -> None:
    block = Block((3, 3), padding=SAME, activation="relu", pool="average")
    x, weight, bias, d_y = (t.float() for t in tensors((3, 10, 10, 16, 24, block)))
    whole = gradients(lambda *a: run_native(*a, block, winograd=winograd), [x, weight, bias, d_y], x.dtype)
    for only in range(3):
        given_ = [t.detach().clone().requires_grad_(n == only) for n, t in enumerate((x, weight, bias))]
        y = run_native(*given_, block, winograd=winograd)
        (found,) = torch.autograd.grad(y, [given_[only]], d_y)
        assert torch.equal(found, whole[1 + only])


@needs_kernels
def test_the_ops_are_torch_operations() -> None:
    x, weight = torch.randn(2, 9, 9, 16), torch.randn(8, 3, 3, 16)
    for pool in ("", "max"):
        given_ = ((3, 3), (1, 1), (0, 0, 0, 0), (1, 1), "relu", pool, True)
        torch.library.opcheck(torch.ops.corecur.convolution.default, (x, weight, None, *given_, True))
        y, chosen = torch.ops.corecur.convolution.default(x, weight, None, *given_, True)
        torch.library.opcheck(
            torch.ops.corecur.convolution_backward.default,
            (torch.ones_like(y), x, weight, y, chosen, *given_, True, True, True),
        )


PADDED = Block((3, 3), padding=SAME)
REQUEST = ConvolutionRequest(Block((3, 3)), 32, 28, 28, 16, 16)


@needs_kernels
@pytest.mark.parametrize(
    ("changed", "kernel", "reason"),
    [
        ({}, "winograd", "16 products"),
        ({"channels": 1}, "direct", "1 channels"),
        ({"dtype": "float64"}, "torch", "float64"),
        ({"device": "cuda"}, "torch", "on cuda"),
        ({"autocast": True}, "torch", "autocast"),
        ({"groups": 2}, "torch", "groups"),
        ({"traced": "a dispatch mode"}, "torch", "a dispatch mode"),
        ({"block": Block((3, 3), activation="gelu")}, "torch", "gelu"),
        ({"block": Block((3, 3), activation="tanh", pool="average")}, "torch", "averages of tanh"),
        ({"batch": 0}, "torch", "nothing to compute"),
        ({"height": 2}, "torch", "nothing to compute"),
        ({"block": Block((3, 3), (2, 2))}, "torch", "strides and dilation 1"),
        ({"channels": 1024, "filters": 1024}, "torch", "too many"),
        ({"channels": 512, "filters": 512, "batch": 1, "height": 8, "width": 8}, "torch", "over 9 windows"),
        ({"channels": 512, "filters": 512}, "winograd", "16 products"),
        ({"block": PADDED, "height": 2, "width": 2, "channels": 256, "filters": 512}, "taps", ""),
        ({"block": Block((5, 5), (2, 2)), "channels": 256, "filters": 256}, "torch", "strides"),
    ],
)  # fmt: skip
def test_what_is_chosen(changed: Any, kernel: str, reason: str) -> None:
    request = ConvolutionRequest(**(vars(REQUEST) | changed))
    choice = choose(request)
    assert choice.kernel == kernel
    assert reason in choice.reason
    assert explain(request).count("taken") == 1 and list(CONVOLUTIONS)[-1] == "torch"


def test_what_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(ShapeError, match="3 × 3"):
        run_native(torch.ones(1, 5, 5, 1), torch.ones(1, 1, 2, 2), None, Block((2, 2)), winograd=True)
    with pytest.raises(ConfigError, match="no groups"):
        choose(ConvolutionRequest(**(vars(REQUEST) | {"groups": 2})), asked="direct")
    with pytest.raises(ConfigError), asking_for("fast"):
        pass
