"""Labelled images in memory, and how any picture becomes one of them.

Shapes: N samples, H height, W width, C channels (1 grey, 3 red green blue); uint8, channels last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.data.decoding import BadFile, Progress, count_steps, decode_files, refuse_bad_files
from corecur.data.image_arrays import prepare_arrays, to_array
from corecur.data.memory import fits_in_memory, gather
from corecur.data.pictures import quiet_pillow, read_picture
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding

MAX_SIDE = 8192


@dataclass(frozen=True)
class ImageSet:
    """Images of one split: pixels (N, H, W, C) uint8, class numbers (N,) int64 or None, and where each came from.

    >>> images = ImageSet(torch.zeros(3, 8, 8, 1, dtype=torch.uint8), torch.tensor([0, 1, 1]), ("a", "b", "c"))
    >>> len(images), images.take(torch.tensor([2, 0])).names
    (3, ('c', 'a'))
    """

    images: Tensor
    labels: Tensor | None
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.names), *(() if self.labels is None else (len(self.labels),))}
        if len(counts) > 1:
            raise DataError("images, labels and names differ in number", got=sorted(counts))

    def __len__(self) -> int:
        return len(self.images)

    def contents(self) -> list[bytes]:
        """A digest of the pixels of each picture."""
        rows = self.images.flatten(1).numpy()  # (N, H·W·C)
        return [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest() for row in rows]

    def take(self, index: Tensor) -> ImageSet:
        """The samples at ``index`` (M,) int64, in that order; kept on disk where they do not fit in memory."""
        labels = None if self.labels is None else self.labels[index]
        return ImageSet(gather(self.images, index), labels, tuple(self.names[i] for i in index.tolist()))


@dataclass(frozen=True)
class Preparation:
    """How any picture becomes a sample of (height, width, channels) uint8; the same at training and at prediction.

    ``white`` is the value that stands for white in float arrays, 1 or 255; None decides it for each array: 1 where no
    value is above 1, else 255. A source of float arrays fixes it, so that a dark picture is not read in another scale.

    >>> import numpy as np
    >>> Preparation(height=2, width=2, channels=1).from_array(np.full((4, 4, 3), 0.5)).flatten().tolist()
    [128, 128, 128, 128]
    """

    height: int
    width: int
    channels: int
    white: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("height", self.height), ("width", self.width)):
            if not 1 <= value <= MAX_SIDE:
                raise ConfigError(f"the {name} of pictures is out of range", got=value, expected=f"1 to {MAX_SIDE}")
        if self.channels not in (1, 3):
            raise ConfigError("pictures have 1 channel (grey) or 3 (colour)", got=self.channels)
        if self.white not in (None, 1.0, 255.0):
            raise ConfigError("white is 1 or 255 in float pictures", got=self.white)

    def from_file(self, path: str | Path) -> Tensor:
        """One picture file as (H, W, C) uint8; raises DataError where it cannot be read."""
        with quiet_pillow():
            pixels = read_picture(path, height=self.height, width=self.width, channels=self.channels)
        return torch.from_numpy(pixels.copy())

    def from_array(self, array: Any) -> Tensor:
        """One picture (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), integers 0…255 or floats, as (H, W, C) uint8.

        Floats lie in 0…1 or 0…255 (see ``white``); NaN, infinity and other ranges raise DataError.
        """
        return self.arrays(to_array(array, what="picture")[None])[0]

    def arrays(self, arrays: Any) -> Tensor:
        """Pictures of one size in one array, (N, h, w) or (N, h, w, 1 | 3 | 4), as (N, H, W, C) uint8."""
        array = to_array(arrays, what="images")
        size = len(array) * self.height * self.width * self.channels if array.ndim else 0
        return prepare_arrays(array, **asdict(self), on_disk=not fits_in_memory(size))

    def files(
        self,
        paths: Sequence[str | Path],
        *,
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> tuple[Tensor, list[BadFile]]:
        """Picture files as one tensor (N, H, W, C) uint8, and the files set aside with the reason of each.

        Without ``skip_bad`` any bad file raises a DataError that names them all. ``progress(done, total)`` is called
        now and then from the calling thread.
        """
        files = [Path(path) for path in paths]
        size = len(files) * self.height * self.width * self.channels
        pictures, _, bad = decode_files(
            files,
            height=self.height,
            width=self.width,
            channels=self.channels,
            on_disk=not fits_in_memory(size),
            step=count_steps(progress, len(files)),
        )
        if not skip_bad:
            refuse_bad_files(bad, total=len(files), where=None)
        return pictures, bad


@dataclass(frozen=True)
class ImageSource:
    """Everything a source of labelled pictures holds, prepared, with what is odd about it in ``findings``.

    ``classes[k]`` is the name of class number k. A split the source does not have is None.
    """

    origin: str
    kind: str
    classes: tuple[str, ...]
    train: ImageSet
    validation: ImageSet | None
    test: ImageSet | None
    preparation: Preparation
    findings: tuple[Finding, ...]
