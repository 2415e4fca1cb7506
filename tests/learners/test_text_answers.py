from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from corecur.errors import DataError
from corecur.learners.text_answers import answers_listing, text_answers, texts_to_answer


def test_strings_are_texts_and_paths_are_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntext", encoding="utf-8")
    (tmp_path / "b.csv").write_text("text,number\nfirst of them,1\n,2\nthird of them,3\n", encoding="utf-8")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.txt").write_text("three", encoding="utf-8")
    assert texts_to_answer("a.txt") == (["text 0"], ["a.txt"])
    names, texts = texts_to_answer([tmp_path / "a.txt", tmp_path / "b.csv", tmp_path / "more"])
    assert names == ["a.txt", "b.csv:2", "b.csv:3", "b.csv:4", "c.txt"]
    assert texts == ["one\ntext", "first of them", "", "third of them", "three"]  # a row, an answer
    assert texts_to_answer(["x", tmp_path / "a.txt"])[1] == ["x", "one\ntext"]
    assert texts_to_answer(np.array(["x", "y"]))[1] == ["x", "y"]


@pytest.mark.parametrize("source", [[], [3], [None], 3.5])
def test_what_is_no_text_is_named(source: object) -> None:
    with pytest.raises(DataError, match="no text"):
        texts_to_answer(source)


def test_missing_files_and_foreign_bytes_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        texts_to_answer(tmp_path / "nothing.txt")
    (tmp_path / "b.txt").write_bytes(b"\x00\x01\x80\xff\xd8" * 40)
    with pytest.raises(DataError):
        texts_to_answer(tmp_path / "b.txt")


def test_answers_are_ranked_and_shown_with_their_beginning() -> None:
    probabilities = torch.tensor([[0.1, 0.7, 0.2]])
    (answer,) = text_answers(["n"], ["word " * 99], [["word"]], probabilities, [[1.0]], "abc")
    assert list(answer.probabilities) == ["b", "c", "a"]
    header, ((shown, label, share, then),), _ = answers_listing([answer], top=3)
    assert header[0] == "text" and len(shown) == 60 and shown.endswith("…")
    assert (label, share, then) == ("b", "70.0 %", "c 20.0 %, a 10.0 %")
    assert set(answer.as_json()) == {"name", "text", "label", "probability", "probabilities", "tokens"}
