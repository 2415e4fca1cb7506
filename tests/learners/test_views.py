from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.learners.views import average_over_views


def corner(x: Tensor) -> Tensor:
    """The pixel at the upper left (B, C)."""
    return x[:, 0, 0]


def middle(x: Tensor) -> Tensor:
    return x[:, 2, 1]


def test_one_view_is_the_network_itself() -> None:
    x = torch.rand(3, 5, 4, 2)
    assert torch.equal(average_over_views(corner, x, "one"), corner(x))


@pytest.mark.parametrize("network", [corner, middle])
def test_shifted_views_count_half(network: object) -> None:
    assert callable(network)
    x = torch.rand(3, 5, 4, 2)
    padded = F.pad(x.movedim(3, 1), (1, 1, 1, 1), mode="reflect").movedim(1, 3)
    down_right, up_left = padded[:, :5, :4], padded[:, 2:, 2:]
    wanted = (network(x) + (network(down_right) + network(up_left)) / 2) / 2
    torch.testing.assert_close(average_over_views(network, x, "shifted"), wanted)


def test_a_single_pixel_has_views_too() -> None:
    x = torch.rand(3, 1, 1, 2)
    torch.testing.assert_close(average_over_views(corner, x, "shifted-mirrored"), corner(x))


def test_mirrored_views_count_like_the_others() -> None:
    x = torch.rand(3, 5, 4, 2)
    one, other = average_over_views(middle, x, "shifted"), average_over_views(lambda v: middle(v.flip(2)), x, "shifted")
    torch.testing.assert_close(average_over_views(middle, x, "shifted-mirrored"), (one + other) / 2)


def test_probabilities_stay_probabilities() -> None:
    x = torch.rand(3, 5, 4, 2)
    answers = average_over_views(lambda v: v.flatten(1).softmax(1), x, "shifted-mirrored")
    torch.testing.assert_close(answers.sum(1), torch.ones(3))
