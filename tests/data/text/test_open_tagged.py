from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from corecur.data.text.open_tagged import load_tagged, load_tagged_split
from corecur.errors import DataError

CONLL = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\t\nPeter NNP B-PER\n\n"


def row(*cells: str) -> str:
    return "\t".join([*cells, *["_"] * (10 - len(cells))])


CONLLU = "\n".join(
    [
        "# sent_id = 1",
        "# text = don't go",
        row("1-2", "don't"),
        row("1", "do", "do", "AUX"),
        row("2", "n't", "not", "PART"),
        row("3", "go", "go", "VERB"),
        row("3.1", "away", "away", "ADV"),
        "",
        row("1", "Stop", "stop", "VERB"),
        "",
    ]
)


def test_conll_folder(tmp_path: Path) -> None:
    for name in ("x17train.conll", "x.dev.conll", "x.test.annotated", "README.md"):
        (tmp_path / name).write_text(CONLL)
    found = load_tagged(tmp_path)
    assert (found.kind, found.classes) == ("conll", ("B-ORG", "B-PER", "O"))
    assert found.train.sentences == (("EU", "rejects"), ("Peter",))
    assert found.train.tags == (("B-ORG", "O"), ("B-PER",))
    assert found.train.names == ("x17train.conll:3", "x17train.conll:6")
    assert found.validation is not None and found.test is not None
    assert str(found.findings[0]) == "2 of 2 validation sentences are in the train split too."


def test_conllu_leaves_ranges_and_empty_nodes_out(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text(CONLLU)
    found = load_tagged(tmp_path / "a.conllu")
    assert found.train.sentences == (("do", "n't", "go"), ("Stop",))
    assert found.train.tags == (("AUX", "PART", "VERB"), ("VERB",))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.conll", "EU B-ORG\nrejects\n\nPeter B-PER\n", "(?s)no tag.*a.conll:2"),
        ("a.conll", "EU\tB-ORG\nrejects\t\n", "(?s)empty.*a.conll:2"),
        ("a.conll", "\n\n", "no sentence"),
        ("a.conllu", CONLLU + "\n1\tGo\tgo\n", "(?s)number of columns.*3 columns"),
        ("a.conllu", row("x", "Go", "go", "VERB") + "\n", "no number"),
        ("a.conllu", row("1", "Go", "go", "VERB") + "\n", "one tag only"),
    ],
)
def test_bad_files_are_refused_with_the_line(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=words):
        load_tagged(tmp_path / name)


def test_bad_sentences_can_be_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("EU B-ORG\nrejects\n\n" + CONLL)
    found = load_tagged(tmp_path / "a.conll", skip_bad=True)
    assert len(found.train) == 2 and "1 bad item" in str(found.findings[0])


@pytest.mark.parametrize(
    ("sentences", "tags", "words"),
    [
        ([["a", "cat"]], [["DET"]], r"(?s)words and tags differ.*train\[0\].*2 words, 1 tags"),
        ([["a"], ["b"]], [["DET"]], "differ in number"),
        (["a cat"], [["DET", "NOUN"]], "list of words"),
        ([["a"]], None, "no tags"),
        ([["a"]], [["DET"]], "one tag only"),
    ],
)
def test_bad_values_are_named(sentences: Any, tags: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_tagged(sentences, tags)


def test_unknown_tags_in_held_out_sentences() -> None:
    train = ([["a", "cat"], ["go"]], [["DET", "NOUN"], ["VERB"]])
    test = ([["oh"], ["go"]], [["INTJ"], ["VERB"]])
    with pytest.raises(DataError, match="(?s)not in the training split.*'INTJ', in 1"):
        load_tagged(train, test=test)
    found = load_tagged(train, test=test, skip_bad=True)
    assert found.test is not None and found.test.sentences == (("go",),)
    chosen, _ = load_tagged_split(test, classes=("INTJ", "VERB"))
    assert chosen.take(torch.tensor([1])).names == ("test[1]",)


def test_other_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain words\n")
    with pytest.raises(DataError, match="no sentences with a tag"):
        load_tagged(tmp_path / "a.txt")
    with pytest.raises(DataError, match="no such file"):
        load_tagged(tmp_path / "b.txt")
