"""Products in parts against float64, over the layouts that gradients come in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from corecur.kernels.products import product


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


@pytest.mark.parametrize("form", ["rows", "turned"])
@pytest.mark.parametrize(("rows", "depth", "columns"), [(384, 400, 80), (400, 640, 64), (401, 640, 64), (8, 5, 3)])
def test_a_product_is_that_of_float64(rows: int, depth: int, columns: int, form: str) -> None:
    a, b = factors(rows, depth, columns, form)
    true = a.double() @ b.double()
    out = torch.full((rows + 1, columns), 7.0)
    found = product(a, b), product(a, b, out[:-1])
    for ours in found:
        torch.testing.assert_close(ours.double(), true, rtol=0, atol=1e-6 * depth)
    assert found[1].data_ptr() == out.data_ptr()
    assert torch.equal(out[:-1], found[0])
    assert bool((out[-1] == 7.0).all())


def test_large_products_come_in_parts(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b, **more: (seen.append(len(a)), bmm(a, b, **more))[1])
    product(*factors(384, 400, 80, "turned"))
    product(*factors(8, 5, 3, "turned"))
    assert seen == ([threads] if threads > 1 else [])
