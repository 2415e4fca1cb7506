"""Scaling, against scikit-learn and NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.preprocessing import StandardScaler

from corecur.data.series.series_scaling import SeriesScaling, fit_scaling, fit_table_scaling
from corecur.data.series.series_set import SeriesSet
from corecur.errors import ConfigError, DataError, ShapeError

RANDOM = np.random.default_rng(0)


def padded() -> tuple[SeriesSet, list[np.ndarray]]:
    ragged = [RANDOM.normal(5, 3, size=(length, 2)) for length in (4, 7, 1)]
    values, mask = torch.full((3, 7, 2), 1e6), torch.zeros(3, 7, dtype=torch.bool)
    for row, one in enumerate(ragged):
        values[row, : len(one)] = torch.tensor(one)
        mask[row, : len(one)] = True
    return SeriesSet(values, mask, None, ("a", "b", "c")), ragged


def test_by_channel_equals_scikit_learn_over_real_steps() -> None:
    series, ragged = padded()
    reference = StandardScaler().fit(np.concatenate(ragged))
    scaling = fit_scaling(series)
    np.testing.assert_allclose(scaling.mean, reference.mean_, rtol=1e-6)
    np.testing.assert_allclose(scaling.std, reference.scale_, rtol=1e-6)
    scaled = scaling(series.values, series.mask)
    for row, one in enumerate(ragged):
        np.testing.assert_allclose(scaled[row, : len(one)], reference.transform(one), atol=1e-5)
        assert not scaled[row, len(one) :].any()
    np.testing.assert_allclose(scaling.inverse(scaled)[1], ragged[1], atol=1e-4)


def test_by_series_equals_numpy() -> None:
    series, ragged = padded()
    scaled = fit_scaling(series, "series")(series.values, series.mask)
    for row, one in enumerate(ragged):
        std = one.std(0) if len(one) > 1 else np.ones(2)
        np.testing.assert_allclose(scaled[row, : len(one)], (one - one.mean(0)) / std, atol=1e-5)


def test_constant_channels_become_zero() -> None:
    values = torch.full((1000, 2), 0.1)
    values[:, 1] = 1e6 + 0.0625
    scaling = fit_table_scaling(values)
    assert scaling.std == (1.0, 1.0)
    assert float(scaling(values).abs().max()) < 1e-6
    flat = SeriesSet(torch.full((2, 9, 1), 3.3), None, None, ("a", "b"))
    assert float(fit_scaling(flat, "series")(flat.values).abs().max()) < 1e-6


def test_large_offsets_do_not_cancel() -> None:
    rows = RANDOM.normal(size=(500, 1)) + 1e9
    scaling = fit_table_scaling(torch.tensor(rows))
    np.testing.assert_allclose(scaling.std, rows.std(0), rtol=1e-6)


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(DataError, match="no row"):
        fit_table_scaling(torch.zeros(0, 2))
    with pytest.raises(ValidationError, match="no scaling"):
        SeriesScaling(kind="channel", mean=(0.0,), std=(0.0,))
    with pytest.raises(ShapeError, match="number of channels"):
        SeriesScaling(mean=(0.0,), std=(1.0,))(torch.zeros(1, 2, 3))
    with pytest.raises(ConfigError, match="by channel"):
        SeriesScaling(kind="series").inverse(torch.zeros(1, 2, 3))


def test_json_and_back() -> None:
    scaling = SeriesScaling(mean=(1 / 3,), std=(0.7,))
    assert SeriesScaling.model_validate_json(scaling.model_dump_json()) == scaling
