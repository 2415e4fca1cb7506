"""IDX files, the format of MNIST: two zero bytes, a type byte, the number of axes, their lengths, the numbers.

Big-endian; described at the foot of the MNIST page (LeCun, Cortes, Burges).
Shapes: N samples, H height, W width.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from corecur.data.gathered import SPLITS, Gathered, Part
from corecur.data.image_arrays import array_part
from corecur.data.memory import refuse_larger_than_memory
from corecur.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_AXES = 4
# deflate cannot do better, so a header that claims more lies.
GZIP_RATIO = 1032

IMAGES = re.compile(r"(?P<front>.*?)images(?P<back>[-.]idx[34]-ubyte(\.gz)?)", re.IGNORECASE)
SPLIT_NAMES = (("train", "train"), ("val", "validation"), ("valid", "validation"), ("t10k", "test"), ("test", "test"))


def is_idx(source: Path) -> bool:
    """Whether the source is an IDX file of images, or a folder that holds one.

    >>> is_idx(Path("train-images-idx3-ubyte.gz"))
    True
    """
    if source.is_dir():
        return any(IMAGES.fullmatch(path.name) for path in source.iterdir())
    return IMAGES.fullmatch(source.name) is not None


def gather_idx(source: Path) -> Gathered:
    """Read image files and the label files beside them.

    The word ``train``, ``val``, ``t10k`` or ``test`` in a name gives the split. A single image file is read as the
    training split, whatever its name. Raises DataError for a missing label file, for lengths that differ, and for
    everything `read_idx` refuses.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, *[0, 0, 0, 1] * 3, 255]))
    ...     _ = Path(folder, "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    ...     gather_idx(Path(folder)).parts["train"].labels.tolist()
    [7]
    """
    if source.is_file():
        return Gathered("idx", {"train": _part(source, "train")})
    files: dict[str, Path] = {}
    for path in sorted(source.iterdir()):
        match = IMAGES.fullmatch(path.name)
        if match is None:
            continue
        split = _split_of(match["front"])
        twin = files.get(split)
        if twin is None:
            files[split] = path
        elif path.name.removesuffix(".gz") != twin.name.removesuffix(".gz"):
            raise DataError(
                f"two files hold the images of the {split} split", where=source, got=f"{twin.name}, {path.name}"
            )
    if "train" not in files:
        raise DataError("the file of training images is missing", where=source, expected="train-images-idx3-ubyte(.gz)")
    return Gathered("idx", {split: _part(files[split], split) for split in SPLITS if split in files})


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file, compressed by gzip or not.

    Raises DataError for a wrong magic number, a size that differs from the header's, a damaged archive, an array larger
    than memory.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 6]))
    ...     read_idx(Path(folder, "a"))
    array([5, 6], dtype=uint8)
    """
    try:
        with open(path, "rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
        if compressed:
            with gzip.open(path, "rb") as unpacked:
                return _read(unpacked, path, room=path.stat().st_size * GZIP_RATIO)
        with open(path, "rb") as plain:
            return _read(plain, path, room=path.stat().st_size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"the gzip archive is damaged or cut short ({error})", where=path, do="copy or download it again"
        ) from error
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=path) from error


def _read(file: IO[bytes] | gzip.GzipFile, path: Path, *, room: int) -> NDArray[Any]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not 1 <= magic[3] <= MAX_AXES:
        raise DataError(
            "not an IDX file",
            where=path,
            got=f"first bytes {magic.hex(' ')}" if magic else "an empty file",
            expected="00 00 08 03 for images, 00 00 08 01 for labels",
            do="check the file name, or download the file again",
        )
    lengths = file.read(4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise _wrong_length(path, "a header cut short", "the length of each axis")
    shape = struct.unpack(f">{magic[3]}I", lengths)
    dtype = np.dtype(TYPES[magic[2]])
    size = math.prod(shape) * dtype.itemsize
    if size > room:
        raise _wrong_length(
            path, f"a file of {path.stat().st_size:,} bytes", f"{size:,} bytes of numbers, shape {shape}"
        )
    refuse_larger_than_memory(size, where=path)
    numbers = file.read(size)
    if len(numbers) < size or file.read(1):
        got = f"{len(numbers):,} bytes of numbers" if len(numbers) < size else f"more than {size:,} bytes of numbers"
        raise _wrong_length(path, got, f"{size:,}, shape {shape}")
    array = np.frombuffer(numbers, dtype=dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _wrong_length(path: Path, got: str, expected: str) -> DataError:
    return DataError(
        "the IDX file is not as long as its header says",
        where=path,
        got=got,
        expected=expected,
        do="copy or download it again",
    )


def _split_of(front: str) -> str:
    words = re.split(r"[^a-z0-9]+", front.casefold())
    return next((split for word, split in SPLIT_NAMES if word in words), "train")


def _part(images_path: Path, split: str) -> Part:
    images, labels = read_idx(images_path), read_idx(_labels_beside(images_path))  # (N, H, W), (N,)
    return array_part(images, labels, split=split, where=images_path.name)


def _labels_beside(images_path: Path) -> Path:
    match = IMAGES.fullmatch(images_path.name)
    if match is None:
        raise DataError("not the name of an IDX file of images", where=images_path)
    plain = f"{match['front']}labels{match['back']}".removesuffix(".gz")
    plain = re.sub(r"idx[34]", "idx1", plain, flags=re.IGNORECASE)
    for name in (plain + ".gz", plain):
        if images_path.with_name(name).is_file():
            return images_path.with_name(name)
    raise DataError(
        "the file of labels is missing",
        where=images_path.parent,
        expected=f"{plain} or {plain}.gz beside {images_path.name}",
    )
