from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corecur.data.cifar import gather_cifar_binary, gather_cifar_pickle, is_cifar_binary, is_cifar_pickle
from corecur.errors import DataError

from .picture_files import pixels

NAMES = [f"name {n}" for n in range(10)]
FINE = [f"fine {n}" for n in range(100)]


def planes(images: np.ndarray) -> np.ndarray:
    """(N, 32, 32, 3) as the red, green and blue planes of CIFAR, (N, 3072)."""
    return images.transpose(0, 3, 1, 2).reshape(len(images), 3072)


def write_binary(folder: Path, name: str, *, count: int = 4, seed: int = 0, labels: Any = None) -> np.ndarray:
    images = pixels(seed, count, 32, 32, 3)
    numbers = np.arange(count) % 10 if labels is None else np.array(labels)
    np.concatenate([numbers[:, None].astype(np.uint8), planes(images)], axis=1).tofile(folder / name)
    return images


def write_pickle(path: Path, content: dict[str, Any], protocol: int = 2) -> None:
    path.write_bytes(pickle.dumps({key.encode(): value for key, value in content.items()}, protocol=protocol))


def test_binary_batches_are_joined_in_order(tmp_path: Path) -> None:
    first, second = write_binary(tmp_path, "data_batch_1.bin"), write_binary(tmp_path, "data_batch_2.bin", seed=1)
    test = write_binary(tmp_path, "test_batch.bin", seed=2)
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    assert is_cifar_binary(tmp_path)
    found = gather_cifar_binary(tmp_path)
    assert found.classes == tuple(NAMES)
    assert np.array_equal(found.parts["train"].pictures, np.concatenate([first, second]))
    assert np.array_equal(found.parts["test"].pictures, test)
    assert found.parts["train"].labels.tolist() == [NAMES[n] for n in (0, 1, 2, 3)] * 2
    assert tuple(map(str, found.findings)) == ("2 of the 5 official training files of CIFAR-10 are here: 8 images.",)


def test_without_a_file_of_names_labels_stay_numbers(tmp_path: Path) -> None:
    write_binary(tmp_path, "data_batch_3.bin")
    found = gather_cifar_binary(tmp_path)
    assert found.classes is None
    assert found.parts["train"].labels.tolist() == [0, 1, 2, 3]
    assert list(found.parts) == ["train"]


def test_binary_cifar_100_takes_the_fine_label(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    images = pixels(0, 2, 32, 32, 3)
    np.concatenate([np.array([[7, 99], [8, 3]], dtype=np.uint8), planes(images)], axis=1).tofile(folder / "train.bin")
    assert not is_cifar_binary(folder)  # “train.bin” alone may be anything
    (folder / "fine_label_names.txt").write_text("\n".join(FINE))
    assert is_cifar_binary(tmp_path)
    found = gather_cifar_binary(tmp_path)
    assert found.parts["train"].labels.tolist() == ["fine 99", "fine 3"]
    assert np.array_equal(found.parts["train"].pictures, images)


@pytest.mark.parametrize("length", [0, 1, 3072, 3074])
def test_a_binary_file_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(length))
    with pytest.raises(DataError, match=f"{length:,} bytes") as caught:
        gather_cifar_binary(tmp_path)
    assert "multiple of 3,073" in str(caught.value)


def test_a_label_out_of_range_names_the_image(tmp_path: Path) -> None:
    write_binary(tmp_path, "data_batch_1.bin", labels=[0, 9, 10, 1])
    with pytest.raises(DataError, match="image 2"):
        gather_cifar_binary(tmp_path)


def test_a_wrong_list_of_names_is_refused(tmp_path: Path) -> None:
    write_binary(tmp_path, "data_batch_1.bin")
    (tmp_path / "batches.meta.txt").write_text("one\ntwo\n")
    with pytest.raises(DataError, match="class names"):
        gather_cifar_binary(tmp_path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickled_batches_are_read(tmp_path: Path, protocol: int) -> None:
    images = pixels(0, 4, 32, 32, 3)
    for name, part in (("data_batch_1", images[:2]), ("data_batch_2", images[2:]), ("test_batch", images[:1])):
        numbers = list(range(len(part)))
        write_pickle(
            tmp_path / name, {"data": planes(part), "labels": numbers, "filenames": ["a.png"] * len(part)}, protocol
        )
    write_pickle(tmp_path / "batches.meta", {"label_names": NAMES, "num_vis": 3072}, protocol)
    assert is_cifar_pickle(tmp_path)
    found = gather_cifar_pickle(tmp_path)
    assert np.array_equal(found.parts["train"].pictures, images)
    assert found.parts["train"].labels.tolist() == [NAMES[n] for n in (0, 1, 0, 1)]
    assert len(found.parts["test"]) == 1


def test_pickled_cifar_100_takes_the_fine_label(tmp_path: Path) -> None:
    images = pixels(0, 2, 32, 32, 3)
    write_pickle(tmp_path / "train", {"data": planes(images), "fine_labels": [99, 3], "coarse_labels": [1, 2]})
    assert not is_cifar_pickle(tmp_path)
    write_pickle(tmp_path / "meta", {"fine_label_names": FINE, "coarse_label_names": NAMES})
    assert gather_cifar_pickle(tmp_path).parts["train"].labels.tolist() == ["fine 99", "fine 3"]


class Runs:
    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_a_batch_that_would_run_code_is_refused_and_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pickle(tmp_path / "data_batch_1", {"data": Runs(), "labels": [0]})
    with pytest.raises(DataError, match="mkdir, which was not run"):
        gather_cifar_pickle(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": [0]}, "no images"),
        ({"data": np.zeros((1, 3072)), "labels": [0]}, "no images"),
        ({"data": np.zeros((1, 3071), dtype=np.uint8), "labels": [0]}, "no images"),
        ({"data": [1, 2], "labels": [0]}, "no images"),
        ({"data": np.zeros((1, 3072), dtype=np.uint8)}, "no label for each image"),
        ({"data": np.zeros((1, 3072), dtype=np.uint8), "labels": [0, 1]}, "no label for each image"),
        ({"data": np.zeros((1, 3072), dtype=np.uint8), "labels": ["a"]}, "no label for each image"),
        ({"data": np.zeros((1, 3072), dtype=np.uint8), "labels": [10**30]}, "no label for each image"),
    ],
)
def test_batches_of_another_form_are_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    write_pickle(tmp_path / "data_batch_1", content)
    with pytest.raises(DataError, match=message):
        gather_cifar_pickle(tmp_path)


def test_a_pickle_that_is_no_dict_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="does not hold a dict"):
        gather_cifar_pickle(tmp_path)
