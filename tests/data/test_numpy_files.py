from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corecur.data import memory
from corecur.data.numpy_files import gather_npy, gather_npz, read_npy
from corecur.errors import DataError

from .picture_files import pixels


def header(shape: tuple[int, ...], descr: str = "|u1", body: bytes = b"") -> bytes:
    """An .npy file whose header claims a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": descr})
    return file.getvalue() + body


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
        ("X_train", "Y_train", "x_valid", "y_valid", "x_test", "y_test"),
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_named_splits_are_read(tmp_path: Path, keys: tuple[str, ...], save: Any) -> None:
    images = {split: pixels(n, n, 5, 4, 3) for n, split in enumerate(("train", "validation", "test"), start=2)}
    arrays = [array for split in images.values() for array in (split, np.arange(len(split))[:, None])]
    save(tmp_path / "a.npz", **dict(zip(keys, arrays, strict=True)))
    parts = gather_npz(tmp_path / "a.npz").parts
    assert list(parts) == list(images)
    for split, part in parts.items():
        assert np.array_equal(part.pictures, images[split])
        assert part.labels.tolist() == list(range(len(images[split])))


@pytest.mark.parametrize("keys", [("images", "labels"), ("x", "y"), ("X", "y")])
def test_one_pair_is_the_training_split(tmp_path: Path, keys: tuple[str, str]) -> None:
    np.savez(tmp_path / "a.npz", **{keys[0]: pixels(0, 3, 4, 4), keys[1]: np.array(["b", "a", "b"])})
    part = gather_npz(tmp_path / "a.npz").parts["train"]
    assert (np.shape(part.pictures), part.labels.tolist()) == ((3, 4, 4, 1), ["b", "a", "b"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"foo": pixels(0, 3, 4, 4)}, "no arrays of known names"),
        ({"x_test": pixels(0, 3, 4, 4), "y_test": [1, 2, 3]}, "no arrays of known names"),
        ({"images": pixels(0, 3, 4, 4)}, "labels are missing"),
        ({"images": pixels(0, 3, 4, 4), "labels": [0, 1]}, "3 pictures, 2 labels"),
        ({"images": pixels(0, 3, 4), "labels": [0.5, 1, 2]}, "whole numbers or text"),
        ({"images": pixels(0, 3, 16), "labels": [0, 1, 2]}, "reshape"),
        ({"images": np.array([None] * 3), "labels": [0, 1, 2]}, "Python objects is not opened"),
        ({"images": pixels(0, 3, 4, 4), "labels": np.array(["a", None, 1], dtype=object)}, "objects is not opened"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    if message == "whole numbers or text":
        arrays = {**arrays, "images": pixels(0, 3, 4, 4)}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        gather_npz(tmp_path / "a.npz")
    assert "a.npz" in str(caught.value)


def test_a_header_that_lies_about_its_length_allocates_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", header((10**6, 1000, 1000), body=b"abc"))
        archive.writestr("labels.npy", header((3,), body=b"abc"))
    with pytest.raises(DataError, match="not as long as its header says"):
        gather_npz(tmp_path / "a.npz")


def test_a_bomb_is_refused_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(
        tmp_path / "a.npz", images=np.zeros((1000, 100, 100), dtype=np.uint8), labels=np.zeros(1000, int)
    )
    assert (tmp_path / "a.npz").stat().st_size < 20_000
    monkeypatch.setattr(memory, "available_memory", lambda: 2**20)
    with pytest.raises(DataError, match="larger than the free memory"):
        gather_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("cut", [0, 10, -30])
def test_damaged_archives_are_refused(tmp_path: Path, cut: int) -> None:
    np.savez(tmp_path / "a.npz", images=pixels(0, 3, 4, 4), labels=[0, 1, 2])
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:cut])
    with pytest.raises(DataError, match="not a NumPy file"):
        gather_npz(tmp_path / "a.npz")


def test_a_spoiled_byte_in_an_archive_is_noticed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=pixels(0, 30, 4, 4), labels=np.arange(30))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[400] ^= 255
    (tmp_path / "a.npz").write_bytes(bytes(data))
    with pytest.raises(DataError, match="CRC"):
        gather_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("pictures", "labels"), [("images", "labels"), ("x", "y"), ("train_images", "train_labels"), ("x_train", "y_train")]
)
def test_npy_finds_the_labels_beside_it(tmp_path: Path, pictures: str, labels: str) -> None:
    np.save(tmp_path / f"{pictures}.npy", pixels(0, 3, 4, 4))
    np.save(tmp_path / f"{labels}.npy", np.array([2, 0, 1]))
    part = gather_npy(tmp_path / f"{pictures}.npy").parts["train"]
    assert (np.shape(part.pictures), part.labels.tolist()) == ((3, 4, 4, 1), [2, 0, 1])


def test_npy_without_labels_says_what_is_missing(tmp_path: Path) -> None:
    np.save(tmp_path / "boxes.npy", pixels(0, 3, 4, 4))
    with pytest.raises(DataError, match="labels of the pictures are missing"):
        gather_npy(tmp_path / "boxes.npy")


def test_npy_is_mapped_and_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pixels(0, 3, 4, 4))
    assert isinstance(read_npy(tmp_path / "a.npy"), np.memmap)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a NumPy file"),
        (b"hello world, this is text", "not a NumPy file"),
        (header((10,), body=b"123"), "not a NumPy file"),
        (header((2**62, 8), body=b"123"), "not a NumPy file"),
        (header((1,), descr="|O", body=b"cos\nsystem\n(S'touch ran'\ntR."), "Python objects is not opened"),
        (header((3,))[:20], "not a NumPy file"),
    ],
)
def test_damaged_and_hostile_npy_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(DataError, match="cannot be read"):
        read_npy(tmp_path / "missing.npy")


def test_an_empty_npy_is_no_crash(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((0, 4, 4)))
    assert read_npy(tmp_path / "a.npy").shape == (0, 4, 4)
