"""Pictures to network inputs: every channel shifted to mean 0 and scaled to standard deviation 1.

Shapes: N samples, B batch, H height, W width, C channels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from corecur.errors import ConfigError, DataError, ShapeError

_WHITE = 255
# No channel in units of 0..1 is outside; inside, a scaled picture is a finite float32 whatever the file says.
_LARGEST, _SMALLEST_STD = 1e9, 1e-9


def check_pictures(images: Tensor) -> None:
    """Raise unless ``images`` is a uint8 tensor (N, H, W, C) with at least one pixel a picture.

    >>> check_pictures(torch.zeros(1, 2, 2, 3, dtype=torch.uint8))
    """
    if images.dtype != torch.uint8 or images.dim() != 4 or 0 in images.shape[1:]:
        raise DataError(
            "this is not a batch of pictures",
            got=f"{images.dtype} {tuple(images.shape)}",
            expected="torch.uint8 (samples, height, width, channels)",
            do="pass the decoded pictures, before any scaling",
        )


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, in units of the picture scaled to 0..1.

    ``dataclasses.asdict`` gives its JSON form and ``Normalisation(**form)`` takes it back. Raises ConfigError where the
    two lengths differ, a number is not finite or beyond any picture, or a standard deviation is not positive.

    >>> Normalisation(mean=(0.5,), std=(0.5,))(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1)).flatten()
    tensor([-1.,  1.])
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))  # JSON gives lists
        right = len(self.mean) == len(self.std) > 0 and all(abs(value) <= _LARGEST for value in self.mean + self.std)
        if not right or min(self.std) < _SMALLEST_STD:
            raise ConfigError(
                "this is no normalisation",
                got=f"mean {self.mean}, std {self.std}",
                expected="one finite mean and one positive std for every channel",
            )

    def __call__(self, images: Tensor) -> Tensor:
        """``(x / 255 - mean) / std``: (B, H, W, C) uint8 -> (B, H, W, C) float32.

        Raises DataError for what is no pictures, ShapeError for another number of channels.
        """
        check_pictures(images)
        batch, height, width, channels = images.shape
        if channels != len(self.mean):
            raise ShapeError(
                "the pictures have the wrong number of channels",
                got=channels,
                expected=len(self.mean),
                do="convert them to the colours this network was trained with",
            )
        scale, shift = _scale_and_shift(self, width, images.device)
        # Rows of W * C numbers: a broadcast over the 3 channels alone would leave the vector units idle. Two roundings
        # instead of one fused operation, so that no element depends on its place in a vector register.
        rows = images.reshape(batch * height, width * channels)  # (B*H, W*C)
        return rows.to(torch.float32).mul_(scale).add_(shift).view(batch, height, width, channels)


@functools.lru_cache(maxsize=64)
def _scale_and_shift(normalisation: Normalisation, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The two rows of W * C numbers: ``1 / (255 std)`` and ``-mean / std``."""
    mean, std = normalisation.mean, normalisation.std
    scale = torch.tensor([1 / (_WHITE * s) for s in std], dtype=torch.float32).repeat(width)  # (W*C,)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], dtype=torch.float32).repeat(width)
    return scale.to(device), shift.to(device)


def fit_normalisation(images: Tensor) -> Normalisation:
    """Mean and (population) standard deviation of each channel of (N, H, W, C) uint8, exact before the last rounding.

    A channel that is constant has no scale of its own: its std is 1, so that it becomes all zeros. Raises DataError
    where there is no picture.

    >>> fit_normalisation(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1))
    Normalisation(mean=(0.5,), std=(0.5,))
    """
    check_pictures(images)
    if len(images) == 0:
        raise DataError("there is no picture to fit the normalisation to", got=tuple(images.shape))
    moments = [_moments(torch.bincount(channel.reshape(-1), minlength=256).tolist()) for channel in images.unbind(-1)]
    return Normalisation(mean=tuple(m for m, _ in moments), std=tuple(s for _, s in moments))


def _moments(counts: Iterable[int]) -> tuple[float, float]:
    """Mean and standard deviation, in units of 255, of the values 0, 1, … that occur so many times."""
    pixels = total = squares = 0
    for value, count in enumerate(counts):
        pixels += count
        total += count * value
        squares += count * value * value
    spread = pixels * squares - total * total  # = pixels**2 times the variance: whole numbers, nothing cancels
    std = math.sqrt(spread) / (pixels * _WHITE) if spread else 1.0
    return total / (pixels * _WHITE), std
