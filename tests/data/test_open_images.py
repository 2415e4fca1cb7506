from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur.data import memory
from corecur.data.open_images import KINDS, image_kind, load_images, load_split
from corecur.errors import ConfigError, DataError

from .picture_files import class_folders, pixels, png_header, save
from .test_cifar import write_binary, write_pickle
from .test_idx import write_set


def write_arrays(folder: Path, kind: str) -> Path:
    images, labels = pixels(0, 8, 12, 12), np.arange(8) % 2
    if kind == "npz":
        np.savez(folder / "a.npz", images=images, labels=labels)
        return folder / "a.npz"
    np.save(folder / "labels.npy", labels)
    np.save(folder / "images.npy", images)
    return folder / "images.npy"


def write_table(folder: Path) -> Path:
    class_folders(folder, {"cat": 4, "dog": 4})
    lines = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    (folder / "labels.csv").write_text("path,label\n" + "\n".join(lines))
    return folder / "labels.csv"


def write_kind(folder: Path, kind: str) -> Path:
    """A small source of each kind."""
    if kind == "idx":
        write_set(folder)
    elif kind == "cifar-binary":
        write_binary(folder, "data_batch_1.bin", labels=[0, 1, 0, 1])
    elif kind == "cifar-pickle":
        data = {"data": pixels(0, 4, 3072), "labels": [0, 1, 0, 1]}
        write_pickle(folder / "data_batch_1", data)
    elif kind in ("npz", "npy"):
        return write_arrays(folder, kind)
    elif kind == "csv":
        return write_table(folder)
    else:
        class_folders(folder, {"cat": 4, "dog": 4})
    return folder


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
@pytest.mark.parametrize("as_text", [True, False])
def test_every_kind_is_recognised_and_loaded(tmp_path: Path, kind: str, as_text: bool) -> None:
    path = write_kind(tmp_path, kind)
    assert image_kind(path) == kind
    source = load_images(str(path) if as_text else path)
    assert source.kind == kind
    assert source.origin == str(path)
    assert source.train.images.dtype == torch.uint8
    assert source.train.images.shape[1:] == (
        source.preparation.height,
        source.preparation.width,
        source.preparation.channels,
    )
    assert source.train.labels is not None
    assert set(source.train.labels.tolist()) == set(range(len(source.classes)))
    assert (source.validation, source.test) == (None, None)
    assert sum("not be read" in str(finding) for finding in source.findings) == 0


def test_arrays_become_classes_named_by_their_labels() -> None:
    x = pixels(0, 6, 8, 8)
    source = load_images(x, [7, 3, 10, 7, 3, 10])
    assert source.classes == ("3", "7", "10")
    assert source.train.labels is not None
    assert source.train.labels.tolist() == [1, 0, 2, 1, 0, 2]
    assert source.train.names[5] == "train[5]"
    assert torch.equal(load_images((x, ["b", "a"] * 3)).train.images, torch.from_numpy(x)[..., None])
    assert load_images(x, ["b", "a"] * 3).classes == ("a", "b")


def test_keras_pairs_give_train_and_test() -> None:
    train, test = pixels(0, 6, 8, 8, 3), pixels(1, 4, 8, 8, 3)
    labels = np.array([[0], [1]] * 3)
    source = load_images(((train, labels), (torch.from_numpy(test), torch.tensor([0, 1, 0, 1]))))
    assert source.test is not None
    assert np.array_equal(source.test.images.numpy(), test)
    assert source.test.names[3] == "test[3]"
    assert source.preparation.channels == 3


def test_float_arrays_fix_what_white_is() -> None:
    x = np.random.default_rng(0).random((6, 8, 8))
    source = load_images((x, [0, 1] * 3), test=(x * 0.5, [0, 1] * 3))
    assert source.preparation.white == 1.0
    assert source.test is not None
    assert np.array_equal(source.test.images.numpy()[..., 0], np.rint(x * 0.5 * 255))


def test_grey_files_have_one_channel_and_one_colour_file_makes_three(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 3, "dog": 3})
    assert load_images(tmp_path).preparation.channels == 1
    save(tmp_path / "cat" / "colour.png", pixels(9, 8, 8, 3))
    assert load_images(tmp_path).preparation.channels == 3


def test_colour_in_another_split_does_not_count(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"cat": 3, "dog": 3})
    class_folders(tmp_path / "test", {"cat": 3, "dog": 3}, shape=(8, 8, 3))
    source = load_images(tmp_path)
    assert source.preparation.channels == 1
    assert source.test is not None
    assert source.test.images.shape == (6, 8, 8, 1)


def test_sizes_are_made_common_and_told(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 3}, shape=(200, 300))
    class_folders(tmp_path, {"dog": 3}, shape=(220, 300))
    source = load_images(tmp_path)
    assert source.train.images.shape == (6, 64, 96, 1)
    assert any("2 sizes" in str(finding) for finding in source.findings)
    assert load_images(tmp_path, size=32).train.images.shape == (6, 32, 32, 1)
    assert load_images(tmp_path, size=(16, 24)).train.images.shape == (6, 16, 24, 1)
    assert load_images((pixels(0, 4, 200, 300), [0, 1, 0, 1])).train.images.shape == (4, 64, 96, 1)


