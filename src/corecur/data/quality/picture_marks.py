"""What a check keeps of a picture once it is decoded: a few numbers in memory, what it looks like in a file.

Shapes: H height, W width, F numbers that describe a picture, P pairs, S side of the squares that are compared.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

_SIDE, _COLOUR_SIDE = 16, 8
#: Side of the squares in which two pictures are laid on each other.
ALIGNED = 24
# Scale and shift that still count as the same picture, and the share of it that must be in both.
_SCALES, _SHIFT, _SHARED = (0.8, 1.25), 0.25, 0.6
#: How many numbers say what a picture looks like.
LOOK = _SIDE**2 + 2 * _COLOUR_SIDE**2
#: What stays in memory of a picture; ``shows`` is whether anything can be seen on it.
KEPT = np.dtype([
    ("height", "i4"), ("width", "i4"), ("grey", "?"), ("shows", "?"), ("form", "S10"), ("digest", "S16"),
    ("contrast", "f8"), ("brightness", "f8"), ("corners", "f8"), ("roughness", "f8"),
])  # fmt: skip


@dataclass(frozen=True)
class Marks:
    """One picture: sides, form of its file, digest of its pixels, what it looks like (F,), and a few measures."""

    height: int
    width: int
    grey: bool
    form: str
    digest: bytes
    look: NDArray[np.float16]
    contrast: float  # standard deviation of its brightness, 0 to 128
    brightness: float
    corners: float  # mean brightness of the corners
    roughness: float  # mean square of differences between pixels beside and above each other, by the variance

    def kept(self) -> tuple[object, ...]:
        """The fields of ``KEPT``.

        >>> from PIL import Image
        >>> np.array(marks_of(Image.new("L", (9, 5)), form="PNG", size=(5, 9), grey=True).kept(), KEPT)["form"]
        array(b'PNG', dtype='|S10')
        """
        return (self.height, self.width, self.grey, self.look.any(), self.form.encode(), self.digest, self.contrast,
                self.brightness, self.corners, self.roughness)  # fmt: skip


def marks_of(image: Image.Image, *, form: str, size: tuple[int, int], grey: bool) -> Marks:
    """The marks of a decoded picture in mode L or RGB, upright; ``size`` is (height, width) of the whole picture.

    >>> from PIL import Image
    >>> marks_of(Image.new("L", (9, 5), 7), form="PNG", size=(5, 9), grey=True).contrast
    0.0
    """
    pixels = np.asarray(image)
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16)
    digest.update(repr((size, pixels.shape[:2])).encode())
    bright = pixels.astype(np.float32) if pixels.ndim == 2 else np.asarray(image.convert("L"), dtype=np.float32)
    variance, h, w = float(bright.var()), max(1, bright.shape[0] // 10), max(1, bright.shape[1] // 10)
    corners = np.concatenate([bright[a, b].ravel() for a in (slice(h), slice(-h, None))
                              for b in (slice(w), slice(-w, None))])  # fmt: skip
    steps = [np.square(np.diff(bright, axis=axis)).mean() if bright.shape[axis] > 1 else 0.0 for axis in (0, 1)]
    return Marks(
        height=size[0],
        width=size[1],
        grey=grey,
        form=form,
        digest=digest.digest(),
        look=_look(image),
        contrast=float(np.sqrt(variance)),
        brightness=float(bright.mean()),
        corners=float(corners.mean()),
        roughness=float(np.mean(steps) / variance) if variance > 1 else 0.0,
    )


def _look(image: Image.Image) -> NDArray[np.float16]:
    """Brightness on 16 × 16 squares and colour on 8 × 8, without their means, of norm 1; zeros where nothing shows."""
    from PIL import Image

    planes = [image] if image.mode == "L" else list(image.convert("YCbCr").split())
    parts = []
    for plane, side, weight in zip(planes, (_SIDE, _COLOUR_SIDE, _COLOUR_SIDE), (1.0, 2.0, 2.0), strict=False):
        way = Image.Resampling.BOX if min(plane.size) > side else Image.Resampling.BILINEAR
        small = np.asarray(plane.resize((side, side), way), dtype=np.float32).ravel()
        parts.append((small - small.mean()) * weight)
    parts += [np.zeros(_COLOUR_SIDE**2, np.float32)] * (3 - len(parts))
    look = np.concatenate(parts)
    norm = float(np.linalg.norm(look))
    return (look / norm if norm > len(look) ** 0.5 else np.zeros_like(look)).astype(np.float16)


def square(image: Image.Image) -> NDArray[np.float32]:
    """The brightness of a picture, squeezed to (S, S).

    >>> from PIL import Image
    >>> square(Image.new("L", (90, 40), 7)).shape
    (24, 24)
    """
    from PIL import Image

    way = Image.Resampling.BOX if min(image.size) > ALIGNED else Image.Resampling.BILINEAR
    return np.asarray(image.convert("L").resize((ALIGNED, ALIGNED), way), dtype=np.float32)


@torch.no_grad()
def misfit(first: NDArray[np.float32], second: NDArray[np.float32], *, steps: int = 12) -> NDArray[np.float32]:
    """How much of the second squares (P, S, S) the first cannot explain, once shifted and scaled to fit: (P,) in 0…2.

    One minus the correlation where both are, the best of some Gauss-Newton steps over scale and shift along both
    axes, brightness and contrast.

    >>> waves = np.sin(np.add.outer(np.arange(40) / 5, np.arange(40) / 7) ** 1.3).astype(np.float32)[None]
    >>> bool(misfit(waves[:, 2:34, 1:33], waves[:, :32, :32])[0] < 0.01)
    True
    """
    size, count = first.shape[1], len(first)
    a, b = _blurred(first), _blurred(second).view(count, -1)
    along = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = (grid.reshape(1, -1) for grid in torch.meshgrid(along, along, indexing="ij"))
    place = torch.tensor([1.0, 0.0, 1.0, 0.0]).repeat(count, 1)  # (P, 4): scale and shift of x, then of y
    best = torch.full((count,), 2.0)
    for _ in range(steps):
        grid = torch.stack([place[:, :1] * x + place[:, 1:2], place[:, 2:3] * y + place[:, 3:]], -1)  # (P, S·S, 2)
        moved = F.grid_sample(a, grid.view(count, size, size, 2), align_corners=False, padding_mode="border")
        there = (grid.abs() <= 1).all(-1).float()  # (P, S·S)
        flat = moved.view(count, -1)
        best = torch.minimum(best, _unexplained(flat, b, there))
        across = F.pad((moved[..., 2:] - moved[..., :-2]) * size / 4, (1, 1)).view(count, -1) / place[:, :1]
        down = F.pad((moved[:, :, 2:] - moved[:, :, :-2]) * size / 4, (0, 0, 1, 1)).view(count, -1) / place[:, 2:3]
        slopes = torch.stack([across * x, across, down * y, down, flat, torch.ones_like(flat)], -1) * there[..., None]
        normal = slopes.transpose(1, 2) @ slopes + 0.01 * torch.eye(6)
        solved = torch.linalg.solve(normal, slopes.transpose(1, 2) @ (b * there)[..., None])[..., 0]  # (P, 6)
        place = place + (solved[:, :4] / solved[:, 4:5].clamp_min(0.2)).clamp(-0.1, 0.1)
        place[:, ::2] = place[:, ::2].clamp(*_SCALES)
        place[:, 1::2] = place[:, 1::2].clamp(-_SHIFT, _SHIFT)
    return best.numpy()


def _unexplained(a: Tensor, b: Tensor, there: Tensor) -> Tensor:
    shared = there.sum(1, keepdim=True)
    a, b = ((v - (v * there).sum(1, keepdim=True) / shared.clamp_min(1)) * there for v in (a, b))
    agreement = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-6)
    return torch.where(shared[:, 0] >= _SHARED * there.shape[1], 1 - agreement, 2.0)


def _blurred(squares: NDArray[np.float32]) -> Tensor:
    kernel = torch.tensor([0.25, 0.5, 0.25])
    padded = F.pad(torch.from_numpy(np.ascontiguousarray(squares))[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 3)), kernel.view(1, 1, 3, 1))
