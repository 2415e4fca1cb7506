from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.text.text_files import TextReader
from corecur.data.text.text_tables import gather_texts, grid_of
from corecur.errors import ConfigError, DataError

TEXT = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), min_size=1, max_size=30)


def write(folder: Path, content: str, name: str = "a.csv") -> Path:
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


@given(
    st.lists(st.tuples(TEXT.filter(str.strip), st.sampled_from("01")), min_size=1, max_size=8), st.sampled_from(",;\t")
)
def test_what_the_csv_module_writes_is_read_back(rows: list[tuple[str, str]], delimiter: str) -> None:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *rows])
    name = "a.tsv" if delimiter == "\t" else "a.csv"
    columns = grid_of(file.getvalue(), Path(name), TextReader()).columns
    assert list(zip(columns["text"], columns["label"], strict=True)) == rows


@pytest.mark.parametrize(
    "content",
    [
        "label,review\n1,a good film\n0,a bad film\n",
        "review;label\na good film;1\na bad film;0\n",
        "\ufeffid,Comment,Class\n17,a good film,1\n18,a bad film,0\n",
        "a good film,1\na bad film,0\n",
        "1\ta good film\n0\ta bad film\n",
        "colour,words\n1,a good film\n0,a bad film\n",
        'review,label\n"a good film",1\n\n"a bad film",0\n',
    ],
)
def test_columns_are_found(tmp_path: Path, content: str) -> None:
    part = gather_texts({"train": write(tmp_path, content)}, TextReader()).parts["train"]
    assert (part.texts, part.labels) == (["a good film", "a bad film"], ["1", "0"])


def test_columns_can_be_named(tmp_path: Path) -> None:
    file = write(tmp_path, "title,body,a,b\nshort,a long body,1,x\nbrief,another body,0,y\n")
    part = gather_texts({"train": file}, TextReader(), text_column="Title", label_column="b").parts["train"]
    assert (part.texts, part.labels) == (["short", "brief"], ["x", "y"])
    with pytest.raises(ConfigError, match="did you mean 'title'"):
        gather_texts({"train": file}, TextReader(), text_column="titel")


def test_quoted_line_ends_keep_the_line_numbers(tmp_path: Path) -> None:
    file = write(tmp_path, 'text,label\n"a\nlong\none",1\nb,0\n')
    part = gather_texts({"train": file}, TextReader()).parts["train"]
    assert part.texts == ["a\nlong\none", "b"]
    assert part.names == ["a.csv:2", "a.csv:5"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text,label\ngood,1\nbad,0,oops\n", "a.csv:3.*3 columns.*2, as in the first"),
        ("text,label,Text\ngood,1,x\n", "two columns have one name.*a.csv:1.*text"),
        ("text,id\ngood film,1\nbad film,2\nnew film,3\n", "no label column.*text, id.*--label-column"),
        ("a,b\n1,2\n3,4\n", "no text column"),
        ("", "file is empty"),
        ("text,label\n", "header and no rows"),
        ("text,label,split\ngood,1,train\nbad,0,maybe\n", "a.csv:3.*maybe"),
        ("text,label,split\ngood,1,test\n", "no row of the train split"),
    ],
)
def test_bad_tables_are_refused_with_the_row(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(DataError, match=f"(?s){words}"):
        gather_texts({"train": write(tmp_path, content)}, TextReader())


def test_bad_rows_are_set_aside(tmp_path: Path) -> None:
    reader = TextReader(skip_bad=True)
    part = gather_texts({"train": write(tmp_path, "text,label\ngood,1\nbad,0,oops\ndull,0\n")}, reader).parts["train"]
    assert part.texts == ["good", "dull"]
    assert "a.csv:3" in str(reader.findings()[0])


def test_splits_in_a_column_and_in_files(tmp_path: Path) -> None:
    file = write(tmp_path, "text,label,Split\ngood,1,train\nbad,0,dev\ndull,0,TEST\n")
    parts = gather_texts({"train": file}, TextReader()).parts
    assert {split: part.texts for split, part in parts.items()} == {
        "train": ["good"],
        "validation": ["bad"],
        "test": ["dull"],
    }
    reader = TextReader()
    files = {"train": file, "test": write(tmp_path, "id,text\n7,a film\n8,a book\n", "test.csv")}
    assert set(gather_texts(files, reader).parts) == {"train"}
    assert "test.csv has no labels" in str(reader.findings()[0])


def test_json_rows(tmp_path: Path) -> None:
    file = write(tmp_path, '{"text": "good", "label": 1.0}\n\n{"label": null, "text": "bad", "x": 3}\n', "a.jsonl")
    part = gather_texts({"train": file}, TextReader()).parts["train"]
    assert (part.texts, part.labels, part.names) == (["good", "bad"], ["1", ""], ["a.jsonl:1", "a.jsonl:3"])
    for content, words in (
        ('{"text": "good", "label": 1}\n{"text": \n', "a.jsonl:2"),
        ('{"text": "good", "label": 1}\n{"text": "bad"}\n', "no 'label'"),
        ("[1]\n", "no JSON object"),
    ):
        with pytest.raises(DataError, match=words):
            gather_texts({"train": write(tmp_path, content, "a.jsonl")}, TextReader())


def test_a_cell_of_10_mb_is_read_and_the_csv_module_left_as_it_was(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    file = write(tmp_path, f"text,label\n{'x' * 10_000_000},1\nshort,0\n")
    assert len(gather_texts({"train": file}, TextReader()).parts["train"].texts[0]) == 10_000_000
    assert csv.field_size_limit() == limit
