"""Two samples in one: partners, weights and soft targets of mix-up and CutMix.

Mix-up: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018. CutMix: Yun et al., "CutMix:
regularization strategy to train strong classifiers with localizable features", ICCV 2019.

Shapes: N samples, B batch, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from corecur.data.normalise import check_pictures
from corecur.data.random_keys import integers, uniform
from corecur.errors import ConfigError, DataError

# Share numbers are read from a table with this many equally likely rows: exact on every device.
SHARES = 2**14
_FINE = 2**15


@functools.lru_cache(maxsize=16)
def beta_shares(alpha: float, device: torch.device) -> Tensor:
    """Equally likely values of Beta(alpha, alpha), in rising order: (SHARES,) float32.

    Row i is the quantile of (i + 1/2) / SHARES. Up to x = 1/2 the density is integrated over s = x**min(alpha, 1), in
    which it is bounded for every alpha; the other half is its mirror image.

    >>> table = beta_shares(1.0, torch.device("cpu"))
    >>> bool((table - (torch.arange(SHARES) + 0.5) / SHARES).abs().max() < 1e-6)
    True
    """
    power = min(alpha, 1.0)
    s = np.linspace(0.0, 0.5**power, _FINE + 1)
    density = s ** (alpha / power - 1) * (1 - s ** (1 / power)) ** (alpha - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    wanted = (np.arange(SHARES // 2) + 0.5) / SHARES
    lower = np.interp(wanted, mass * (0.5 / mass[-1]), s) ** (1 / power)
    return torch.tensor(np.concatenate([lower, 1 - lower[::-1]]), dtype=torch.float32, device=device)


def inside(top: Tensor, left: Tensor, height: Tensor, width: Tensor, shape: tuple[int, int]) -> Tensor:
    """Which pixels lie in each sample's box; four (B,) int64 -> (B, H, W) bool, for pictures of ``shape`` (H, W).

    >>> inside(*(torch.tensor([1]) for _ in range(4)), (2, 3)).int()
    tensor([[[0, 0, 0],
             [0, 1, 0]]], dtype=torch.int32)
    """
    y = torch.arange(shape[0], device=top.device)
    x = torch.arange(shape[1], device=top.device)
    rows = (y >= top[:, None]) & (y < (top + height)[:, None])  # (B, H)
    columns = (x >= left[:, None]) & (x < (left + width)[:, None])  # (B, W)
    return rows[:, :, None] & columns[:, None, :]


def cut_weights(share: Tensor, centre_y: Tensor, centre_x: Tensor, shape: tuple[int, int]) -> Tensor:
    """CutMix' weight of the first picture: 0 in a box of ``1 - share`` of the area, 1 elsewhere; -> (B, H, W) float32.

    ``centre_y`` and ``centre_x`` (B,) in [0, 1) place the box; what hangs out of the picture is cut off, so the mean
    weight, not ``share``, is what the label has to follow.

    >>> half = torch.tensor([0.5])
    >>> cut_weights(torch.tensor([0.75]), half, half, (4, 4)).mean()
    tensor(0.7500)
    """
    side = (1 - share).sqrt()
    box = []
    for centre, size in ((centre_y, shape[0]), (centre_x, shape[1])):
        length = (side * size).round().long()
        start = (centre * size).floor().long() - torch.div(length, 2, rounding_mode="floor")
        box.append((start, length))
    (top, height), (left, width) = box
    return (~inside(top, left, height, width, shape)).to(torch.float32)


class Mixing:
    """Who is mixed with whom, and how much; every answer depends on (seed, epoch, sample index) alone.

    ``images`` (N, H, W, C) uint8 and ``labels``, (N,) class numbers or (N, K) floating shares, are the whole training
    data. ``mixup`` and ``cutmix`` are the alphas; where both are above 0 an even chance decides for each sample.
    Raises DataError where the data does not fit together, ConfigError where no alpha is above 0.

    >>> mixing = Mixing(torch.zeros(3, 1, 1, 1, dtype=torch.uint8), torch.arange(3), 3, mixup=1.0)
    >>> half = torch.full((1, 1, 1), 0.5)
    >>> mixing.targets(torch.tensor([0]), torch.tensor([2]), half)
    tensor([[0.5000, 0.0000, 0.5000]])
    """

    def __init__(
        self, images: Tensor, labels: Tensor, classes: int, *, mixup: float = 0.0, cutmix: float = 0.0
    ) -> None:
        check_pictures(images)
        if max(mixup, cutmix) <= 0:
            raise ConfigError("mixing needs an alpha", got=f"mixup {mixup}, cutmix {cutmix}", expected="one above 0")
        soft = labels.is_floating_point()
        right = labels.shape == ((len(images), classes) if soft else (len(images),))
        if not right or (not soft and bool(((labels < 0) | (labels >= classes)).any())):
            raise DataError(
                "the labels do not fit the pictures",
                got=f"{labels.dtype} {tuple(labels.shape)} for {len(images)} pictures",
                expected=f"({len(images)},) class numbers 0..{classes - 1}, or ({len(images)}, {classes}) shares",
            )
        self.images, self.labels, self.classes, self.mixup, self.cutmix = images, labels, classes, mixup, cutmix

    def partners(self, seed: int, epoch: int, index: Tensor) -> Tensor:
        """The sample that each sample is mixed with, any of the N: (B,) int64 -> (B,) int64."""
        return integers(seed, epoch, index, high=len(self.images), stream="partner")[:, 0]

    def weights(self, seed: int, epoch: int, index: Tensor, shape: tuple[int, int]) -> Tensor:
        """Each pixel's weight of the sample itself, the partner has the rest: (B,) -> (B, H, W) float32 in [0, 1]."""
        kind, y, x = uniform(seed, epoch, index, 3, stream="mix").unbind(1)
        row = integers(seed, epoch, index, high=SHARES, stream="share")[:, 0]
        blends = kind < (0.5 if self.cutmix else 1.0)  # an even chance where both are on
        weights = torch.ones(len(index), *shape, device=index.device)
        if self.cutmix:
            weights = cut_weights(beta_shares(self.cutmix, index.device)[row], y, x, shape)
        if self.mixup:
            share = beta_shares(self.mixup, index.device)[row]
            weights = torch.where(blends[:, None, None], share[:, None, None], weights)
        return weights

    def targets(self, index: Tensor, partner: Tensor, weights: Tensor) -> Tensor:
        """Both samples' classes in the shares of the pixels: (B,), (B,), (B, H, W) -> (B, K) float32."""
        own = weights.to(torch.float64).mean(dim=(1, 2)).to(torch.float32)[:, None]  # (B, 1)
        first, second = (self._shares(which, weights.device) for which in (index, partner))
        return first * own + second * (1 - own)

    def _shares(self, index: Tensor, device: torch.device) -> Tensor:
        """The labels of some samples as shares of the classes: (B,) -> (B, K) float32."""
        labels = self.labels.index_select(0, index.to(self.labels.device)).to(device)
        return labels if labels.is_floating_point() else one_hot(labels.long(), self.classes).to(torch.float32)
