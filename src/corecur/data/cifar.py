"""CIFAR-10 and CIFAR-100 as their author publishes them: the binary version and the “python version”.

Binary: a record is 1 label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100), then 1,024 red, 1,024 green and
1,024 blue bytes.
Python: pickled dicts of ``data`` (N, 3072) uint8 in the same order, and ``labels`` or ``fine_labels`` (Krizhevsky
2009).
Shapes: N samples, H = W = 32, C = 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.data.gathered import Gathered, Part
from corecur.data.memory import refuse_larger_than_memory
from corecur.data.plain_pickle import read_plain_pickle
from corecur.errors import DataError
from corecur.finding import remark

PIXELS = 3072


@dataclass(frozen=True)
class Layout:
    """One published version: its files, the label bytes before the pixels, the classes and where their names stand."""

    kind: str
    title: str
    train: tuple[str, ...]
    test: str
    names: str
    labels: str
    label_bytes: int
    count: int
    folder: str


BATCHES = tuple(f"data_batch_{n}" for n in range(1, 6))
BINARY = (
    Layout(
        "cifar-binary",
        "CIFAR-10",
        tuple(f"{n}.bin" for n in BATCHES),
        "test_batch.bin",
        "batches.meta.txt",
        "",
        1,
        10,
        "cifar-10-batches-bin",
    ),
    Layout(
        "cifar-binary", "CIFAR-100", ("train.bin",), "test.bin", "fine_label_names.txt", "", 2, 100, "cifar-100-binary"
    ),
)
PICKLED = (
    Layout("cifar-pickle", "CIFAR-10", BATCHES, "test_batch", "batches.meta", "label", 0, 10, "cifar-10-batches-py"),
    Layout("cifar-pickle", "CIFAR-100", ("train",), "test", "meta", "fine_label", 0, 100, "cifar-100-python"),
)


def is_cifar_binary(source: Path) -> bool:
    """Whether the source is a folder with a binary training file of CIFAR.

    >>> is_cifar_binary(Path("photos"))
    False
    """
    return _find(source, BINARY) is not None


def is_cifar_pickle(source: Path) -> bool:
    """Whether the source is a folder with a pickled training file of CIFAR.

    >>> is_cifar_pickle(Path("photos"))
    False
    """
    return _find(source, PICKLED) is not None


def gather_cifar_binary(source: Path) -> Gathered:
    """Read the binary version; raises DataError for a file of another length and for labels out of range.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "data_batch_1.bin").write_bytes(bytes([3]) + bytes(3072))
    ...     gather_cifar_binary(Path(folder)).parts["train"].labels.tolist()
    [3]
    """
    return _gather(source, BINARY, _read_binary, _names_in_text)


def gather_cifar_pickle(source: Path) -> Gathered:
    """Read the “python version” without unpickling code; raises DataError for anything but the published form.

    >>> import pickle, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     batch = {b"data": np.zeros((1, 3072), dtype=np.uint8), b"labels": [3]}
    ...     _ = Path(folder, "data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    ...     gather_cifar_pickle(Path(folder)).parts["train"].labels.tolist()
    [3]
    """
    return _gather(source, PICKLED, _read_pickled, _names_in_pickle)


def _find(source: Path, layouts: tuple[Layout, ...]) -> tuple[Path, Layout] | None:
    for layout in layouts:
        for folder in (source, source / layout.folder):
            # “train” and “train.bin” alone may be anything.
            sure = layout.count == 10 or (folder / layout.names).is_file()
            if sure and any((folder / name).is_file() for name in layout.train):
                return folder, layout
    return None


def _gather(
    source: Path,
    layouts: tuple[Layout, ...],
    read: Callable[[Path, Layout], tuple[NDArray[np.uint8], NDArray[np.int64]]],
    read_names: Callable[[Path, Layout], list[str]],
) -> Gathered:
    found = _find(source, layouts)
    if found is None:
        raise DataError("no training file of CIFAR in the folder", where=source, expected=layouts[0].train[0])
    folder, layout = found
    here = [folder / name for name in layout.train if (folder / name).is_file()]
    parts = {"train": _part("train", here, layout, read)}
    if (folder / layout.test).is_file():
        parts["test"] = _part("test", [folder / layout.test], layout, read)
    findings = []
    if len(here) < len(layout.train):
        findings.append(
            remark(
                f"{len(here)} of the {len(layout.train)} official training files of {layout.title} are here: "
                f"{len(parts['train']):,} images."
            )
        )
    classes = None
    if (folder / layout.names).is_file():
        classes = tuple(read_names(folder / layout.names, layout))
        if len(classes) != layout.count or len(set(classes)) != layout.count:
            raise DataError(
                "the file of class names does not fit", where=folder / layout.names, expected=f"{layout.count} names"
            )
        names = np.array(classes)
        parts = {split: Part(part.pictures, names[part.labels], part.names) for split, part in parts.items()}
    return Gathered(layout.kind, parts, classes, tuple(findings))


def _part(
    split: str,
    files: list[Path],
    layout: Layout,
    read: Callable[[Path, Layout], tuple[NDArray[np.uint8], NDArray[np.int64]]],
) -> Part:
    refuse_larger_than_memory(2 * sum(file.stat().st_size for file in files), where=files[0].parent)
    pieces = []
    for file in files:
        flat, labels = read(file, layout)  # (N, 3072), (N,)
        if len(labels) and not 0 <= labels.min() <= labels.max() < layout.count:
            row = int(np.argmax((labels < 0) | (labels >= layout.count)))
            raise DataError(
                f"a label is none of {layout.title}",
                where=f"{file}, image {row}",
                got=int(labels[row]),
                expected=f"0 to {layout.count - 1}",
                do="download the official file again",
            )
        pieces.append((flat, labels))
    pixels = np.concatenate([flat for flat, _ in pieces]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (N, H, W, C)
    labels = np.concatenate([labels for _, labels in pieces])
    return Part(pixels, labels, [f"{split}[{row}]" for row in range(len(labels))])


def _read_binary(path: Path, layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    record = layout.label_bytes + PIXELS
    try:
        numbers = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=path) from error
    if len(numbers) == 0 or len(numbers) % record:
        raise DataError(
            f"the length of the file is not that of whole {layout.title} images",
            where=path,
            got=f"{len(numbers):,} bytes",
            expected=f"a multiple of {record:,}",
            do="copy or download it again",
        )
    records = numbers.reshape(-1, record)  # (N, label bytes + 3072)
    return records[:, layout.label_bytes :], records[:, layout.label_bytes - 1].astype(np.int64)


def _names_in_text(path: Path, layout: Layout) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def _read_pickled(path: Path, layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    content = _dict_in(path)
    flat, labels = content.get("data"), content.get(layout.labels + "s")
    if not isinstance(flat, np.ndarray) or flat.dtype != np.uint8 or flat.ndim != 2 or flat.shape[1] != PIXELS:
        raise DataError("the file has no images in it", where=path, expected="data: an array (N, 3072) of uint8")
    numbers = labels if isinstance(labels, list) else []
    if len(numbers) != len(flat) or not all(type(number) is int and 0 <= number < layout.count for number in numbers):
        raise DataError(
            "the file has no label for each image",
            where=path,
            expected=f"{layout.labels}s: a list of {len(flat):,} numbers, 0 to {layout.count - 1}",
        )
    return flat, np.array(numbers, dtype=np.int64)


def _names_in_pickle(path: Path, layout: Layout) -> list[str]:
    names = _dict_in(path).get(layout.labels + "_names")
    if not isinstance(names, list):
        raise DataError(
            "the file has no class names in it", where=path, expected=f"{layout.labels}_names: a list of text"
        )
    return [name.decode("utf-8", errors="replace") if isinstance(name, bytes) else str(name) for name in names]


def _dict_in(path: Path) -> dict[str, Any]:
    content = read_plain_pickle(path)
    if not isinstance(content, dict):
        raise DataError("the file does not hold a dict", where=path, got=type(content).__name__)
    return {
        key.decode("ascii", errors="replace") if isinstance(key, bytes) else str(key): v for key, v in content.items()
    }
