from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from corecur.errors import ConfigError
from corecur.layers import LAYERS

from .reference import draw

FORMS: list[tuple[int, Any, list[tuple[int, int]]]] = [
    (1, 2, [(2, 2)]),
    (1, (2, 1), [(2, 1)]),
    (2, 1, [(1, 1), (1, 1)]),
    (2, (1, 2), [(1, 1), (2, 2)]),
    (2, ((1, 0), (2, 1)), [(1, 0), (2, 1)]),
    (2, [[1, 0], [2, 1]], [(1, 0), (2, 1)]),
    (3, (0, 1, 2), [(0, 0), (1, 1), (2, 2)]),
    (3, ((1, 0), (0, 2), (1, 1)), [(1, 0), (0, 2), (1, 1)]),
]


@pytest.mark.parametrize(("axes", "padding", "sides"), FORMS)
def test_every_form_is_numpys_pad(axes: int, padding: Any, sides: list[tuple[int, int]]) -> None:
    x = draw(2, *(3, 4, 5)[:axes], 2)
    layer = LAYERS[f"ZeroPadding{axes}D"](padding)
    expected = np.pad(x, [(0, 0), *sides, (0, 0)])
    np.testing.assert_array_equal(layer(torch.from_numpy(x)), expected)


@pytest.mark.parametrize("padding", [-1, (1, 2, 3), ((1, 2, 3), (1, 1)), "1", (0.5, 1), True])
def test_other_forms_are_refused(padding: Any) -> None:
    with pytest.raises(ConfigError, match="ZeroPadding2D's padding"):
        LAYERS["ZeroPadding2D"](padding)
