from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError, ShapeError
from corecur.layers.masks import mask_of
from corecur.layers.reversible import ReversibleNormalization, WindowStatistics


def test_statistics_are_numpys() -> None:
    x = torch.randn(4, 9, 3, dtype=torch.float64) * 5 + 2
    found = WindowStatistics(epsilon=1e-4)(x)
    np.testing.assert_allclose(found[:, 0], x.numpy().mean(1))
    np.testing.assert_allclose(found[:, 1], np.sqrt(x.numpy().var(1) + 1e-4))
    np.testing.assert_allclose(WindowStatistics("last")(x)[:, 0], x[:, -1])
    assert bool((WindowStatistics("last", scale=False)(x)[:, 1] == 1).all())


@pytest.mark.parametrize("center", ["mean", "last"])
@pytest.mark.parametrize("scale", [True, False])
def test_there_and_back(center: str, scale: bool) -> None:
    x = torch.randn(3, 6, 2, dtype=torch.float64) * 7 - 3
    statistics = WindowStatistics(center, scale=scale)(x)  # type: ignore[arg-type]
    z = ReversibleNormalization()([x, statistics])
    torch.testing.assert_close(ReversibleNormalization(reverse=True)([z, statistics]), x)
    with_quantiles = torch.stack([z, z + 1], -1)  # (B, H, C, Q)
    back = ReversibleNormalization(reverse=True)([with_quantiles, statistics])
    torch.testing.assert_close(back[..., 0], x)
    torch.testing.assert_close(back[..., 1] - back[..., 0], statistics[:, 1:].expand_as(x))


def test_a_shift_and_a_stretch_of_the_series_do_not_reach_the_network() -> None:
    x = torch.randn(2, 30, 1, dtype=torch.float64)
    normalise, measure = ReversibleNormalization(), WindowStatistics(epsilon=1e-12)
    other = 100 * x + 5000
    torch.testing.assert_close(normalise([x, measure(x)]), normalise([other, measure(other)]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("center", ["mean", "last"])
@pytest.mark.parametrize("keep", [slice(0, 4), slice(2, 6), [0, 3, 5]])
def test_padding_changes_nothing(center: str, keep: slice | list[int]) -> None:
    measure = WindowStatistics(center)  # type: ignore[arg-type]
    real = torch.randn(1, len(range(6)[keep]) if isinstance(keep, slice) else len(keep), 2)
    padded = torch.full((1, 6, 2), float("nan"))
    mask = torch.zeros(1, 6, dtype=torch.bool)
    padded[:, keep], mask[:, keep] = real, True
    padded.requires_grad_()
    found = measure(padded, mask=mask)
    torch.testing.assert_close(found, measure(real))
    assert mask_of(found) is None
    normal = ReversibleNormalization()([padded, found], mask=[mask, None])
    assert torch.equal(normal.mask, mask)
    torch.testing.assert_close(normal[mask][None], ReversibleNormalization()([real, measure(real)]))
    normal[mask].square().sum().backward()
    assert padded.grad is not None and bool(torch.isfinite(padded.grad).all())
    assert bool((padded.grad[~mask] == 0).all())


def test_a_row_without_real_steps_and_one_that_never_changes() -> None:
    x = torch.full((2, 4, 1), 3.0)
    mask = torch.tensor([[True] * 4, [False] * 4])
    found = WindowStatistics(epsilon=0.01)(x, mask=mask)
    torch.testing.assert_close(found[..., 0], torch.tensor([[3.0, 0.1], [0.0, 0.1]]))


def test_wrong_arguments_and_inputs() -> None:
    with pytest.raises(ConfigError, match="mean or last"):
        WindowStatistics("first")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="epsilon"):
        WindowStatistics(epsilon=0)
    with pytest.raises(ShapeError, match="needs a step"):
        WindowStatistics()(torch.zeros(2, 0, 3))
    with pytest.raises(ShapeError, match="list of tensors"):
        ReversibleNormalization()(torch.zeros(2, 3, 1))
    with pytest.raises(ShapeError, match="WindowStatistics"):
        ReversibleNormalization()([torch.zeros(2, 5, 3), torch.zeros(2, 2, 4)])
