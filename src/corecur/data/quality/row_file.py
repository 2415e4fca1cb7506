"""Rows of numbers in a temporary file: written one by one, read in pieces, so that none of them stay in memory.

Shapes: N rows, M rows that are looked at, F numbers of a row.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from corecur.errors import DataError


class Rows(Protocol):
    """Anything that gives rows of float32 by a slice and knows how many there are; an array does."""

    def __len__(self) -> int: ...

    def __getitem__(self, piece: slice, /) -> NDArray[np.float32]: ...


class RowFile:
    """``count`` rows of ``width`` float16 numbers, zeros at first, in a file without a name that goes with the block.

    >>> with RowFile(3, 2) as rows:
    ...     rows.write(1, np.array([0.5, 2], np.float16))
    ...     rows.read(0, 2).tolist()
    [[0.0, 0.0], [0.5, 2.0]]
    """

    def __init__(self, count: int, width: int) -> None:
        self.count, self.width = count, width
        self._bytes = 2 * width
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if count * self._bytes > free:
            raise DataError(
                "there is no room in the temporary folder for what is kept of the pictures",
                where=tempfile.gettempdir(),
                got=f"{free:,} bytes free",
                expected=f"{count * self._bytes:,}",
                do="set TMPDIR to a folder on a larger disk",
            )
        self._file = tempfile.TemporaryFile(prefix="corecur-")  # noqa: SIM115 (closed by __exit__)
        self._file.truncate(count * self._bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def write(self, row: int, values: NDArray[np.float16]) -> None:
        """Put a row (F,) in its place; from any thread."""
        os.pwrite(self._file.fileno(), np.ascontiguousarray(values, np.float16).tobytes(), row * self._bytes)

    def read(self, start: int, stop: int) -> NDArray[np.float16]:
        """The rows from ``start`` to before ``stop``."""
        found = os.pread(self._file.fileno(), (stop - start) * self._bytes, start * self._bytes)
        return np.frombuffer(found, np.float16).reshape(-1, self.width)


class ChosenRows:
    """Rows ``chosen`` (M,), rising, of a row file, as float32.

    >>> with RowFile(3, 1) as rows:
    ...     rows.write(2, np.array([4], np.float16))
    ...     ChosenRows(rows, np.array([0, 2]))[0:2].tolist()
    [[0.0], [4.0]]
    """

    def __init__(self, rows: RowFile, chosen: NDArray[np.integer]) -> None:
        self.rows, self.chosen = rows, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, piece: slice, /) -> NDArray[np.float32]:
        asked = self.chosen[piece]
        if not len(asked):
            return np.zeros((0, self.rows.width), np.float32)
        first = int(asked[0])
        found: NDArray[np.float32] = self.rows.read(first, int(asked[-1]) + 1)[asked - first].astype(np.float32)
        return found