def test_all_bad_files_are_named_at_once_and_can_be_set_aside(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"cat": 5, "dog": 5})
    class_folders(tmp_path / "test", {"cat": 2, "dog": 2})
    (tmp_path / "train" / "cat" / "0.png").write_bytes(b"")
    (tmp_path / "train" / "dog" / "1.png").write_bytes(png_header(50_000, 50_000))
    (tmp_path / "test" / "dog" / "0.png").write_text("not found")
    with pytest.raises(DataError, match="3 of 14 pictures cannot be read") as caught:
        load_images(tmp_path)
    for words in ("cat/0.png: the file is empty", "2,500,000,000 pixels", "test/dog/0.png: it is text"):
        assert words in str(caught.value)
    source = load_images(tmp_path, skip_bad=True)
    assert (len(source.train), source.test and len(source.test)) == (8, 3)
    assert "train/cat/0.png" not in source.train.names
    assert source.train.names[4] == "train/dog/0.png"
    assert source.train.labels is not None
    assert source.train.labels.tolist() == [0] * 4 + [1] * 4
    assert any("3 files could not be read and were set aside" in str(finding) for finding in source.findings)


def test_a_class_that_loses_its_last_files_is_told(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 3, "dog": 2})
    (tmp_path / "dog" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 bad files set aside"):
        load_images(tmp_path, skip_bad=True)


def test_a_test_split_of_bad_files_only_is_no_split(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"cat": 3, "dog": 3})
    class_folders(tmp_path / "test", {"cat": 1, "dog": 1})
    for path in (tmp_path / "test").rglob("*.png"):
        path.write_bytes(b"")
    source = load_images(tmp_path, skip_bad=True)
    assert source.test is None
    assert any("2 files could not be read" in str(finding) for finding in source.findings)


def test_a_folder_of_bad_files_only(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 3, "dog": 2})
    for path in tmp_path.rglob("*.png"):
        path.write_text("hello")
    for skip_bad in (True, False):
        with pytest.raises(DataError, match="5 of 5 pictures cannot be read"):
            load_images(tmp_path, skip_bad=skip_bad)


def test_rows_without_a_file_are_bad_files(tmp_path: Path) -> None:
    path = write_table(tmp_path)
    (tmp_path / "dog" / "2.png").unlink()
    with pytest.raises(DataError, match=r"1 of 8 pictures cannot be read(.|\n)*row 8"):
        load_images(path)
    assert len(load_images(path, skip_bad=True).train) == 7


def test_validation_and_test_are_sources_of_their_own(tmp_path: Path) -> None:
    class_folders(tmp_path / "photos", {"cat": 4, "dog": 4})
    class_folders(tmp_path / "more", {"dog": 2}, shape=(20, 30, 3))
    source = load_images(
        tmp_path / "photos", validation=tmp_path / "more", test=(pixels(5, 3, 8, 8), ["cat", "dog", "cat"])
    )
    assert source.validation is not None
    assert source.test is not None
    assert source.validation.images.shape == (2, 8, 8, 1)
    assert source.validation.labels is not None
    assert source.validation.labels.tolist() == [1, 1]
    assert source.validation.names == ("dog/0.png", "dog/1.png")
    assert source.test.names[0] == "test[0]"
    assert "The validation split has no picture of 'cat'." in map(str, source.findings)


def test_an_own_test_split_gives_way_and_is_told(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"cat": 4, "dog": 4})
    class_folders(tmp_path / "test", {"cat": 4, "dog": 4})
    x = pixels(7, 2, 8, 8)
    source = load_images(tmp_path, test=(x, ["cat", "dog"]))
    assert source.test is not None
    assert len(source.test) == 2
    assert "The source's own test split (8 pictures) gave way to arrays." in map(str, source.findings)


def test_a_test_label_that_was_never_learned_is_refused() -> None:
    x = pixels(0, 4, 8, 8)
    with pytest.raises(DataError, match="not among the classes"):
        load_images((x, [0, 1, 0, 1]), test=(x, [0, 1, 2, 1]))


def test_copies_across_splits_are_told(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"cat": 4, "dog": 4})
    class_folders(tmp_path / "test", {"cat": 1, "dog": 1})
    assert any(
        "2 test pictures are in the train split too" in str(finding) for finding in load_images(tmp_path).findings
    )


@pytest.mark.parametrize("kind", ["folder", "npy"])
def test_sets_larger_than_memory_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = write_kind(tmp_path, kind)
    wanted = load_images(path)
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    source = load_images(path)
    assert torch.equal(source.train.images, wanted.train.images)
    assert any("do not fit in memory" in str(finding) for finding in source.findings)
    assert not any("do not fit in memory" in str(finding) for finding in wanted.findings)
    assert torch.equal(source.train.take(torch.tensor([3, 0])).images, wanted.train.images[[3, 0]])


