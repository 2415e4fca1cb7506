"""Questions about small networks whose explanations are known."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from corecur.explain.question import Question, plain_question


def linear(weights: Tensor, bias: float = 0.0) -> Callable[[Tensor], Tensor]:
    """``w · x + b`` of variants (N, P)."""
    return lambda x: x @ weights + bias


def small_cnn(seed: int = 0) -> nn.Sequential:
    """A plain network of torch's over pictures (N, 1, 6, 6), three classes, in evaluation mode."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.ReLU()),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 3),
    ).eval()  # fmt: skip


def picture_question(network: nn.Module, picture: Tensor, place: int = 1) -> Question:
    """The logit of one class for a picture (6, 6, 1)."""
    return plain_question(lambda x: network(x.permute(0, 3, 1, 2))[:, place], picture, network=network, kind="image")
