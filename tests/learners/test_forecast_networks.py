from __future__ import annotations

from pathlib import Path

import pytest
import torch

from corecur.learners.forecast_networks import FORECAST_NETWORKS, Form
from corecur.model_file import load_model, save_model

FORM = Form(lookback=24, columns=3, horizon=6, quantiles=3, segment=4, hidden=8, dropout=0.3)
every = pytest.mark.parametrize("name", FORECAST_NETWORKS)


@every
@pytest.mark.parametrize("normalisation", ["window", "last", "none"])
def test_quantiles_rise_and_a_bundle_keeps_the_network(name: str, normalisation: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    form = Form(**{**vars(FORM), "normalisation": normalisation})
    network = FORECAST_NETWORKS[name](form).eval()
    x = torch.randn(5, 24, 3) * 4 + 100
    y = network(x)
    assert y.shape == (5, 6, 3, 3)
    assert bool((y.diff(dim=-1) >= 0).all())
    again = load_model(save_model(network, tmp_path / "net"))
    assert torch.equal(again(x), y)


@every
def test_each_column_is_forecast_from_its_own_past(name: str) -> None:
    torch.manual_seed(1)
    network = FORECAST_NETWORKS[name](FORM).eval()
    x = torch.randn(2, 24, 3)
    other = x.clone()
    other[..., 1] += torch.randn(2, 24)
    apart = (network(x) - network(other)).abs().amax((0, 1, 3))
    assert apart[0] == apart[2] == 0 and apart[1] > 0


@every
@pytest.mark.parametrize(("normalisation", "change"), [("window", lambda x: 30 * x - 500), ("last", lambda x: x - 500)])
def test_what_is_taken_away_comes_back(name: str, normalisation: str, change: object) -> None:
    torch.manual_seed(2)
    network = FORECAST_NETWORKS[name](Form(**{**vars(FORM), "normalisation": normalisation})).eval()
    x = torch.randn(2, 24, 3)
    torch.testing.assert_close(network(change(x)), change(network(x)), rtol=1e-3, atol=1e-2)  # type: ignore[operator]


@every
def test_an_answer_does_not_depend_on_its_batch(name: str) -> None:
    network = FORECAST_NETWORKS[name](FORM).eval()
    x = torch.randn(7, 24, 3)
    torch.testing.assert_close(network(x)[3:4], network(x[3:4]), rtol=1e-5, atol=1e-5)


def test_the_gru_tells_columns_apart() -> None:
    torch.manual_seed(3)
    network = FORECAST_NETWORKS["segment-gru"](FORM).eval()
    x = torch.randn(1, 24, 1).expand(1, 24, 3)
    y = network(x)
    assert bool((y[:, :, 0] != y[:, :, 1]).any())