def test_progress_counts_files_up_to_the_total(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 20, "dog": 20})
    seen: list[tuple[int, int]] = []
    load_images(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (80, 80)  # 40 headers and 40 pictures
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_sample_name_wins_over_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "digits", {"cat": 4, "dog": 4})
    sample = load_images("digits")
    assert sample.kind == "sample"
    assert "write ./digits" in str(sample.findings[0])
    for path in ("./digits", Path("digits"), str(tmp_path / "digits")):
        assert load_images(path).kind == "folder"


def test_labels_may_be_given_beside_an_npy_file(tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", pixels(0, 4, 8, 8))
    np.save(tmp_path / "targets.npy", np.array([0, 1, 1, 0]))
    for labels in ([0, 1, 1, 0], tmp_path / "targets.npy", str(tmp_path / "targets.npy")):
        found = load_images(tmp_path / "pictures.npy", labels).train.labels
        assert found is not None
        assert found.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("phtos", ["no such file or folder", "did you mean", "photos"]),
        ("empty", ["the folder is empty"]),
        ("flat", ["not in class folders"]),
        ("one", ["one class only", "cat"]),
        ("few", ["fewer than two samples", "'dog' (1)"]),
        ("photos/cat/0.png", ["a single picture"]),
        ("notes.txt", ["this kind of file is not known", "labels.csv"]),
        ("photos/no/such/folder", ["no such file or folder"]),
        ("bad\0name", ["no such file or folder"]),
    ],
)
def test_paths_that_cannot_be_learned_from(tmp_path: Path, name: str, words: list[str]) -> None:
    class_folders(tmp_path, {"photos/cat": 2, "photos/dog": 2, "empty": 0, "flat": 3, "one/cat": 3})
    class_folders(tmp_path / "few", {"cat": 3, "dog": 1})
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError) as caught:
        load_images(tmp_path / name)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((pixels(0, 4, 8, 8), [0, 1, 0]), "4 pictures, 3 labels"),
        ((np.full((4, 8, 8), np.nan), [0, 1, 0, 1]), "NaN"),
        ((np.full((4, 8, 8), np.inf), [0, 1, 0, 1]), "NaN or infinity"),
        ((pixels(0, 4, 64), [0, 1, 0, 1]), "reshape"),
        ((np.array([None] * 4), [0, 1, 0, 1]), "Python objects"),
        ((pixels(0, 4, 8, 8), [0.0, 1.0, 0.0, 1.0]), "whole numbers"),
        ((pixels(0, 4, 8, 8), [0, -1, 0, 1]), "negative"),
        ((pixels(0, 4, 8, 8), [1, 1, 1, 1]), "one class"),
        (pixels(0, 4, 8, 8), "no labels"),
        ("", "no such file or folder"),
        ("mnits", "the sample 'mnist'"),
        (42, "no labels"),
    ],
)
def test_arrays_that_cannot_be_learned_from(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_images(source)


def test_labels_for_a_source_that_has_its_own_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 2, "dog": 2})
    for source in (tmp_path, "digits"):
        with pytest.raises(ConfigError, match="labels go with arrays"):
            load_images(source, [0, 1])


def test_a_split_is_loaded_as_a_model_wants_it(tmp_path: Path) -> None:
    class_folders(tmp_path / "photos", {"cat": 4, "dog": 4})
    source = load_images(tmp_path / "photos")
    class_folders(tmp_path / "new", {"dog": 1}, shape=(20, 20, 3))
    images, findings = load_split(tmp_path / "new", classes=source.classes, preparation=source.preparation)
    assert images.images.shape == (1, 8, 8, 1)
    assert images.labels is not None
    assert images.labels.tolist() == [1]
    assert tuple(map(str, findings)) == ("The test split has no picture of 'cat'.",)
    (tmp_path / "new" / "dog" / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match="1 of 2 pictures"):
        load_split(tmp_path / "new", classes=source.classes, preparation=source.preparation)
    images, _ = load_split(tmp_path / "new", classes=source.classes, preparation=source.preparation, skip_bad=True)
    assert len(images) == 1


def test_a_split_of_a_source_with_splits_is_its_own(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2)):
        class_folders(tmp_path / split, {"cat": count, "dog": count})
    source = load_images(tmp_path)
    images, _ = load_split(tmp_path, classes=source.classes, preparation=source.preparation)
    assert images.names[0] == "test/cat/0.png"
    with pytest.raises(DataError, match="none is validation"):
        load_split(tmp_path, classes=source.classes, preparation=source.preparation, split="validation")


def test_importing_loads_no_optional_library() -> None:
    import subprocess

    code = (
        "import sys, corecur.data.open_images; "
        "print([m for m in ('PIL', 'sklearn', 'pooch', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
