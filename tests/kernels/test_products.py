"""Products against float64, over the layouts that gradients come in, in every instruction set; and ``linear``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from corecur.kernels import products
from corecur.kernels.products import Product, linear, product, run_products
from corecur.layers.dense import Dense
from tests.kernels.instruction_sets import TABLES, isa
from tests.kernels.needs_kernels import needs_kernels

__all__ = ["isa"]
SIZES = [(384, 400, 80), (400, 640, 64), (401, 640, 64), (8, 5, 3)]


@pytest.fixture(autouse=True, params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def factors(rows: int, depth: int, columns: int, form: str) -> tuple[Tensor, Tensor]:
    """Two factors, the first as rows that stand further apart than they are long, or such rows turned."""
    generator = torch.Generator().manual_seed(rows + depth)
    wide, long = (depth, rows) if form == "rows" else (rows, depth)
    a = torch.randn(long, wide + 16, generator=generator)[:, :wide]
    return (a if form == "rows" else a.t()), torch.randn(depth, columns, generator=generator)


@pytest.fixture
def wherever_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is taken with an instruction set too with which it was not measured."""
    monkeypatch.setattr(products, "measured", lambda: True)


def is_ours(y: Tensor) -> bool:
    """Whether the linear layer's own function made it, and no operation of torch's."""
    node: Any = y.grad_fn
    return "_Linear" in str([node, *(other for other, _ in node.next_functions)])


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("form", ["rows", "turned"])
@pytest.mark.parametrize(("rows", "depth", "columns"), SIZES)
def test_a_product_is_that_of_float64(
    rows: int, depth: int, columns: int, form: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "processor", lambda: "other" if ours else "intel")
    a, b = factors(rows, depth, columns, form)
    bias = torch.randn(columns, generator=torch.Generator().manual_seed(1))
    true = a.double() @ b.double()
    out = torch.full((rows + 1, columns), 7.0)
    found = product(a, b), product(a, b, out[:-1])
    for mine in found:
        torch.testing.assert_close(mine.double(), true, rtol=0, atol=1e-6 * depth)
    assert found[1].data_ptr() == out.data_ptr()
    assert torch.equal(out[:-1], found[0])
    torch.testing.assert_close(product(a, b, bias=bias).double(), true + bias, rtol=0, atol=1e-6 * depth)
    product(a, b, out[:-1], bias=bias)
    torch.testing.assert_close(out[:-1].double(), true + bias, rtol=0, atol=1e-6 * depth)
    assert bool((out[-1] == 7.0).all())


@needs_kernels
@settings(max_examples=80, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_shape_and_layout_in_every_instruction_set(data: st.DataObject) -> None:
    """The kernel itself, which ``product`` asks for larger ones alone; nothing beside the product is written."""
    table = TABLES[data.draw(st.sampled_from(sorted(TABLES)))]
    rows, columns, depth = (data.draw(st.integers(low, high)) for low, high in ((1, 40), (1, 70), (1, 300)))
    a_turned, b_turned, add, biased = (data.draw(st.booleans()) for _ in range(4))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**20)))

    def matrix(high: int, wide: int, turned: bool) -> Tensor:
        """With some of what is no number on every side."""
        held = torch.full((wide + 2, high + 3) if turned else (high + 2, wide + 3), float("nan"))
        part = held[1:-1, 1:-2]
        part.copy_(torch.randn(part.shape, generator=generator))
        return part.t() if turned else part

    a, b, out = matrix(rows, depth, a_turned), matrix(depth, columns, b_turned), matrix(rows, columns, False)
    bias = torch.randn(columns, generator=generator) if biased and not add else None
    before, beside = out.clone(), out._base
    assert beside is not None
    job = (Product * 1)(
        Product(add, False, rows, columns, depth, *a.stride(), *b.stride(), out.stride(0), 0, 0, 0, 1, 1)
    )
    threads, bias_at = data.draw(st.integers(1, 3)), None if bias is None else bias.data_ptr()
    table.products(job, 1, a.data_ptr(), b.data_ptr(), bias_at, out.data_ptr(), threads)
    true = a.double() @ b.double() + (before.double() if add else 0) + (0 if bias is None else bias.double())
    torch.testing.assert_close(out.double(), true, rtol=0, atol=2e-6 * depth**0.5 * 4)
    assert int(beside.isnan().sum()) == beside.numel() - rows * columns


