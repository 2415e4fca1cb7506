"""Series to learn from that are made here: slow waves, fast waves and bumps, in every form a source has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KINDS = ("slow", "fast", "bump")
Made = tuple[list[NDArray[np.float64]], list[str]]


def made_up(count: int, *, seed: int = 0, channels: int = 1, lengths: tuple[int, int] = (40, 40)) -> Made:
    """``count`` series (T, C) of each kind in turn, of lengths between the two, with noise."""
    random, series, labels = np.random.default_rng(seed), [], []
    for number in range(count * len(KINDS)):
        kind, steps = KINDS[number % len(KINDS)], int(random.integers(lengths[0], lengths[1] + 1))
        u = np.linspace(0, 1, steps)
        phase = random.uniform(0, 1)
        shape = {
            "slow": np.sin(2 * np.pi * (2 * u + phase)),
            "fast": np.sin(2 * np.pi * (7 * u + phase)),
            "bump": 2 * np.exp(-(((u - 0.3 - 0.4 * phase) / 0.08) ** 2)),
        }[kind]
        noise = 0.1 * random.standard_normal((steps, channels))
        series.append(shape[:, None] * np.arange(1, channels + 1) + noise)
        labels.append(kind)
    return series, labels


def write_ts(path: Path, series: Sequence[NDArray[np.float64]], labels: Sequence[str] | None) -> Path:
    """A ``.ts`` file."""
    lines = ["@problemName made", "@timeStamps false", f"@univariate {str(series[0].shape[1] == 1).lower()}"]
    lines.append("@classLabel false" if labels is None else "@classLabel true " + " ".join(KINDS))
    lines.append("@data")
    for number, one in enumerate(series):
        fields = [",".join(f"{value:.4f}" for value in channel) for channel in one.T]
        lines.append(":".join([*fields, *([] if labels is None else [labels[number]])]))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_problem(folder: Path, *, channels: int = 1, lengths: tuple[int, int] = (40, 40)) -> Path:
    """A folder with NAME_TRAIN.ts and NAME_TEST.ts: 10 and 6 series of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("TRAIN", 10, 0), ("TEST", 6, 1)):
        series, labels = made_up(count, seed=seed, channels=channels, lengths=lengths)
        write_ts(folder / f"{folder.name}_{split}.ts", series, labels)
    return folder


def write_signals(folder: Path) -> Path:
    """A folder as UCI's recordings of human activity: a text file a signal, a row a window, labels beside."""
    signals = ("body_acc_x", "body_acc_y", "body_gyro_x")
    folder.mkdir(parents=True)
    (folder / "activity_labels.txt").write_text("1 SLOW\n2 FAST\n3 BUMP\n")
    for split, count, seed in (("train", 10, 0), ("test", 5, 1)):
        series, labels = made_up(count, seed=seed, channels=len(signals))
        inside = folder / split / "Inertial Signals"
        inside.mkdir(parents=True)
        for place, name in enumerate(signals):
            rows = [" ".join(f"{value: .7e}" for value in one[:, place]) for one in series]
            (inside / f"{name}_{split}.txt").write_text("\n".join(rows) + "\n")
        numbers = [str(KINDS.index(label) + 1) for label in labels]
        (folder / split / f"y_{split}.txt").write_text("\n".join(numbers) + "\n")
    return folder
