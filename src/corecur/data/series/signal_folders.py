"""The layout of UCI's recordings of human activity: train and test folders with a matrix for each signal.

``train/Inertial Signals/*_train.txt`` hold one channel each, a series a line; ``train/y_train.txt`` a label a line;
``activity_labels.txt`` names the labels. Without signals, ``train/X_train.txt`` is one channel.

Shapes: N series, T time, C channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from corecur.data.class_folders import list_folder
from corecur.data.gathered import SPLIT_WORDS
from corecur.data.series.plain_text import read_text
from corecur.data.series.recordings import GatheredSeries, SeriesPart
from corecur.errors import DataError
from corecur.finding import Finding, remark

SIGNALS = "inertial signals"


def is_signal_folder(path: Path) -> bool:
    """Whether a folder has a train folder with y_train.txt and signals, or X_train.txt, in it.

    >>> is_signal_folder(Path("no such folder"))
    False
    """
    folder = _folders(path).get("train") if path.is_dir() else None
    return (
        folder is not None
        and _labels_file(folder) is not None
        and (bool(_signals(folder)) or _matrix(folder) is not None)
    )


def gather_signals(source: Path) -> GatheredSeries:
    """Read such a folder.

    Raises DataError for a file that is missing or no matrix of numbers, signals of different shapes or names, a number
    of labels that is not that of the series, and a label that activity_labels.txt does not name.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name, text in {"acc_x_train": "1 2 3\\n4 5 6\\n", "acc_y_train": "1 1 1\\n2 2 2\\n"}.items():
    ...         file = Path(folder, "train", "Inertial Signals", name + ".txt")
    ...         file.parent.mkdir(parents=True, exist_ok=True); _ = file.write_text(text)
    ...     _ = Path(folder, "train", "y_train.txt").write_text("1\\n2\\n")
    ...     found = gather_signals(Path(folder))
    >>> found.channels, found.parts["train"].series[0].shape
    (('acc_x', 'acc_y'), (3, 2))
    """
    names = _label_names(source)
    parts: dict[str, SeriesPart] = {}
    channels: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()
    for split, folder in sorted(_folders(source).items(), key=lambda item: item[0] != "train"):
        signals = _signals(folder)
        if not signals:
            matrix = _matrix(folder)
            if matrix is None:
                raise DataError("the folder holds no signals", where=folder, expected="Inertial Signals/*.txt")
            signals = {"value": matrix}
            findings = (
                remark("There are no Inertial Signals: the rows of the X files are read as series of one channel."),
            )
        if channels is not None and tuple(signals) != channels:
            raise DataError(
                f"the signals of {folder.name}/ are not those of the training data",
                where=folder, got=", ".join(signals), expected=", ".join(channels),
            )  # fmt: skip
        channels = tuple(signals)
        parts[split] = _part(folder, signals, names, split)
    return GatheredSeries("signals", parts, channels, tuple(names.values()) or None, findings)


def _folders(source: Path) -> dict[str, Path]:
    folders = list_folder(source).folders
    return {SPLIT_WORDS[path.name.casefold()]: path for path in folders if path.name.casefold() in SPLIT_WORDS}


def _file(folder: Path, start: str) -> Path | None:
    files = list_folder(folder).others
    return next((path for path in files if path.stem.casefold().startswith(start) and path.suffix == ".txt"), None)


def _labels_file(folder: Path) -> Path | None:
    return _file(folder, "y_")


def _matrix(folder: Path) -> Path | None:
    return _file(folder, "x_")


def _signals(folder: Path) -> dict[str, Path]:
    """The file of each channel, by the channel's name: the file's own without the split at its end."""
    inner = next((path for path in list_folder(folder).folders if path.name.casefold() == SIGNALS), None)
    if inner is None:
        return {}
    files = [path for path in list_folder(inner).others if path.suffix.casefold() == ".txt"]
    return {path.stem.removesuffix(f"_{folder.name}"): path for path in files}


def _label_names(source: Path) -> dict[str, str]:
    path = source / "activity_labels.txt"
    if not path.is_file():
        return {}
    rows = [line.split(maxsplit=1) for line in read_text(path).splitlines() if line.strip()]
    wrong = next((row for row in rows if len(row) != 2), None)
    if wrong is not None:
        raise DataError("a line names no label", where=path, got=" ".join(wrong), expected="1 WALKING")
    return {number: name.strip() for number, name in rows}


def _part(folder: Path, signals: dict[str, Path], names: dict[str, str], split: str) -> SeriesPart:
    labels_file = _labels_file(folder)
    if labels_file is None:
        raise DataError("the labels are missing", where=folder, expected=f"y_{folder.name}.txt, a label a line")
    labels = [line.strip() for line in read_text(labels_file).splitlines() if line.strip()]
    unknown = next((row for row, label in enumerate(labels) if names and label not in names), None)
    if unknown is not None:
        raise DataError(
            "a label is not named by activity_labels.txt",
            where=f"{labels_file}, row {unknown + 1}", got=labels[unknown], expected="one of " + ", ".join(names),
        )  # fmt: skip
    matrices = {name: _read_matrix(path) for name, path in signals.items()}
    shapes = {name: matrix.shape for name, matrix in matrices.items()}
    first = next(iter(shapes))
    for name, shape in shapes.items():
        if shape != shapes[first]:
            raise DataError(
                "two signals differ in shape", where=folder, got=f"{first} {shapes[first]}, {name} {shape}",
                expected="a row for each series and a value for each step, in all files alike",
            )  # fmt: skip
    values = np.stack(list(matrices.values()), axis=2)  # (N, T, C)
    if len(labels) != len(values):
        raise DataError(
            "series and labels differ in number", where=folder, got=f"{len(values):,} series, {len(labels):,} labels"
        )
    named = np.array([names.get(label, label) for label in labels], dtype=np.str_)
    return SeriesPart(list(values), named, [f"{split}[{row}]" for row in range(len(values))])


def _read_matrix(path: Path) -> NDArray[np.float64]:
    """A file of numbers parted by blanks, all lines of one length: (N, T)."""
    rows: list[NDArray[np.float64]] = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        try:
            rows.append(np.array(text.replace(",", " ").split(), dtype=np.float64))
        except ValueError as error:
            raise DataError("this is no number", where=f"{path}, row {line}", got=str(error)[-40:]) from error
        if len(rows[-1]) != len(rows[0]):
            raise DataError(
                "a line has another number of values", where=f"{path}, row {line}", got=len(rows[-1]),
                expected=f"{len(rows[0])}, as in the first",
            )  # fmt: skip
    return np.stack(rows)
