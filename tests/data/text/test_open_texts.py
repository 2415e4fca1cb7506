from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur.data.text.open_texts import load_text_split, load_texts, load_unlabelled
from corecur.data.text.text_preparation import fit_preparation
from corecur.errors import ConfigError, DataError
from corecur.learners.fill_splits import fill_splits

LINES = "1 a fine film\n0 a dull film\n1 a good book\n0 a bad book\n"


def write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def test_class_folders_with_splits(tmp_path: Path) -> None:
    source = write(
        tmp_path, train__pos__1_txt="good", train__pos__2_txt="fine", train__neg__1_txt="bad", train__neg__2_txt="dull",
        train__unsup__1_txt="hm", test__pos__1_txt="nice", test__neg__1_txt="bad", train__urls_txt="x",
    )  # fmt: skip
    found = load_texts(source)
    assert (found.kind, found.classes) == ("folder", ("neg", "pos"))
    assert found.train.texts == ("bad", "dull", "good", "fine")
    assert found.train.names[0] == "train/neg/1.txt"
    assert found.test is not None and found.test.labels is not None and found.test.labels.tolist() == [0, 1]
    told = " ".join(map(str, found.findings))
    assert "unsup/ holds texts without a class" in told
    assert "1 test text is in the train split too (test/neg/1.txt is train/neg/1.txt)" in told


def test_labelled_lines_by_folder_prefix_and_file(tmp_path: Path) -> None:
    for name in ("TREC.train.all", "TREC.test.all", "MR.all"):
        (tmp_path / name).write_bytes(LINES.replace("dull", "caf\u00e9").encode("latin-1"))
    found = load_texts(str(tmp_path / "TREC"))
    assert (len(found.train), found.validation, len(found.test or ())) == (4, None, 4)
    assert found.train.texts[1] == "a café film"
    assert any("2 files are not UTF-8" in str(finding) for finding in found.findings)
    assert any("4 test texts are in the train split too" in str(finding) for finding in found.findings)
    assert load_texts(tmp_path / "MR.all").test is None
    assert any("name no split were left out (MR.all)" in str(finding) for finding in load_texts(tmp_path).findings)
    (tmp_path / "SST.train").write_text(LINES)
    with pytest.raises(DataError, match="(?s)several files.*TREC"):
        load_texts(tmp_path)
    place = (tmp_path / "MR.all").read_bytes().index(0xE9)
    with pytest.raises(DataError, match=f"(?s)not UTF-8.*MR.all, byte {place}.*--encoding latin-1"):
        load_texts(tmp_path / "MR.all", encoding="utf-8")


def test_fasttext_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("__label__joy how nice\n__label__woe __label__joy how sad\n" * 2)
    found = load_texts(tmp_path / "a.txt")
    assert found.classes == ("joy", "woe")
    assert found.train.texts[:2] == ("how nice", "how sad")
    assert any("several labels" in str(finding) for finding in found.findings)


class Frame:
    """What a data frame looks like from outside."""

    columns = ("review", "label")

    def __getitem__(self, name: str) -> Any:
        return {"review": ["good film", "bad film"] * 2, "label": np.array([1, 0] * 2)}[name]


@pytest.mark.parametrize(
    "source",
    [
        (["good film", "bad film"] * 2, [1, 0] * 2),
        (["good film", "bad film"] * 2, torch.tensor([1, 0] * 2)),
        (np.array(["good film", "bad film"] * 2), np.array([1.0, 0.0] * 2)),
        {"text": ["good film", "bad film"] * 2, "label": [1, 0] * 2},
        Frame(),
    ],
)
def test_python_values(source: Any) -> None:
    found = load_texts(source)
    assert found.train.texts == ("good film", "bad film") * 2
    assert found.classes == ("0", "1") and found.train.labels is not None
    assert found.train.labels.tolist() == [1, 0, 1, 0]


def test_two_pairs_are_train_and_test() -> None:
    found = load_texts(((["a", "b"] * 2, list("xyxy")), (["c"], ["x"])))
    assert found.test is not None and (found.test.texts, found.test.names) == (("c",), ("test[0]",))


