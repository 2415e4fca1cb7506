"""Series and labels that come as arrays, in Python or in NumPy's files: which shapes and numbers are taken.

Shapes: N series, T time, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corecur.data.gathered import one_spelling
from corecur.data.image_arrays import to_array
from corecur.data.numpy_files import read_npy, read_npz
from corecur.data.series.gaps import without_tail
from corecur.data.series.label_first import label_word
from corecur.data.series.recordings import GatheredSeries, Recording, SeriesPart
from corecur.errors import DataError

# Names of series and their labels; in each split the first pair that is there is taken.
PAIRS = {
    "train": (("x_train", "y_train"), ("train_x", "train_y"), ("x", "y"), ("data", "labels"), ("values", "labels")),
    "validation": (("x_val", "y_val"), ("x_valid", "y_valid"), ("val_x", "val_y")),
    "test": (("x_test", "y_test"), ("test_x", "test_y")),
}
BESIDE = (("x", "y"), ("data", "labels"), ("series", "labels"), ("values", "labels"))


def series_part(series: Any, labels: Any, *, split: str, where: str) -> SeriesPart:
    """One split from series and labels (N,) or None: an array (N, T) or (N, T, C), or a list of arrays (T,) or (T, C).

    NaN is a missing value; where all channels are NaN up to the end, the series ends before. Raises DataError for
    other shapes and dtypes, and for another number of labels.

    >>> part = series_part([[1.0, 2.0], [3.0]], ["a", "b"], split="train", where="arrays")
    >>> [one.shape for one in part.series], part.names
    ([(2, 1), (1, 1)], ['train[0]', 'train[1]'])
    """
    read = _rows(series, f"{where}: {split} series")
    named = None if labels is None else series_labels(labels, count=len(read), where=f"{where}: {split} labels")
    return SeriesPart(read, named, [f"{split}[{row}]" for row in range(len(read))])


def series_labels(labels: Any, *, count: int, where: object) -> NDArray[np.str_]:
    """Labels as (N,) text; raises DataError for another number, a missing one, and measured values.

    >>> series_labels([1.0, 2.0], count=2, where="arrays").tolist()
    ['1', '2']
    """
    array = to_array(labels, what="labels")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]  # (N,)
    if array.ndim != 1:
        advice = "if they are one-hot, pass labels.argmax(1)" if array.ndim == 2 else None
        raise DataError(
            "labels are one per series", where=where, got=f"shape {array.shape}", expected="(N,)", do=advice
        )
    if len(array) != count:
        raise DataError(
            "series and labels differ in number",
            where=where,
            got=f"{count:,} series, {len(array):,} labels",
            do="pass one label for each series, in the same order",
        )
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise DataError(
            "labels are whole numbers or text", where=where, got=f"fractions or NaN, dtype {array.dtype}",
            do="measured values are no classes",
        )  # fmt: skip
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    words = [label_word(one_spelling(str(label).strip())) for label in array.tolist()]
    missing = next((row for row, (word, label) in enumerate(zip(words, array, strict=True)) if not word), None)
    if missing is not None:
        raise DataError("a label is missing", where=f"{where}, row {missing}", expected="text or whole numbers")
    return np.array(words, dtype=np.str_)


def gather_series_npz(source: Path) -> GatheredSeries:
    """Read an ``.npz`` file with x_train, y_train, x_test, y_test, or x and y; without labels, one array of series.

    Raises DataError for other names, object arrays, damaged files, and what `series_part` refuses.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/a.npz", x=np.zeros((2, 30, 3)), y=["up", "down"])
    ...     gather_series_npz(Path(folder, "a.npz")).parts["train"].labels.tolist()
    ['up', 'down']
    """
    arrays = read_npz(source)
    parts: dict[str, SeriesPart] = {}
    for split, pairs in PAIRS.items():
        pair = next((pair for pair in pairs if pair[0] in arrays), None)
        if pair is not None:
            parts[split] = series_part(arrays[pair[0]], arrays.get(pair[1]), split=split, where=str(source))
    if "train" not in parts:
        raise DataError(
            "the file has no arrays of known names",
            where=source,
            got=", ".join(arrays) or "no arrays",
            expected="x_train, y_train, x_test, y_test; or x, y",
            do="np.savez(path, x=series, y=labels)",
        )
    return with_channels_of("npz", parts, _names_in(arrays))


def gather_series_npy(source: Path) -> GatheredSeries:
    """Read an ``.npy`` file of series, with the label file beside it where there is one: x.npy with y.npy.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/x.npy", np.zeros((2, 8))); np.save(f"{folder}/y.npy", [0, 1])
    ...     gather_series_npy(Path(folder, "x.npy")).parts["train"].labels.tolist()
    ['0', '1']
    """
    beside = labels_beside(source)
    labels = None if beside is None else read_npy(beside)
    return with_channels_of("npy", {"train": series_part(read_npy(source), labels, split="train", where=str(source))})


def labels_beside(source: Path) -> Path | None:
    """The ``.npy`` file of labels that belongs to one of series, or None.

    >>> labels_beside(Path("x.npy")) is None
    True
    """
    for series, labels in BESIDE:
        pattern = rf"(?<![^\W_]){series}(?![^\W_])"  # the word, not a letter inside another
        beside = source.with_name(re.sub(pattern, labels, source.stem.casefold()) + ".npy")
        if beside.name != source.name.casefold() and beside.is_file():
            return beside
    return None


def with_channels_of(kind: str, parts: dict[str, SeriesPart], names: Sequence[str] | None = None) -> GatheredSeries:
    """A source of arrays: its channels are numbered where nothing names them.

    >>> with_channels_of("arrays", {"train": SeriesPart([np.zeros((4, 2))], None, ["a"])}).channels
    ('channel 1', 'channel 2')
    """
    series = parts["train"].series
    width = series[0].shape[1] if series else 1
    usual = ("value",) if width == 1 else tuple(f"channel {number + 1}" for number in range(width))
    return GatheredSeries(kind, parts, tuple(names) if names is not None and len(names) == width else usual)


def _names_in(arrays: Mapping[str, NDArray[Any]]) -> Sequence[str] | None:
    names = arrays.get("names", arrays.get("channels"))
    return None if names is None or names.ndim != 1 else [str(name) for name in names.tolist()]


def _rows(series: Any, where: str) -> list[Recording]:
    """Every series as (T, C)."""
    if isinstance(series, (list, tuple)):
        return [_one(one, f"{where}[{row}]") for row, one in enumerate(series)]
    array = _numbers(series, where)
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(
            "the array does not hold series",
            where=where,
            got=f"shape {array.shape}",
            expected="(series, time), or (series, time, channels)",
            do="if it is one series to classify, pass array[None]" if array.ndim == 1 else None,
        )
    array = array[..., None] if array.ndim == 2 else array  # (N, T, C)
    return [without_tail(one) for one in array]


def _one(value: Any, where: str) -> Recording:
    array = _numbers(value, where)
    if array.ndim not in (1, 2):
        raise DataError("this is no series", where=where, got=f"shape {array.shape}", expected="(T,) or (T, channels)")
    return without_tail(array[:, None] if array.ndim == 1 else array)


def _numbers(value: Any, where: str) -> NDArray[np.float64]:
    array = to_array(value, what="series")
    if array.dtype.kind not in "fiub":
        raise DataError("series are made of numbers", where=where, got=f"dtype {array.dtype}", expected="float or int")
    return array.astype(np.float64)
