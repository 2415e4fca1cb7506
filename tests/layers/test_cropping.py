from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError, ShapeError
from corecur.layers import LAYERS
from corecur.layers.cropping import Cropping2D
from corecur.layers.symbolic import SymbolicTensor

from .reference import draw
from .test_zero_padding import FORMS


@pytest.mark.parametrize(("axes", "cropping", "sides"), FORMS)
def test_every_form_undoes_the_padding(axes: int, cropping: Any, sides: list[tuple[int, int]]) -> None:
    x = draw(2, *(3, 4, 5)[:axes], 2)
    wide = torch.from_numpy(np.pad(x, [(0, 0), *sides, (0, 0)], constant_values=9))
    layer = LAYERS[f"Cropping{axes}D"](cropping)
    np.testing.assert_array_equal(layer(wide), x)


def test_cropping2d_cuts_nothing_unless_told_as_in_keras() -> None:
    x = torch.randn(1, 3, 3, 1)
    assert torch.equal(Cropping2D()(x), x)


def test_cutting_everything_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"(?s)layer 'c' \(Cropping2D\).*an axis of 3 positions.*more than 3"):
        Cropping2D(((1, 1), (2, 1)), name="c")(torch.zeros(1, 5, 3, 1))
    with pytest.raises(ShapeError, match=r"\(None, 2, 2, 1\)"):
        Cropping2D(1)(SymbolicTensor((None, 2, 2, 1)))


def test_wrong_forms_are_refused() -> None:
    with pytest.raises(ConfigError, match="Cropping2D's cropping"):
        Cropping2D((1, 2, 3))