def test_given_validation_and_test(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(LINES)
    found = load_texts(tmp_path / "a.txt", validation=(["new"], ["1"]), test=tmp_path / "a.txt")
    assert len(found.validation or ()) == 1 and len(found.test or ()) == 4
    with pytest.raises(DataError, match="not among the classes"):
        load_texts(tmp_path / "a.txt", test=(["new"], ["7"]))


def test_splits_can_be_filled() -> None:
    found = fill_splits(load_texts(["a b"] * 50 + ["c d"] * 50, [0] * 50 + [1] * 50), seed=0)  # type: ignore[arg-type]
    assert [len(part) for part in (found.train, found.validation, found.test) if part is not None] == [70, 10, 20]
    assert found.test is not None and found.test.names[0].startswith("sample[")


def test_empty_texts_are_set_aside_and_long_ones_cut() -> None:
    found = load_texts(["good", "", " \n", "x" * 10_000_000, "fine", "bad"], [1, 0, 1, 0, 1, 0])
    assert [len(text) for text in found.train.texts] == [4, 1_000_000, 4, 3]
    assert any("2 of 6 train texts are empty" in str(finding) for finding in found.findings)
    assert any("1 train texts were cut to their first 1,000,000" in str(finding) for finding in found.findings)


@pytest.mark.parametrize(
    ("source", "labels", "words"),
    [
        (["a", "b"], None, "no labels"),
        (["a", "b"], [1], "(?s)differ in number.*2 texts, 1 labels"),
        (["a", 3], [1, 0], r"(?s)no text.*train\[1\]"),
        (["a", "b"], [1, 1], "one class only"),
        (["a", "b"], [1, 0], "fewer than two"),
        (["", " "], [1, 0], "no text"),
        (["a", "b"], [1, None], r"(?s)no label.*train\[1\]"),
        ({"text": ["a b c"], "label": []}, None, "different lengths"),
        ({"n": [1, 2]}, None, "no text column"),
    ],
)
def test_bad_values_are_named(source: Any, labels: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_texts(source, labels)


def test_bad_paths_are_named(tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("It was the best of times,\nit was the worst.\n")
    (tmp_path / "empty.txt").write_text("")
    for name, words in (
        ("novel.txt", "plain text without labels"),
        ("empty.txt", "empty"),
        ("novl.txt", "did you mean 'novel.txt'"),
    ):
        with pytest.raises(DataError, match=words):
            load_texts(tmp_path / name)
    with pytest.raises(DataError, match="did you mean 'pydoc'"):
        load_texts("pydocs")
    with pytest.raises(ConfigError, match="labels go with"):
        load_texts("pydoc", [1])


def test_rows_without_a_label_can_be_set_aside() -> None:
    reading: dict[str, Any] = {"skip_bad": True}
    found = load_texts(["a", "b", "c", "d", "e"], [1, None, 0, 1, 0], **reading)
    assert found.train.texts == ("a", "c", "d", "e")
    assert any("1 texts without a label" in str(finding) for finding in found.findings)


def test_a_split_for_a_known_model(tmp_path: Path) -> None:
    (tmp_path / "a.train").write_text(LINES)
    texts, findings = load_text_split(tmp_path / "a.train", classes=("1", "0", "2"))
    assert texts.labels is not None and texts.labels.tolist() == [0, 1, 0, 1]
    assert tuple(map(str, findings)) == ("The test split has no text of '2'.",)
    with pytest.raises(DataError, match="not among the classes"):
        load_text_split(tmp_path / "a.train", classes=("1",))


def test_texts_to_answer_for(tmp_path: Path) -> None:
    write(tmp_path, more__1_txt="one\ntwo\n", more__2_txt="three")
    (tmp_path / "a.csv").write_text("id,text\n1,how nice it is\n2,\n")
    assert load_unlabelled(tmp_path / "more")[0].names == ("1.txt", "2.txt")
    assert load_unlabelled(tmp_path / "more" / "1.txt")[0].texts == ("one\ntwo\n",)
    assert load_unlabelled(tmp_path / "more" / "1.txt", lines=True)[0].texts == ("one", "two")
    texts, findings = load_unlabelled(tmp_path / "a.csv")
    assert texts.names == ("a.csv:2",) and "1 of 2" in str(findings[0])
    assert load_unlabelled(["a", "b"])[0].labels is None
    with pytest.raises(DataError, match="cannot be read"):
        load_unlabelled(tmp_path / "nowhere.txt")


def test_12_000_short_reviews_and_2_000_documents_are_quick(tmp_path: Path) -> None:
    words = [f"word{n * n % 7919}" for n in range(900)]
    short = "\n".join(f"{n % 2} {' '.join(words[n % 800 : n % 800 + 20])} {n}" for n in range(12_000))
    (tmp_path / "short.all").write_text(short)
    start = time.process_time()
    found = load_texts(tmp_path / "short.all")
    prepare = fit_preparation(found.train.texts)
    assert len(prepare(found.train.texts)) == 12_000
    assert time.process_time() - start < 4  # a second on a machine of its own
