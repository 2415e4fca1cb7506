from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corecur.errors import ConfigError, ShapeError
from corecur.layers.ordered_quantiles import OrderedQuantiles


@given(st.integers(1, 7), st.data())
def test_values_rise_and_the_middle_stays(count: int, data: st.DataObject) -> None:
    middle = data.draw(st.integers(0, count - 1))
    x = torch.tensor(data.draw(st.lists(st.floats(-50, 50, width=32), min_size=count, max_size=count)))
    y = OrderedQuantiles(middle)(x[None])[0]
    assert y[middle] == x[middle]
    assert bool((y.diff() >= 0).all())


def test_the_steps_are_softplus() -> None:
    x = torch.tensor([[0.3, -1.0, 2.0, 0.5, -0.2]], dtype=torch.float64)
    up = np.log1p(np.exp(x[0].numpy()))
    want = [2.0 - up[1] - up[0], 2.0 - up[1], 2.0, 2.0 + up[3], 2.0 + up[3] + up[4]]
    np.testing.assert_allclose(OrderedQuantiles()(x)[0], want)


def test_wrong_middle() -> None:
    with pytest.raises(ConfigError, match="middle"):
        OrderedQuantiles(-1)
    with pytest.raises(ShapeError, match="place 3"):
        OrderedQuantiles(3)(torch.zeros(2, 3))
