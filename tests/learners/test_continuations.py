from __future__ import annotations

import io
from pathlib import Path

import pytest

from corecur.data.text.text_files import TextReader
from corecur.errors import DataError
from corecur.learners.continuations import read_prompts


def test_texts_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text("one \n\n two", "utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("three\n"))
    found = read_prompts(["a.txt", tmp_path / "a.txt", Path("-")], TextReader())
    assert found == [("prompt 1", "a.txt"), ("a.txt:1", "one "), ("a.txt:3", " two"), ("-:1", "three")]
    assert read_prompts("a\nb", TextReader()) == [("prompt 1", "a\nb")]


def test_what_is_no_prompt(tmp_path: Path) -> None:
    for wrong in ([], 3, None):
        with pytest.raises(DataError, match="no prompt here"):
            read_prompts(wrong, TextReader())
    with pytest.raises(DataError, match="cannot be read"):
        read_prompts(tmp_path / "nothing", TextReader())
    reader = TextReader(skip_bad=True)
    assert read_prompts(tmp_path / "nothing", reader) == [] and len(reader.bad) == 1
