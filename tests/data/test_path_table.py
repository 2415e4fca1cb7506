from __future__ import annotations

from pathlib import Path

import pytest

from corecur.data.path_table import gather_table
from corecur.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c, d.png"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "e.png").touch()
    return tmp_path


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "labels.csv").write_text(text, encoding=encoding)
    return folder / "labels.csv"


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.png,cat\nsub/e.png,dog\n",
        "label,filename\ncat,a.png\ndog,sub/e.png\n",
        "id;Class;x;Image\n1;cat;;a.png\n2;dog;;sub/e.png\n",
        "picture\tkind\na.png\tcat\nsub/e.png\tdog\n",
        "a.png,cat\r\n\r\nsub/e.png,dog\r\n",
        "\ufefffile,target\n a.png , cat \nsub/e.png,dog",
    ],
)
def test_columns_are_found(folder: Path, text: str) -> None:
    part = gather_table(write(folder, text)).parts["train"]
    assert (list(part.names), part.labels.tolist()) == (["a.png", "sub/e.png"], ["cat", "dog"])
    assert list(part.pictures) == [folder / "a.png", folder / "sub" / "e.png"]


def test_quotes_and_absolute_paths_are_understood(folder: Path) -> None:
    part = gather_table(write(folder, f'path,label\n"c, d.png","x ""y"""\n{folder}/a.png,z\n')).parts["train"]
    assert part.labels.tolist() == ['x "y"', "z"]
    assert list(part.pictures) == [folder / "c, d.png", folder / "a.png"]


def test_a_split_column_makes_splits(folder: Path) -> None:
    text = "path,label,split\na.png,cat,train\nb.png,dog,VAL\nsub/e.png,dog,testing\n"
    parts = gather_table(write(folder, text)).parts
    assert {split: list(part.names) for split, part in parts.items()} == {
        "train": ["a.png"],
        "validation": ["b.png"],
        "test": ["sub/e.png"],
    }


def test_missing_pictures_are_bad_files_with_their_row(folder: Path) -> None:
    found = gather_table(write(folder, "path,label\na.png,cat\nmissing.png,dog\nb.png,dog\nbad\0name,dog\n"))
    assert [reason for _, reason in found.bad] == ["no such file (row 3)", "no such file (row 5)"]
    assert list(found.parts["train"].names) == ["a.png", "b.png"]


def test_a_picture_named_twice_is_told(folder: Path) -> None:
    assert "more than once" in str(gather_table(write(folder, "path,label\na.png,x\na.png,y\n")).findings[0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["the table is empty"]),
        ("path,label\n", ["a header and no rows"]),
        ("path\na.png\n", ["one column"]),
        ("path,label,label\na.png,cat,dog\n", ["two columns have one name", "label"]),
        ("path,kind\na.png,cat\n", ["no label column", "kind"]),
        ("name,label\na.png,cat\n", ["no path column"]),
        ("path,label\na.png,cat\nb.png\n", ["another number of columns", "row 3"]),
        ("path,label\na.png,cat\nb.png,\n", ["a row has no label", "row 3"]),
        ("path,label\n,cat\n", ["a row has no path", "row 2"]),
        ("path,label,split\na.png,cat,holdout\n", ["no known split", "holdout", "row 2"]),
        ("path,label,split\na.png,cat,test\n", ["no row of the train split"]),
        ("path,label\nx/a.png,cat\nx/b.png,dog\n", ["none of the pictures", "row 2", "relative to"]),
    ],
)
def test_tables_that_cannot_be_used(folder: Path, text: str, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        gather_table(write(folder, text))
    for word in (*words, "labels.csv"):
        assert word in str(caught.value)


def test_other_encodings_are_refused_with_a_remedy(folder: Path) -> None:
    with pytest.raises(DataError, match="UTF-8"):
        gather_table(write(folder, "path,label\na.png,größe\n", encoding="latin-1"))
