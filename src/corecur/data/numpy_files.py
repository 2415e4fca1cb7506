"""NumPy's ``.npz`` and ``.npy`` files of pictures and labels; object arrays, which are pickles, are refused.

Shapes: N samples, H height, W width, C channels.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from corecur.data.gathered import Gathered, Part
from corecur.data.image_arrays import array_part
from corecur.data.memory import refuse_larger_than_memory
from corecur.errors import DataError

# Names of pictures and their labels; in each split the first pair that is there is taken.
PAIRS = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("x", "y")),
    "validation": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_images", "val_labels")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
BESIDE = (("images", "labels"), ("x", "y"), ("data", "labels"))


def gather_npz(source: Path) -> Gathered:
    """Read an ``.npz`` file with x_train, y_train, x_test, y_test, or images and labels, or x and y.

    Raises DataError for other names, object arrays, headers that claim more than memory or the file holds, damaged
    archives.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/a.npz", images=np.zeros((2, 8, 8), dtype=np.uint8), labels=["cat", "dog"])
    ...     gather_npz(Path(folder, "a.npz")).parts["train"].labels.tolist()
    ['cat', 'dog']
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = {name.removesuffix(".npy").casefold(): name for name in archive.namelist()}
            pairs = _choose(source, members)
            parts = {split: _npz_part(source, archive, members, pair, split) for split, pair in pairs.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(source, error) from error
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=source) from error
    return Gathered("npz", parts)


def read_npz(source: Path) -> dict[str, NDArray[Any]]:
    """Every array of an ``.npz`` file by its name in lower case. Raises DataError for all that `gather_npz` refuses.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/a.npz", values=np.arange(3)); read_npz(Path(folder, "a.npz"))["values"].tolist()
    [0, 1, 2]
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name.removesuffix(".npy").casefold(): _npz_array(source, archive, name) for name in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(source, error) from error
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=source) from error


def array_headers(source: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and dtype of every array in an ``.npz`` file by its name, or of the one in an ``.npy`` file by "".

    Reads headers only. Raises DataError for other files and object arrays.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/a.npy", np.zeros((2, 3))); array_headers(Path(folder, "a.npy"))
    {'': ((2, 3), dtype('float64'))}
    """
    try:
        if source.suffix.casefold() == ".npy":
            with open(source, "rb") as file:
                return {"": _header(file, source)}
        found = {}
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    found[name.removesuffix(".npy").casefold()] = _header(file, f"{source}, {name}")
        return found
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(source, error) from error
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=source) from error


def gather_npy(source: Path) -> Gathered:
    """Read an ``.npy`` file of pictures and the label file beside it: images.npy with labels.npy, x.npy with y.npy.

    Raises DataError where there is none, and for everything `read_npy` refuses.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/x.npy", np.zeros((2, 8, 8), dtype=np.uint8)); np.save(f"{folder}/y.npy", [0, 1])
    ...     gather_npy(Path(folder, "x.npy")).parts["train"].labels.tolist()
    [0, 1]
    """
    for pictures, labels in BESIDE:
        stem = source.stem.casefold()
        beside = source.with_name(stem.replace(pictures, labels) + ".npy")
        if pictures in stem and beside.is_file() and beside != source:
            return Gathered(
                "npy", {"train": array_part(read_npy(source), read_npy(beside), split="train", where=str(source))}
            )
    raise DataError(
        "the labels of the pictures are missing",
        where=source,
        expected="labels.npy beside images.npy, or y.npy beside x.npy",
        do="pass labels=…, an array or the path of an .npy file",
    )


def read_npy(path: Path) -> NDArray[Any]:
    """The array in an ``.npy`` file, mapped and not read, so that it may be larger than memory.

    Raises DataError for object arrays, other files, and files cut short.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/a.npy", np.arange(3)); read_npy(Path(folder, "a.npy")).tolist()
    [0, 1, 2]
    """
    try:
        with open(path, "rb") as file:
            shape, dtype = _header(file, path)
            if math.prod(shape) == 0:
                return np.empty(shape, dtype=dtype)
            if path.stat().st_size - file.tell() != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{path.stat().st_size:,} bytes do not hold shape {shape} of {dtype}")
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except (ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(path, error) from error
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=path) from error


def _choose(source: Path, members: dict[str, str]) -> dict[str, tuple[str, str]]:
    chosen = {}
    for split, pairs in PAIRS.items():
        pair = next((pair for pair in pairs if pair[0] in members), None)
        if pair is not None:
            chosen[split] = pair
            if pair[1] not in members:
                raise DataError("labels are missing", where=source, got=f"{pair[0]} without {pair[1]}")
    if "train" in chosen:
        return chosen
    raise DataError(
        "the file has no arrays of known names",
        where=source,
        got=", ".join(members) or "no arrays",
        expected="x_train, y_train, x_test, y_test; or images, labels; or x, y",
        do="np.savez(path, images=…, labels=…)",
    )


def _npz_part(
    source: Path, archive: zipfile.ZipFile, members: dict[str, str], pair: tuple[str, str], split: str
) -> Part:
    pictures, labels = (_npz_array(source, archive, members[name]) for name in pair)
    return array_part(pictures, labels, split=split, where=str(source))


def _npz_array(source: Path, archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    where = f"{source}, {member}"
    with archive.open(member) as file:
        shape, dtype = _header(file, where)
        size = math.prod(shape) * dtype.itemsize
        # The archive's own directory says how many bytes come out; a header that claims others is not believed.
        if size != archive.getinfo(member).file_size - file.tell():
            raise DataError(
                "the array is not as long as its header says",
                where=where,
                got=f"{archive.getinfo(member).file_size:,} bytes",
                expected=f"shape {shape} of {dtype}",
                do="save it again with np.savez",
            )
        refuse_larger_than_memory(size, where=where)
    with archive.open(member) as file:
        try:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            raise _damaged(where, error) from error
    return array


def _header(file: IO[bytes], where: object) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, EOFError) as error:
        raise _damaged(where, error) from error
    if dtype.hasobject:
        raise DataError(
            "an array of Python objects is not opened: it can hold any program",
            where=where,
            got=f"dtype {dtype}",
            do="save numbers or text: np.savez(path, images=np.stack(images), labels=np.array(labels).astype(str))",
        )
    return shape, dtype


def _damaged(where: object, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:120]
    return DataError(
        f"not a NumPy file, or a damaged one ({reason})", where=where, do="save it again with np.save or np.savez"
    )