@needs_kernels
def test_many_sums_round_no_more_than_those_of_torch(isa: str) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 20_000, generator=generator), torch.randn(20_000, 48, generator=generator)
    true, out = a.double() @ b.double(), torch.empty(64, 48)
    run_products(
        (Product * 1)(Product(False, False, 64, 48, 20_000, *a.stride(), *b.stride(), 48, 0, 0, 0, 1, 1)), a, b, out
    )
    assert (out - true).abs().max() <= 2 * (a @ b - true).abs().max()


@needs_kernels
@pytest.mark.parametrize("deep", [False, True])
def test_blocks_are_products_of_their_own_or_one_sum(isa: str, deep: bool) -> None:
    """2 × 3 blocks, with gaps between them, of rows or of the depth; the latter in pieces that fill no panel."""
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 4, 50, 30, generator=generator), torch.randn(2, 4, 30, 37, generator=generator)
    out = torch.zeros(50, 37) if deep else torch.zeros(2, 4, 50, 37)
    apart = (0, 0) if deep else out.stride()[:2]
    b_apart = b.stride()[:2] if deep else (0, 0)
    strides = (*a.stride()[2:], *b.stride()[2:], 37)
    job = (Product * 1)(Product(False, deep, 50, 37, 30, *strides, 0, 0, 0, 2, 3, *a.stride()[:2], *b_apart, *apart))
    run_products(job, a, b, out)
    if deep:
        expected = sum(a[i, j].double() @ b[i, j].double() for i, j in itertools.product(range(2), range(3)))
        torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-4)
    else:
        torch.testing.assert_close(out[:, :3].double(), a[:, :3].double() @ b[0, 0].double(), rtol=0, atol=1e-4)
        assert not out[:, 3].any()


def test_large_products_of_torch_come_in_parts(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b, **more: (seen.append(len(a)), bmm(a, b, **more))[1])
    monkeypatch.setattr(products, "measured", lambda: False)
    product(*factors(384, 400, 80, "turned"))
    product(*factors(8, 5, 3, "turned"))
    assert seen == ([threads] if threads > 1 else [])


@needs_kernels
@pytest.mark.parametrize(("isa", "ours"), [("avx512", [256, 1024]), ("avx2", [256])])
def test_large_products_are_torchs_with_avx2(isa: str, ours: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    known, run, seen = dataclasses.replace(products.info(), isa=isa), products.run_products, []
    monkeypatch.setattr(products, "info", lambda: known)
    monkeypatch.setattr(products, "processor", lambda: "other")
    monkeypatch.setattr(products, "run_products", lambda *given: (seen.append(len(given[1])), run(*given))[1])
    for rows in (256, 1024):
        a, b = factors(rows, 1024, 80, "turned")
        torch.testing.assert_close(product(a, b).double(), a.double() @ b.double(), rtol=0, atol=1e-3)
    assert seen == ours


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(64, 200), (8, 40, 200), (300,), (0, 200)])
def test_linear_and_its_gradients_are_those_of_torch(
    shape: tuple[int, ...], biased: bool, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "measured", lambda: ours and products.native() is not None)
    monkeypatch.setattr(products, "_WORTH_A_LAYER", 0)
    generator = torch.Generator().manual_seed(len(shape))
    x, weight = torch.randn(shape, generator=generator), torch.randn(30, shape[-1], generator=generator)
    bias = torch.randn(30, generator=generator) if biased else None

    def run(function: Any, dtype: torch.dtype) -> list[Tensor]:
        given_ = [t.to(dtype).requires_grad_() for t in (x, weight, bias) if t is not None]
        y = function(*given_)
        return [y.detach(), *torch.autograd.grad(y.square().sum(), given_)]

    for found, truth in zip(run(linear, torch.float32), run(F.linear, torch.float64), strict=True):
        assert found.shape == truth.shape
        torch.testing.assert_close(found.double(), truth, rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias), rtol=1e-4, atol=1e-4)


