from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corecur.errors import BundleError, DataError, RunError
from corecur.learners.tasks import TASKS, find_task, load_learner


def make(root: Path, files: dict[str, str]) -> Path:
    """A folder with these texts in it."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_the_table_names_its_learners() -> None:
    assert all(task.learner.task == name for name, task in TASKS.items())


# What may hold pictures, and what lacks them in a way that reading it explains better.
IMAGES = {
    "class folders": {"cat/1.PNG": "", "dog/notes.txt": ""},
    "deep folders": {"a/b/c/1.jpeg": "", "a/b/2.txt": ""},
    "a table in a folder": {"labels.csv": "path,label\nx,y\n", "more.txt": ""},
    "an empty folder": {},
}


@pytest.mark.parametrize("case", IMAGES)
def test_folders_of_pictures(tmp_path: Path, case: str) -> None:
    assert find_task(str(make(tmp_path, IMAGES[case]))) == "image-classification"


@pytest.mark.parametrize("text", ["path;label\nx;y\n", "a.png,cat\n", "1,photos/b.JPG\n", '"File","kind"\n', ""])
def test_tables_of_pictures(tmp_path: Path, text: str) -> None:
    make(tmp_path, {"t.csv": text})
    assert find_task(str(tmp_path / "t.csv")) == "image-classification"


def test_samples_arrays_pictures_and_missing_paths(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros(3))
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    for source in ("digits", "mnist", tmp_path / "a.npz", tmp_path / "a.png", tmp_path / "nothing"):
        assert find_task(str(source)) == "image-classification"


TEXTS = {
    "class folders": ({"pos/1.txt": "good", "neg/1.txt": "bad", "neg/.hidden.png": ""}, ""),
    "split folders": ({"train/pos/1.txt": "good", "train/neg/1.txt": "bad", "test/pos/2.txt": "fine"}, ""),
    "a table": ({"reviews.csv": "label,review\n1,so very good\n0,so very bad\n"}, "reviews.csv"),
    "JSON lines": (
        {"r.jsonl": '{"text": "so very good", "label": 1}\n{"text": "so very bad", "label": 0}\n'},
        "r.jsonl",
    ),
    "labelled lines": ({"set.all": "1 so very good\n0 so very bad\n"}, "set.all"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_labelled_texts(tmp_path: Path, case: str) -> None:
    files, name = TEXTS[case]
    assert find_task(str(make(tmp_path, files) / name)) == "text-classification"


OTHERS = {
    "sounds": ({"1.wav": "", "2.wav": "", "LICENSE": ""}, "", "3 files, none a picture: 2 .wav, 1 without suffix"),
    "numbers": ({"load.csv": "size,load\n3,1.5\n"}, "load.csv", "begins: size,load"),
    "a folder of series": ({"load.csv": "date,profile\n2020,1.5\n"}, "", "1 files, none a picture: 1 .csv"),
    "bytes": ({"thing": "?"}, "thing", "a file of no known kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_other_sources_are_described(tmp_path: Path, case: str) -> None:
    files, name, found = OTHERS[case]
    with pytest.raises(DataError, match="nothing here that can be learned") as refused:
        find_task(str(make(tmp_path, files) / name))
    assert found in str(refused.value)
    assert "one class" not in str(refused.value) and "image-classification" in str(refused.value)


def test_a_bundle_finds_its_learner(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run" / "bundle")
    for path in (trained, tmp_path / "run", str(trained)):
        assert load_learner(path).classes == ("dark", "grey", "light")


def test_what_is_no_learner(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such model file"):
        load_learner(tmp_path / "nothing")
    with pytest.raises(RunError, match="no model file in this folder"):
        load_learner(tmp_path)


PLAIN_TEXTS = {
    "a text": ({"book.txt": "Once upon a time"}, "book.txt"),
    "an empty text": ({"book.txt": ""}, "book.txt"),
    "texts side by side": ({"one.txt": "Once upon a time.\nThe end.", "two.txt": "There was a king.\nHe died."}, ""),
    "poems": ({"a.json": '[{"title": "t", "paragraphs": ["one line,", "another."]}]'}, ""),
}


@pytest.mark.parametrize("case", PLAIN_TEXTS)
def test_plain_texts(tmp_path: Path, case: str) -> None:
    files, name = PLAIN_TEXTS[case]
    assert find_task(str(make(tmp_path, files) / name)) == "text-generation"


def test_values_over_time(tmp_path: Path) -> None:
    path = make(tmp_path, {"load.csv": "date,load\n2020-01-01,1.5\n2020-01-02,1.6\n"}) / "load.csv"
    assert find_task(str(path)) == find_task("demand") == "forecasting"
