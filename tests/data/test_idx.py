from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from corecur.data import memory
from corecur.data.idx import gather_idx, is_idx, read_idx
from corecur.errors import DataError

from .picture_files import pixels

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    code = CODES[array.dtype.str[1:]]
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_set(folder: Path, *, count: int = 6, split: str = "train", packed: bool = True) -> np.ndarray:
    images = pixels(count, count, 5, 4)
    labels = (np.arange(count) % 3).astype(np.uint8)
    for name, array in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
        data = idx_bytes(array)
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return images


@given(
    st.sampled_from(sorted(CODES)).flatmap(
        lambda code: hnp.arrays(np.dtype(code), hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
    ),
    st.booleans(),
)
def test_arrays_come_back(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, packed: bool) -> None:
    path = tmp_path_factory.mktemp("idx") / "a"
    path.write_bytes(gzip.compress(idx_bytes(array)) if packed else idx_bytes(array))
    assert np.array_equal(read_idx(path), array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_gives_train_and_test(tmp_path: Path, packed: bool) -> None:
    train = write_set(tmp_path, packed=packed)
    test = write_set(tmp_path, count=4, split="t10k", packed=packed)
    assert is_idx(tmp_path)
    parts = gather_idx(tmp_path).parts
    assert list(parts) == ["train", "test"]
    assert np.array_equal(np.asarray(parts["train"].pictures)[..., 0], train)
    assert np.array_equal(np.asarray(parts["test"].pictures)[..., 0], test)
    assert parts["train"].labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert list(parts["test"].names) == [f"test[{n}]" for n in range(4)]


def test_one_file_finds_its_labels(tmp_path: Path) -> None:
    write_set(tmp_path, split="t10k")
    assert is_idx(tmp_path / "t10k-images-idx3-ubyte.gz")
    assert list(gather_idx(tmp_path / "t10k-images-idx3-ubyte.gz").parts) == ["train"]


def test_packed_and_unpacked_copies_are_one_set(tmp_path: Path) -> None:
    write_set(tmp_path, packed=True)
    write_set(tmp_path, packed=False)
    assert len(gather_idx(tmp_path).parts["train"]) == 6


def test_dots_in_names_are_known(tmp_path: Path) -> None:
    write_set(tmp_path, packed=False)
    for kind in ("images-idx3", "labels-idx1"):
        (tmp_path / f"train-{kind}-ubyte").rename(tmp_path / f"train-{kind.replace('-', '.')}-ubyte")
    assert len(gather_idx(tmp_path).parts["train"]) == 6


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"\x89PNG and more", "not an IDX file"),
        (b"\0\0\x07\x01\0\0\0\1a", "not an IDX file"),
        (b"\0\0\x08\x09" + b"\0" * 40, "not an IDX file"),
        (b"\0\0\x08\x03\0\0\0\1", "not as long as its header says"),
        (idx_bytes(pixels(0, 9))[:-1], "not as long as its header says"),
        (idx_bytes(pixels(0, 9)) + b"x", "not as long as its header says"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**31, 2**31), "not as long as its header says"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files_are_refused(tmp_path: Path, data: bytes, message: str, packed: bool) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cut", [5, 30, -1])
def test_a_truncated_archive_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx_bytes(pixels(0, 20, 20)))[:cut])
    with pytest.raises(DataError, match="cut short|damaged"):
        read_idx(path)


def test_a_header_larger_than_memory_allocates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros((1000, 100), dtype=np.uint8))))
    monkeypatch.setattr(memory, "available_memory", lambda: 50_000)
    with pytest.raises(DataError, match="larger than the free memory"):
        read_idx(path)


def test_missing_and_unequal_labels_are_named(tmp_path: Path) -> None:
    write_set(tmp_path, packed=False)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.zeros(5, dtype=np.uint8)))
    with pytest.raises(DataError, match="6 pictures, 5 labels"):
        gather_idx(tmp_path)
    labels.unlink()
    with pytest.raises(DataError, match="train-labels-idx1-ubyte"):
        gather_idx(tmp_path)


def test_a_folder_without_training_images_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path, split="t10k")
    with pytest.raises(DataError, match="training images is missing"):
        gather_idx(tmp_path)


def test_two_training_sets_in_one_folder_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path, split="train")
    write_set(tmp_path, split="emnist-train")
    with pytest.raises(DataError, match="two files hold"):
        gather_idx(tmp_path)


def test_labels_where_images_should_be(tmp_path: Path) -> None:
    write_set(tmp_path, packed=False)
    (tmp_path / "train-images-idx3-ubyte").write_bytes((tmp_path / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DataError, match="does not hold pictures"):
        gather_idx(tmp_path)
