from __future__ import annotations

from pathlib import Path

import pytest
import torch

from corecur.data import memory
from corecur.errors import DataError


def test_some_memory_is_available() -> None:
    assert 2**20 < memory.available_memory() < 2**50


@pytest.mark.parametrize("on_disk", [False, True])
def test_allocated_tensors_can_be_written(on_disk: bool) -> None:
    tensor = memory.allocate((5, 3, 2, 1), on_disk=on_disk)
    tensor.fill_(7)
    assert tensor.dtype == torch.uint8
    assert tensor.sum() == 7 * 30


def test_an_empty_set_needs_no_file() -> None:
    assert memory.allocate((0, 3), on_disk=True).shape == (0, 3)


def test_the_temporary_file_has_no_name_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.tempfile, "tempdir", str(tmp_path))
    tensor = memory.allocate((1000,), on_disk=True)
    assert list(tmp_path.iterdir()) == []
    tensor.fill_(1)
    assert tensor.sum() == 1000


def test_a_full_disk_is_an_error_now_and_not_a_crash_later() -> None:
    with pytest.raises(DataError, match="temporary folder"):
        memory.allocate((2**50,), on_disk=True)


def test_gather_equals_indexing_in_memory_and_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (50, 4, 4, 3), dtype=torch.uint8)
    index = torch.randperm(50)[:31]
    wanted = images[index]
    assert torch.equal(memory.gather(images, index), wanted)
    monkeypatch.setattr(memory, "available_memory", lambda: 10)
    monkeypatch.setattr(memory, "CHUNK_BYTES", 48 * 7)
    assert torch.equal(memory.gather(images, index), wanted)
    assert memory.gather(images, index[:0]).shape == (0, 4, 4, 3)


def test_arrays_larger_than_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    memory.refuse_larger_than_memory(800, where="a")
    with pytest.raises(DataError, match="larger than the free memory"):
        memory.refuse_larger_than_memory(801, where="a")


def test_a_control_group_bounds_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "limit").write_text("5000\n")
    (tmp_path / "used").write_text("4000\n")
    (tmp_path / "memory.stat").write_text("anon 3500\nfile_cache 500\n")
    monkeypatch.setattr(memory, "CONTROL_GROUPS", ((str(tmp_path), "limit", "used", "file_cache"),))
    assert memory.available_memory() == 1500
    (tmp_path / "limit").write_text("max\n")
    assert memory.available_memory() > 2**20
