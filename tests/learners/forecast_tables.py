"""Small tables over time for the tests of the forecaster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUICK: dict[str, Any] = {"epochs": 3, "hidden": 8, "threads": 1}


def waves(rows: int = 300, *, seed: int = 0, period: int = 24) -> NDArray[np.float64]:
    """Two columns (rows, 2): a wave on a slope, and a wave of twice the length; little noise."""
    steps, rng = np.arange(rows), np.random.default_rng(seed)
    first = 50 + 0.02 * steps + 8 * np.sin(2 * np.pi * steps / period)
    second = 3 + np.cos(np.pi * steps / period)
    table: NDArray[np.float64] = np.stack([first, second], 1) + rng.normal(0, (0.4, 0.05), (rows, 2))
    return table


def hours(rows: int, *, start: str = "2024-01-01") -> list[str]:
    """So many hours as people write them."""
    times = np.datetime64(start, "h") + np.arange(rows)
    return [str(time).replace("T", " ") + ":00" for time in times]


def lines(values: NDArray[np.float64], *, start: str = "2024-01-01") -> list[str]:
    """The rows of a CSV file, without the header."""
    cells = zip(hours(len(values), start=start), values.tolist(), strict=True)
    return [",".join([time, *(f"{value:.6f}" for value in row)]) for time, row in cells]


def write(path: Path, rows: list[str], header: str = "time,load,wind") -> Path:
    """A CSV file of these rows."""
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path
