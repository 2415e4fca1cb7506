"""Pictures to answer for: a file, a folder, several of them, or arrays."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from corecur.data.images import Preparation
from corecur.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def read_pictures(source: Any, preparation: Preparation, *, skip_bad: bool = False) -> tuple[list[str], Tensor]:
    """Names and pictures (N, H, W, C) uint8, prepared as those the model was trained on."""
    if isinstance(source, (str, Path)) or (isinstance(source, (list, tuple)) and isinstance(source[0], (str, Path))):
        files = list(_files([source] if isinstance(source, (str, Path)) else source))
        images, bad = preparation.files(files, skip_bad=skip_bad)
        set_aside = {path for path, _ in bad}
        return [str(file) for file in files if file not in set_aside], images
    if getattr(source, "ndim", 4) < 4 and getattr(source, "shape", (0,))[-1] == preparation.channels:
        source = source[None]
    images = preparation.arrays(source)
    return [f"picture {number}" for number in range(len(images))], images


def _files(sources: Iterable[str | Path]) -> Iterable[Path]:
    for source in map(Path, sources):
        if source.is_dir():
            inside = sorted(p for p in source.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
            if not inside:
                raise DataError("there are no pictures in this folder", where=source, expected=", ".join(ENDINGS))
            yield from inside
        elif source.is_file():
            yield source
        else:
            raise DataError("there is no such picture or folder", where=source)
