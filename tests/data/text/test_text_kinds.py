from __future__ import annotations

import json
from pathlib import Path

import pytest

from corecur.data.text.text_kinds import text_kind

FILES = {
    "reviews.csv": ("label,review\n1,a very good film\n0,a rather dull one\n", "table"),
    "short.tsv": ("text\tlabel\ngood\t1\nbad\t0\n", "table"),
    "r.jsonl": ('{"text": "good film", "label": 1}\n', "table"),
    "rows.json": ('[{"text": "a good film", "label": 1}, {"text": "a bad film", "label": 0}]', "table"),
    "poems.json": (json.dumps([{"title": "t", "author": "a", "paragraphs": ["白日依山盡，黃河入海流。"]}]), "corpus"),
    "set.all": ("1 a fine film\n0 a dull film\n" * 5, "lines"),
    "sms": ("ham\tsee you then\nspam\twin a prize now\n" * 5, "lines"),
    "ft.txt": ("__label__a how nice\n__label__b how sad\n", "lines"),
    "coarse.label": ("DESC How did it develop ?\nENTY What is that ?\n" * 20, None),
    "coarse.train": ("DESC How did it develop ?\nENTY What is that ?\n" * 20, "lines"),
    "novel.txt": ("It was the best of times,\nit was the worst of times.\n\nCHAPTER II\n", "corpus"),
    "list.txt": ("1. one thing\n2. another thing\n", "corpus"),
    "a.conll": ("EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\n", "conll"),
    "b.txt": ("EU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\n", "conll"),
    "c.conllu": ("# text = Go\n1\tGo\tgo\tVERB" + "\t_" * 6 + "\n", "conllu"),
    # not text
    "series.csv": ("date,HUFL,OT\n2016-07-01 00:00:00,5.8,30.5\n2016-07-01 01:00:00,5.6,27.7\n", None),
    "iris.csv": ("sepal,petal,species\n5.1,1.4,setosa\n4.9,1.3,virginica\n", None),
    "pictures.csv": ("path,label\na very long name.png,cat\nanother long name.png,dog\n", None),
    "ucr.txt": ("1 0.1 0.2 0.3\n2 -0.1 1e-3 NaN\n" * 5, None),
    "x.ts": ("@problemName GunPoint\n@data\n1,2,3:1\n", None),
    "x.png": ("a good film\n", None),
    "empty.txt": ("", None),
    "numbers.txt": ("1 2 3\n4 5 6\n", None),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_told_by_their_content(tmp_path: Path, name: str) -> None:
    content, kind = FILES[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert text_kind(tmp_path / name) == kind


def make(folder: Path, *names: str, content: str = "some words here\n") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_folders_are_what_their_files_are(tmp_path: Path) -> None:
    assert (
        text_kind(make(tmp_path / "imdb", "train/pos/1.txt", "train/neg/1.txt", "test/pos/1.txt", "README")) == "folder"
    )
    assert text_kind(make(tmp_path / "news", "a.atheism/1001", "b.space/1002")) == "folder"
    assert text_kind(make(tmp_path / "pictures", "cat/1.png", "dog/2.png")) is None
    assert text_kind(make(tmp_path / "novels", "a.txt", "b.txt", "LICENSE", "readme.md")) == "corpus"
    assert text_kind(make(tmp_path / "mixed", "a.txt", "data.bin")) is None
    assert text_kind(make(tmp_path / "tables", "train.csv", "test.csv", content=FILES["reviews.csv"][0])) == "table"
    assert (
        text_kind(make(tmp_path / "lines", "TREC.train.all", "TREC.test.all", content=FILES["set.all"][0])) == "lines"
    )
    assert text_kind(tmp_path / "lines" / "TREC") == "lines"
    assert (
        text_kind(make(tmp_path / "tags", "x.train.conll", "x.test.annotated", content=FILES["a.conll"][0])) == "conll"
    )
    assert text_kind(make(tmp_path / "none", "LICENSE")) is None
    assert text_kind(tmp_path / "nowhere") is None
    assert text_kind("") is None


def test_one_long_line_is_told_quickly(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("é" * 5_000_000, encoding="utf-8")
    assert text_kind(tmp_path / "a.txt") == "corpus"