@needs_kernels
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of torch's own forward mode
def test_what_looks_over_torchs_shoulder_sees_a_dense_layer(wherever_built: None) -> None:
    layer, x = Dense(32), torch.randn(256, 300)
    layer(x)
    assert is_ours(layer(x))
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}
    call = lambda w, x: torch.func.functional_call(layer, w, (x,)).square().sum()  # noqa: E731
    found = torch.func.grad(call)(weights, x)
    expected = torch.autograd.grad(layer(x).square().sum(), list(layer.parameters()))
    for ours, theirs in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        tangent = torch.autograd.forward_ad.unpack_dual(layer(dual)).tangent
    torch.testing.assert_close(tangent, F.linear(torch.ones_like(x), weights["weight"]), rtol=1e-4, atol=1e-4)
    with FlopCounterMode(display=False) as counter:
        layer(x)
    assert counter.get_total_flops() == 2 * 256 * 300 * 32
    traced = torch.jit.trace(lambda t: linear(t, weights["weight"], weights["bias"]), (x,))
    torch.testing.assert_close(traced(2 * x), layer(2 * x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.compile(layer, backend="eager")(x), layer(x), rtol=1e-4, atol=1e-4)
    with torch.device("meta"):
        assert linear(torch.empty(256, 300), torch.empty(32, 300)).is_meta


@needs_kernels
def test_gradients_of_gradients(wherever_built: None) -> None:
    x, weight = torch.randn(256, 300, requires_grad=True), torch.randn(30, 300, requires_grad=True)
    assert is_ours(linear(x, weight))
    found = []
    for function in (linear, F.linear):
        (first,) = torch.autograd.grad(function(x, weight).pow(3).sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), (x, weight)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@needs_kernels
def test_frozen_weights_and_what_is_no_number(wherever_built: None) -> None:
    x, weight, bias = torch.randn(256, 300), torch.randn(30, 300), torch.randn(30, requires_grad=True)
    x[3, 5] = float("nan")
    y = linear(x, weight, bias)
    assert is_ours(y)
    assert bool(y[3].isnan().all()) and not bool(y[:3].isnan().any())
    (d_bias,) = torch.autograd.grad(y[:3].sum(), bias)
    assert d_bias.eq(3).all()


@pytest.mark.parametrize(
    ("weight", "bias"),
    [
        (torch.randn(32, 200), None),
        (torch.randn(32, 300), torch.randn(31)),
        (torch.randn(32, 300), torch.randn(32, dtype=torch.float64)),
        (torch.randn(32, 300, dtype=torch.float64), None),
    ],
)
def test_what_does_not_fit_is_refused_as_by_torch(weight: Tensor, bias: Tensor | None) -> None:
    x = torch.randn(256, 300)
    with pytest.raises(RuntimeError) as theirs:
        F.linear(x, weight, bias)
    with pytest.raises(RuntimeError) as ours:
        linear(x, weight, bias)
    assert str(ours.value) == str(theirs.value)


@needs_kernels
def test_an_activation_in_place_and_rows_that_stand_apart() -> None:
    x, layer, plain = torch.randn(8, 40, 300), Dense(32, "relu"), Dense(32)
    for form in (x, x.transpose(0, 1), torch.randn(8, 40, 600)[..., ::2]):
        layer(form), plain(form)
        plain.load_state_dict(layer.state_dict())
        torch.testing.assert_close(layer(form), torch.relu(plain(form)))
        gradients = [
            torch.autograd.grad(y.sum(), m.weight)[0] for m, y in ((layer, layer(form)), (plain, plain(form).relu()))
        ]
        torch.testing.assert_close(*gradients)
