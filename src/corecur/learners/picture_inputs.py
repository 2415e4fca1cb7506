"""Pictures to answer for: a file, a folder, several of them, or arrays.

N samples, H height, W width, C channels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from corecur.data.class_folders import list_folder
from corecur.data.decoding import Progress, refuse_bad_files
from corecur.data.images import Preparation
from corecur.data.pictures import SUFFIXES
from corecur.errors import DataError


def read_pictures(
    source: Any, preparation: Preparation, *, skip_bad: bool = False, progress: Progress | None = None
) -> tuple[list[str], Tensor]:
    """Names and pictures (N, H, W, C) uint8, prepared as those the model was trained on, in the order given.

    ``source`` is a file, a folder (searched through, in natural order), a list of them, one picture (H, W) or
    (H, W, C), or several (N, H, W) or (N, H, W, C). Raises DataError for what is none of these, for files that cannot
    be read (all of them are named; with ``skip_bad`` they are left out), and where nothing is left.

    >>> names, images = read_pictures([[[0, 255], [255, 0]]], Preparation(height=2, width=2, channels=1))
    >>> names, images.shape
    (['picture 0'], torch.Size([1, 2, 2, 1]))
    """
    if isinstance(source, (str, os.PathLike)):
        source = [source]
    if isinstance(source, (list, tuple)) and all(isinstance(entry, (str, os.PathLike)) for entry in source):
        if not source:
            raise DataError("there are no pictures to answer for", got=repr(source), do="name a file or a folder")
        files = [file for entry in source for file in _files(Path(entry))]
        images, bad = preparation.files(files, skip_bad=skip_bad, progress=progress)
        if not len(images):
            refuse_bad_files(bad, total=len(files), where=None)
        set_aside = {path for path, _ in bad}
        return [str(file) for file in files if file not in set_aside], images
    images = preparation.from_array(source)[None] if _is_one_picture(source) else preparation.arrays(source)
    return [f"picture {number}" for number in range(len(images))], images


def _is_one_picture(source: Any) -> bool:
    """Whether an array is one picture, (H, W) or (H, W, C), and not several."""
    shape = tuple(getattr(source, "shape", ()))
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3, 4))


def _files(source: Path) -> Iterable[Path]:
    source = source.expanduser()
    if source.is_dir():
        inside = list(_pictures_below(source))
        if not inside:
            expected = ", ".join(sorted(suffix[1:].upper() for suffix in SUFFIXES)) + " files"
            raise DataError("there are no pictures in this folder", where=source, expected=expected)
        return inside
    if not source.exists():
        raise DataError("there is no such picture or folder", where=source)
    return [source]


def _pictures_below(folder: Path) -> Iterator[Path]:
    """Pictures in a folder and in the folders inside it; links to folders may circle: they are not followed."""
    listing = list_folder(folder)
    yield from listing.pictures
    for inner in listing.folders:
        if not inner.is_symlink():
            yield from _pictures_below(inner)
