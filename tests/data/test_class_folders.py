from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from corecur.data.class_folders import gather_folder, list_folder
from corecur.errors import DataError

from .picture_files import class_folders


def refuse(folder: Path, *words: str) -> str:
    with pytest.raises(DataError) as caught:
        gather_folder(folder)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    return message


def test_classes_stand_in_natural_order(tmp_path: Path) -> None:
    class_folders(tmp_path, {"10": 2, "9": 12, "b": 1, "A": 1})
    part = gather_folder(tmp_path).parts["train"]
    assert list(dict.fromkeys(part.labels.tolist())) == ["9", "10", "A", "b"]
    assert list(part.names)[:4] == ["9/0.png", "9/1.png", "9/2.png", "9/3.png"]
    assert list(part.names)[10:12] == ["9/10.png", "9/11.png"]
    assert all(Path(path).is_file() for path in part.pictures)


def test_all_formats_are_found_and_nested_folders_belong_to_their_class(tmp_path: Path) -> None:
    for suffix in (".png", ".JPG", ".jpeg", ".bmp", ".gif", ".webp"):
        class_folders(tmp_path, {"cat": 1, "cat/more/deep": 1, "dog": 1}, suffix=suffix.lower())
        if suffix != suffix.lower():
            (tmp_path / "cat" / f"0{suffix.lower()}").rename(tmp_path / "cat" / f"0{suffix}")
    part = gather_folder(tmp_path).parts["train"]
    assert part.labels.tolist() == ["cat"] * 12 + ["dog"] * 6
    assert "cat/more/deep/0.webp" in part.names


def test_hidden_files_are_passed_over_and_others_are_told(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 2, "dog": 2, ".cache": 3, "__MACOSX": 1, "cat/.thumbs": 1})
    for name in ("cat/.DS_Store", "cat/._0.png", "LICENSE", "cat/notes.txt", "dog/scan.tif", "dog/scan2.tif"):
        (tmp_path / name).touch()
    found = gather_folder(tmp_path)
    assert len(found.parts["train"]) == 4
    assert tuple(map(str, found.findings)) == ("3 files of other kinds were left out (2 .tif, 1 .txt).",)


def test_loose_pictures_are_told(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 2, "dog": 2, ".": 3})
    assert "3 pictures lie outside" in str(gather_folder(tmp_path).findings[0])


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "valid", "testing"), ("TRAIN", "Validation", "Test")]
)
def test_split_folders_are_respected(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for count, name in zip((5, 3, 2), names, strict=True):
        class_folders(tmp_path / name, {"cat": count, "dog": count})
    found = gather_folder(tmp_path)
    assert {split: len(part) for split, part in found.parts.items()} == {"train": 10, "validation": 6, "test": 4}
    assert found.parts["test"].names[0] == f"{names[2]}/cat/0.png"


def test_train_can_be_a_class_of_vehicles(tmp_path: Path) -> None:
    class_folders(tmp_path, {"bus": 2, "car": 2, "train": 2})
    assert set(gather_folder(tmp_path).parts["train"].labels.tolist()) == {"bus", "car", "train"}


def test_splits_must_have_the_same_classes(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"cat": 2, "dog": 2})
    class_folders(tmp_path / "test", {"cat": 2, "cow": 2})
    refuse(tmp_path, "the classes of test/ are not those of train/", "without dog and with cow")


def test_unlabelled_test_pictures_are_told(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"cat": 2, "dog": 2})
    class_folders(tmp_path, {"test": 4})
    found = gather_folder(tmp_path)
    assert list(found.parts) == ["train"]
    assert "test/ holds 4 pictures without class folders" in str(found.findings[0])


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ({}, ["the folder is empty"]),
        ({".": 3}, ["not in class folders", "3 pictures", "CSV"]),
        ({"cat": 2, "dog": 0}, ["a class folder holds no picture", "dog/"]),
        ({"cat": 0, "dog": 0}, ["the folder holds no pictures"]),
        ({"train": 3, "test": 3}, ["not in class folders", "train"]),
        ({"train/cat": 2, "train/dog": 2, "val/cat": 1, "valid/cat": 1}, ["two folders hold the validation split"]),
        ({"train/cat": 2, "train/dog": 2, "cow": 2}, ["class folders stand beside the train folder", "cow/"]),
        ({"test/cat": 2, "valid/dog": 2}, ["there is no train folder"]),
        ({"photos/cat": 2, "photos/dog": 2}, ["folders inside it", "did you mean"]),
    ],
)
def test_folders_that_cannot_be_learned_from(tmp_path: Path, folders: dict[str, int], words: list[str]) -> None:
    refuse(class_folders(tmp_path, folders), *words)


def test_a_table_in_the_folder_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    refuse(tmp_path, "holds no pictures", "labels.csv")
    class_folders(tmp_path, {".": 3})
    refuse(tmp_path, "not in class folders", "give the table of labels instead")


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path, {"cat": 2, "dog": 2})
    scandir = os.scandir

    def deny(path: Any) -> Any:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    refuse(tmp_path, "the folder cannot be read: Permission denied", "dog")


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 2, "dog": 2})
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat", target_is_directory=True)
    assert len(gather_folder(tmp_path).parts["train"]) == 4


def test_accents_written_in_two_ways_are_one_class(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"e\u0301cole": 2, "dog": 2})
    class_folders(tmp_path / "test", {"\u00e9cole": 2, "dog": 2})
    assert set(gather_folder(tmp_path).parts["test"].labels.tolist()) == {"\u00e9cole", "dog"}


def test_a_listing_parts_folders_pictures_and_others(tmp_path: Path) -> None:
    class_folders(tmp_path, {"sub": 1, ".": 2})
    (tmp_path / "a.txt").touch()
    listing = list_folder(tmp_path)
    assert [path.name for path in (*listing.folders, *listing.pictures, *listing.others)] == [
        "sub",
        "0.png",
        "1.png",
        "a.txt",
    ]
