from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from corecur.data.mixing import SHARES, Mixing, beta_shares, cut_weights, inside
from corecur.errors import ConfigError, DataError

CPU = torch.device("cpu")


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5, 1.0, 2.0, 8.0, 50.0])
def test_shares_are_the_quantiles_of_the_beta_distribution(alpha: float) -> None:
    table = beta_shares(alpha, CPU).double().numpy()
    expected = stats.beta(alpha, alpha).ppf((np.arange(SHARES) + 0.5) / SHARES)
    np.testing.assert_allclose(table, expected, atol=2e-4)
    assert table.mean() == pytest.approx(0.5, abs=1e-6)
    assert table.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=2e-3)


def test_inside_is_a_slice() -> None:
    top, left, height, width = (torch.tensor(v) for v in ([0, 2, -1], [1, 0, 3], [2, 9, 2], [2, 1, 0]))
    got = inside(top, left, height, width, (4, 5))
    expected = torch.zeros(3, 4, 5, dtype=torch.bool)
    expected[0, 0:2, 1:3] = True
    expected[1, 2:, 0:1] = True
    assert torch.equal(got, expected)


def test_cut_box_has_the_area_asked_for_where_it_fits() -> None:
    share = torch.linspace(0, 1, 11)
    centre = torch.full((11,), 0.5)
    kept = cut_weights(share, centre, centre, (200, 200)).mean(dim=(1, 2))
    assert (kept - share).abs().max() < 0.01
    corner = cut_weights(torch.tensor([0.0]), torch.zeros(1), torch.zeros(1), (10, 10))
    assert corner.mean() == 0.75  # a quarter of the box is in the picture


def data(n: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(n, 8, 8, 1, dtype=torch.uint8), torch.arange(n) % 4


@pytest.mark.parametrize("alphas", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_labels_follow_the_pixels_and_sum_to_one(alphas: dict[str, float]) -> None:
    images, labels = data()
    mixing = Mixing(images, labels, 4, **alphas)
    index = torch.arange(50)
    partner = mixing.partners(0, 1, index)
    weights = mixing.weights(0, 1, index, (8, 8))
    targets = mixing.targets(index, partner, weights)
    assert targets.shape == (50, 4) and torch.allclose(targets.sum(1), torch.ones(50))
    for i in range(50):
        expected = torch.zeros(4)
        expected[labels[i]] += weights[i].mean()
        expected[labels[partner[i]]] += 1 - weights[i].mean()
        assert torch.allclose(targets[i], expected, atol=1e-6)


def test_both_alphas_give_each_sample_one_kind() -> None:
    images, labels = data(2000)
    weights = Mixing(images, labels, 4, mixup=1.0, cutmix=1.0).weights(0, 0, torch.arange(2000), (8, 8)).flatten(1)
    boxes = ((weights == 0) | (weights == 1)).all(dim=1)
    blends = (weights == weights[:, :1]).all(dim=1)
    assert (boxes | blends).all() and 0.4 < boxes.double().mean() < 0.6


def test_partners_come_from_the_whole_data() -> None:
    images, labels = data(40)
    partners = Mixing(images, labels, 4, mixup=1.0).partners(0, 0, torch.arange(2000))
    assert stats.chisquare(partners.bincount(minlength=40).numpy()).pvalue > 1e-4


def test_soft_labels_are_mixed_as_they_are() -> None:
    images, _ = data(2)
    soft = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    mixing = Mixing(images, soft, 2, mixup=1.0)
    got = mixing.targets(torch.tensor([0]), torch.tensor([1]), torch.full((1, 8, 8), 0.5))
    assert torch.allclose(got, soft.mean(dim=0, keepdim=True))


def test_data_that_does_not_fit_is_refused() -> None:
    images, labels = data()
    for wrong in (labels[:-1], labels + 1, labels - 1, torch.zeros(50, 3)):
        with pytest.raises(DataError, match="labels do not fit"):
            Mixing(images, wrong, 4, mixup=1.0)
    with pytest.raises(ConfigError, match="alpha"):
        Mixing(images, labels, 4)
