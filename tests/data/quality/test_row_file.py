"""Rows in a temporary file against the same rows in an array."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corecur.data import memory
from corecur.data.quality import near_copies
from corecur.data.quality.row_file import ChosenRows, RowFile
from corecur.errors import DataError
from corecur.learners.data_check import check


def test_rows_come_back_whoever_wrote_them_in_whatever_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.tempfile, "tempdir", str(tmp_path))
    random = np.random.default_rng(0)
    wanted = random.standard_normal((500, 7)).astype(np.float16)
    with RowFile(500, 7) as rows:
        assert list(tmp_path.iterdir()) == []
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda row: rows.write(row, wanted[row]), random.permutation(500).tolist()))
        assert np.array_equal(rows.read(0, 500), wanted)
        chosen = np.sort(random.choice(500, 200, replace=False))
        found = ChosenRows(rows, chosen)
        assert len(found) == 200
        for piece in (slice(0, 200), slice(13, 90), slice(199, 200), slice(5, 5)):
            assert np.array_equal(found[piece], wanted[chosen][piece].astype(np.float32))


def test_no_room_for_the_file_is_an_error_before_any_work() -> None:
    with pytest.raises(DataError, match="temporary folder"):
        RowFile(2**50, 384)


def test_a_check_keeps_little_of_each_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python and NumPy hold at the peak grows by less than a kilobyte a picture, beyond blocks of a fixed size."""
    monkeypatch.setattr(near_copies, "_BLOCK", 128)
    monkeypatch.setattr(near_copies, "_ACROSS", 256)
    random = np.random.default_rng(0)
    peaks = []
    for count in (600, 2400):
        for number in range(count):
            folder = tmp_path / str(count) / str(number % 4)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{number:05}.png")
        check(str(tmp_path / str(count)))
        tracemalloc.start()
        check(str(tmp_path / str(count)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 1800 < 1000
