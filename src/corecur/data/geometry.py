"""Where a picture's pixels come from: crop, shift and flip by whole pixels; rotation and zoom between them.

Outside the picture stands its reflection (the edge pixel is not repeated). The same displacement means the same in
both functions, so that turning rotation on does not change the crop a sample gets.

Shapes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


@dataclass(frozen=True)
class Moves:
    """How each picture of a batch moves; every tensor is (B,).

    ``down`` and ``right`` are int64 pixels added to where a pixel is read (+1 moves the content up, or left);
    ``mirror_y`` and ``mirror_x`` are bool, flips before that.

    >>> still = torch.zeros(2, dtype=torch.int64)
    >>> Moves(still, still, still.bool(), still.bool()).down.shape
    torch.Size([2])
    """

    down: Tensor
    right: Tensor
    mirror_y: Tensor
    mirror_x: Tensor


def _reflect(position: Tensor, size: int) -> Tensor:
    """Positions on an endless line of mirror images, brought back to 0..size-1."""
    period = max(2 * (size - 1), 1)
    position = position.remainder_(period)
    return torch.minimum(position, period - position) if size > 1 else position


def _sources(size: int, mirror: Tensor, offset: Tensor) -> Tensor:
    """The row (or column) that each output row shows: (B,), (B,) -> (B, size) int64."""
    place = torch.arange(size, device=offset.device)
    place = torch.where(mirror[:, None], place.flip(0), place)  # (B, size)
    return _reflect(place + offset[:, None], size)


def move(images: Tensor, moves: Moves) -> Tensor:
    """Crop, shift and flip by whole pixels, one gather for all: (B, H, W, C) of any dtype -> the same, new memory.

    >>> two = torch.tensor([[1, 2, 3], [1, 2, 3]], dtype=torch.uint8).view(2, 1, 3, 1)
    >>> zero, no = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool)
    >>> move(two, Moves(zero, torch.tensor([1, 0]), no, torch.tensor([False, True]))).flatten(1)
    tensor([[2, 3, 2],
            [3, 2, 1]], dtype=torch.uint8)
    """
    batch, height, width, channels = images.shape
    rows = _sources(height, moves.mirror_y, moves.down)  # (B, H)
    rows += torch.arange(batch, device=images.device)[:, None] * height
    columns = _sources(width, moves.mirror_x, moves.right)  # (B, W)
    pixels = (rows * width)[:, :, None] + columns[:, None, :]  # (B, H, W)
    # Grey pixels are gathered as numbers: rows of length one would be copied one call each.
    flat = images.reshape(-1) if channels == 1 else images.reshape(-1, channels)  # (B*H*W, C)
    return flat.index_select(0, pixels.view(-1)).view(batch, height, width, channels)


def warp(images: Tensor, moves: Moves, *, turn: Tensor, zoom: Tensor) -> Tensor:
    """Rotation and zoom about the centre, then ``moves``, in one bilinear sampling.

    ``images`` (B, H, W, C) uint8 -> the same shape, rounded to uint8. ``turn`` (B,) radians, positive is anticlockwise;
    ``zoom`` (B,), above 1 magnifies.

    >>> corner = torch.tensor([[[9], [0]], [[0], [0]]], dtype=torch.uint8)[None]
    >>> zero, no = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool)
    >>> warp(corner, Moves(zero, zero, no, no), turn=torch.tensor([torch.pi / 2]), zoom=torch.ones(1))[0, :, :, 0]
    tensor([[0, 0],
            [9, 0]], dtype=torch.uint8)
    """
    grid = _grid(images.shape[1], images.shape[2], moves, turn, zoom)  # (B, H, W, 2)
    planes = images.permute(0, 3, 1, 2).to(torch.float32)  # (B, C, H, W), channels last in memory
    moved = grid_sample(planes, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    return moved.round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _grid(height: int, width: int, moves: Moves, turn: Tensor, zoom: Tensor) -> Tensor:
    """Where each output pixel reads, -1 and 1 being the centres of the first and last pixel: (B, H, W, 2) float32.

    Written as sums of products, not as a matrix product: a picture's grid must not depend on its place in the batch.
    """
    zoom = zoom.to(torch.float64)
    cosine = (turn.to(torch.float64).cos() / zoom).to(torch.float32)[:, None]  # (B, 1)
    sine = (turn.to(torch.float64).sin() / zoom).to(torch.float32)[:, None]
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    y = _centred(height, moves.mirror_y)  # (B, H)
    x = _centred(width, moves.mirror_x)  # (B, W)
    read_x = (cosine * x + moves.right[:, None])[:, None, :] - (sine * y)[:, :, None]  # (B, H, W)
    read_y = (sine * x)[:, None, :] + (cosine * y + moves.down[:, None])[:, :, None]
    return torch.stack([read_x / (middle_x or 1.0), read_y / (middle_y or 1.0)], dim=-1)


def _centred(size: int, mirror: Tensor) -> Tensor:
    """Pixel positions counted from the middle, mirrored where asked: (B,) bool -> (B, size) float32."""
    return torch.where(mirror, -1.0, 1.0)[:, None] * (torch.arange(size, device=mirror.device) - (size - 1) / 2)
