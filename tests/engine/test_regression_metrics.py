from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score, root_mean_squared_error

from corecur.engine.metrics import find_metric
from corecur.engine.regression_metrics import R2Score
from corecur.errors import ConfigError

PAIRS = {"mae": mean_absolute_error, "mse": mean_squared_error, "rmse": root_mean_squared_error, "r2": r2_score}


@given(st.integers(2, 30), st.integers(1, 3), st.floats(-1e6, 1e6), st.booleans(), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_against_scikit_learn(n: int, units: int, offset: float, weighted: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    y = random.normal(size=(n, units)) + offset
    o = y + random.normal(size=(n, units))
    weights = random.random(n) + 0.1 if weighted else None
    for name, reference in PAIRS.items():
        metric = find_metric(name)
        for part in np.array_split(np.arange(n), 3):
            extra = () if weights is None else (torch.tensor(weights[part]),)
            if len(part):
                metric.update(torch.tensor(y[part]), torch.tensor(o[part]), *extra)
        if name == "rmse" and units > 1:  # scikit-learn averages the roots of the units, Keras roots the average
            want = np.sqrt(mean_squared_error(y, o, sample_weight=weights))
        else:
            want = reference(y, o, sample_weight=weights)
        np.testing.assert_allclose(float(metric.result()), want, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("uniform_average", "uniform_average"), ("variance_weighted_average", "variance_weighted"), (None, "raw_values")],
)
def test_r2_aggregations(ours: Any, theirs: str) -> None:
    y, o = torch.randn(30, 3) * torch.tensor([1.0, 5.0, 0.1]), torch.randn(30, 3)
    metric = R2Score(ours)
    metric.update(y, o)
    np.testing.assert_allclose(metric.result(), r2_score(y, o, multioutput=theirs), rtol=1e-5)


def test_r2_of_a_constant() -> None:
    y = torch.full((4, 1), 3.0)
    for output, want in ((y, 1.0), (y + 1, 0.0)):
        metric = R2Score()
        metric.update(y, output)
        assert metric.result() == want == r2_score(y, output)


def test_flat_and_column_are_the_same() -> None:
    y, o = torch.randn(9), torch.randn(9)
    metric = R2Score()
    metric.update(y, o[:, None])
    assert metric.result() == pytest.approx(r2_score(y, o), rel=1e-5)


def test_refusals() -> None:
    with pytest.raises(ConfigError):
        R2Score("mean")  # type: ignore[arg-type]
