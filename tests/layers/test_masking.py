from __future__ import annotations

from typing import Any

import pytest
import torch

from corecur.errors import ConfigError, ShapeError
from corecur.layers.masking import Masking


def test_a_step_of_the_value_alone_is_padding() -> None:
    x = torch.tensor([[[0.0, 1.0], [0.0, 0.0], [2.0, 0.0]]], requires_grad=True)
    y = Masking()(x)
    assert y.mask.tolist() == [[True, False, True]]
    torch.testing.assert_close(y, x)
    y.sum().backward()
    assert x.grad is not None and x.grad[0, :, 0].tolist() == [1.0, 0.0, 1.0]


def test_another_value_becomes_zero_and_masks_add_up() -> None:
    x = torch.tensor([[[-1.0, -1.0], [1.0, -1.0], [float("nan"), 3.0]]])
    y = Masking(-1.0)(x, mask=torch.tensor([[True, True, False]]))
    assert y.tolist() == [[[0.0, 0.0], [1.0, -1.0], [0.0, 0.0]]]
    assert y.mask.tolist() == [[False, True, False]]


def test_steps_of_any_shape() -> None:
    x = torch.zeros(2, 3, 4, 5)
    x[0, 1, 2, 3] = 1
    assert Masking()(x).mask.nonzero().tolist() == [[0, 1]]


@pytest.mark.parametrize("wrong", [None, "0", float("nan"), float("inf"), True])
def test_a_value_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="mask_value"):
        Masking(wrong)


def test_what_is_no_sequence_is_refused() -> None:
    with pytest.raises(ShapeError, match="'mine'"):
        Masking(name="mine")(torch.zeros(2, 3))
