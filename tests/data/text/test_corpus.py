from __future__ import annotations

import json
from pathlib import Path

import pytest

from corecur.data.text.corpus import CorpusSet, hold_out_end, load_corpus
from corecur.errors import ConfigError, DataError

TEXT = "To be, or not to be, that is the question:\n" * 50


def test_one_file_is_cut_at_nine_tenths(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text(TEXT)
    for source in (tmp_path, tmp_path / "input.txt"):
        found = load_corpus(source)
        cut = int(0.9 * len(TEXT))
        assert found.train.text == TEXT[:cut]
        assert found.validation is not None and found.validation.text == TEXT[cut:]
        assert found.test is None and found.findings == ()


def test_shares_and_sources_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("other words")
    found = load_corpus([TEXT], validation=0.2, test=0.1)
    sizes = [len(part.text) / len(TEXT) for part in (found.train, found.validation, found.test) if part is not None]
    assert sizes == pytest.approx([0.7, 0.2, 0.1], abs=0.002)
    assert found.train.text + found.validation.text + found.test.text == TEXT  # type: ignore[union-attr]
    assert load_corpus([TEXT], validation=tmp_path / "more.txt").validation.text == "other words"  # type: ignore[union-attr]
    assert load_corpus([TEXT], validation=0).validation is None


def test_files_named_by_split(tmp_path: Path) -> None:
    for name, text in (("w.train.txt", "aaa b"), ("w.valid.txt", "bbb c"), ("w.test.txt", "ccc d"), ("README", "no")):
        (tmp_path / name).write_text(text)
    found = load_corpus(tmp_path)
    assert [p and p.text for p in (found.train, found.validation, found.test)] == ["aaa b", "bbb c", "ccc d"]


def test_poems(tmp_path: Path) -> None:
    for part in range(3):
        poems = [{"title": f"t{part}", "author": "x", "paragraphs": ["a,", "b."]} for _ in range(10)]
        poems.append({"title": "lost", "author": "x", "paragraphs": []})
        (tmp_path / f"poet.{part * 1000}.json").write_text(json.dumps(poems))
    found = load_corpus(tmp_path, validation="last-file")
    assert (len(found.train), len(found.validation or ())) == (20, 10)
    assert found.train.documents[0] == "t0\na,\nb."
    assert found.validation is not None and found.validation.names[0] == "poet.2000.json:1"
    assert tuple(map(str, found.findings)) == ("3 of 33 documents are empty and were left out.",)
    assert load_corpus(tmp_path, titles=False).train.documents[0] == "a,\nb."
    with pytest.raises(ConfigError, match="no last file"):
        load_corpus(tmp_path / "poet.0.json", validation="last-file")


def test_many_documents_are_held_out_whole() -> None:
    corpus = CorpusSet(tuple(f"{n:03d}" for n in range(100)), tuple(map(str, range(100))))
    keep, held = hold_out_end(corpus, 0.1)
    assert (keep.names[-1], held.names) == ("89", tuple(map(str, range(90, 100))))


def test_bad_corpora_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "bad.txt").write_bytes("味道很好，送餐很快".encode("gb18030"))
    (tmp_path / "bad.json").write_text("[{")
    (tmp_path / "odd.json").write_text('[{"x": 1}]')
    for name, words in (
        ("empty.txt", "no text to learn from"), ("bad.txt", "not UTF-8"), ("bad.json", "no JSON"),
        ("odd.json", "(?s)has no text.*odd.json:1"), ("nowhere", "no text here"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            load_corpus(tmp_path / name)
    with pytest.raises(DataError, match="too little"):
        load_corpus(["a"])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        load_corpus([TEXT], validation=1.5)


def test_pydoc() -> None:
    found = load_corpus("pydoc")
    assert len(found.train.text) > 300_000
    assert found.validation is not None and 0.05 < len(found.validation.text) / len(found.train.text) < 0.2
