from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from corecur.data.decoding import count_steps, decode_files, list_bad_files, read_headers, refuse_bad_files
from corecur.data.pictures import Header
from corecur.errors import DataError

from .picture_files import pixels, save


@pytest.mark.parametrize("count", [1, 15, 16, 17, 70])
@pytest.mark.parametrize("on_disk", [False, True])
def test_order_is_kept_whatever_the_threads_do(tmp_path: Path, count: int, on_disk: bool) -> None:
    files = [save(tmp_path / f"{n}.png", np.full((4, 6), n, dtype=np.uint8)) for n in range(count)]
    pictures, kept, bad = decode_files(files, height=4, width=6, channels=1, on_disk=on_disk)
    assert pictures.shape == (count, 4, 6, 1)
    assert pictures[:, 0, 0, 0].tolist() == kept == list(range(count))
    assert bad == []


def test_bad_files_are_collected_and_the_rest_is_kept(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{n}.png", np.full((4, 4), n, dtype=np.uint8)) for n in range(20)]
    files[3].write_bytes(b"")
    files[17].write_text("hello")
    pictures, kept, bad = decode_files(files, height=4, width=4, channels=1, on_disk=False)
    assert kept == [n for n in range(20) if n not in (3, 17)]
    assert pictures[:, 0, 0, 0].tolist() == kept
    assert [path for path, _ in bad] == [files[3], files[17]]
    assert "empty" in bad[0][1]
    assert "text" in bad[1][1]


def test_headers_stand_in_the_order_of_the_files(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{n}.png", pixels(n, n + 1, 5)) for n in range(40)]
    files.insert(2, tmp_path / "missing.png")
    headers = read_headers(files)
    assert isinstance(headers[2], DataError)
    assert [h.height for h in headers if isinstance(h, Header)] == list(range(1, 41))


def test_progress_reaches_the_total_in_the_calling_thread(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{n}.png", pixels(n, 4, 4)) for n in range(40)]
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        seen.append((done, total))

    decode_files(files, height=4, width=4, channels=1, on_disk=False, step=count_steps(progress, 40))
    assert seen == [(16, 40), (32, 40), (40, 40)]


def test_an_interruption_stops_the_rest(tmp_path: Path) -> None:
    files = [save(tmp_path / "a.png", pixels(0, 4, 4))] * 400

    def interrupt(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_files(files, height=4, width=4, channels=1, on_disk=False, step=interrupt)


def test_the_error_names_ten_files_and_counts_the_others() -> None:
    bad = [(Path(f"{n}.png"), "it is text, not a picture") for n in range(25)]
    with pytest.raises(DataError) as caught:
        refuse_bad_files(bad, total=100, where="photos")
    message = str(caught.value)
    assert "25 of 100 pictures cannot be read" in message
    assert "9.png: it is text" in message
    assert "10.png" not in message
    assert "and 15 more" in message
    assert "skip_bad" in message


def test_few_bad_files_are_all_listed() -> None:
    assert "more" not in list_bad_files([(Path(f"{n}.png"), "empty") for n in range(10)])
