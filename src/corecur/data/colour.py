"""Brightness, contrast, saturation and hue of a batch of pictures, each picture with numbers of its own.

All four are one affine map of a pixel's colour, so they cost one pass and are clipped once. Luma and the plane in which
hue turns are those of YIQ (ITU-R BT.601 luma weights; the rotation is that of SVG's ``feColorMatrix`` hueRotate).

Shapes: B batch, H height, W width, C channels, P pixels of a picture.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

# Rows give Y, I and Q of a colour (R, G, B).
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@functools.lru_cache(maxsize=8)
def _parts(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What a colour is made of: luma, chroma, and chroma a quarter turn on; three (3, 3) matrices."""
    back = np.linalg.inv(_YIQ)
    chosen = (np.diag([1.0, 0, 0]), np.diag([0, 1.0, 1.0]), np.array([[0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]))
    luma, chroma, turned = (torch.tensor(back @ part @ _YIQ, dtype=torch.float32, device=device) for part in chosen)
    return luma, chroma, turned


def _mix_channels(pixels: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Scale each picture's chroma by ``saturation`` and turn it by ``hue`` radians: (B, P, 3) -> (B, P, 3)."""
    luma, chroma, turned = _parts(pixels.device)
    angle = hue.to(torch.float64)[:, None, None]
    spread = saturation[:, None, None]
    matrix = luma + spread * (angle.cos().float() * chroma + angle.sin().float() * turned)  # (B, 3, 3)
    mixed = torch.empty_like(pixels)
    red, green, blue = pixels.unbind(-1)
    for channel, weights in enumerate(matrix.unbind(1)):  # weights (B, 3); sums, so that no batch changes the rounding
        w = weights[:, :, None]  # (B, 3, 1)
        torch.add(red * w[:, 0] + green * w[:, 1], blue * w[:, 2], out=mixed[:, :, channel])
    return mixed


def recolour(
    images: Tensor,
    *,
    brightness: Tensor | None = None,
    contrast: Tensor | None = None,
    saturation: Tensor | None = None,
    hue: Tensor | None = None,
) -> Tensor:
    """New colours, clipped to 0..255 and rounded: (B, H, W, C) uint8 -> the same shape, uint8.

    Each setting is (B,) float32 or None for none of it. ``brightness`` multiplies; ``contrast`` multiplies the
    distance to the picture's mean luma (its mean, where C is not 3); ``saturation`` multiplies the chroma; ``hue``
    turns it, in turns. Saturation and hue change nothing where C is not 3.

    >>> recolour(torch.full((1, 1, 1, 3), 100, dtype=torch.uint8), brightness=torch.tensor([1.5])).flatten()
    tensor([150, 150, 150], dtype=torch.uint8)
    """
    batch, height, width, channels = images.shape
    one = torch.ones(batch, device=images.device)
    pixels = images.reshape(batch, height * width, channels).to(torch.float32)  # (B, P, C)
    gain = one if brightness is None else brightness
    lift = None
    if contrast is not None:
        lift = gain * (1 - contrast) * _mean_luma(images)  # luma is kept by saturation and hue: the order is free
        gain = gain * contrast
    if channels == 3 and (saturation is not None or hue is not None):
        angle = torch.zeros_like(one) if hue is None else hue * (2 * torch.pi)
        pixels = _mix_channels(pixels, one if saturation is None else saturation, angle)
    pixels = pixels.mul_(gain[:, None, None])
    if lift is not None:
        pixels = pixels.add_(lift[:, None, None])
    return pixels.round_().clamp_(0, 255).to(torch.uint8).view(images.shape)


def _mean_luma(images: Tensor) -> Tensor:
    """The mean luma of each picture: (B, H, W, C) uint8 -> (B,) float32, from exact sums."""
    batch, height, width, channels = images.shape
    weights = _YIQ[0] if channels == 3 else np.full(channels, 1 / channels)
    sums = images.sum(dim=(1, 2), dtype=torch.int64).to(torch.float64)  # (B, C)
    terms = [weight * total for weight, total in zip(weights.tolist(), sums.unbind(1), strict=True)]
    return (torch.stack(terms).sum(dim=0) / (height * width)).to(torch.float32)
