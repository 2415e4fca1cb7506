from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from corecur.data.text.subword_tokenizer import SubwordTokenizer, train_subwords
from corecur.data.text.tokenizers import AnyTokenizer
from corecur.errors import ConfigError, DataError

library = pytest.importorskip("tokenizers")
TRAINED = train_subwords(["the lowest of the low are lower than the others", "很好吃"] * 20, size=300)


@settings(max_examples=50)
@given(st.text(max_size=100))
def test_any_text_comes_back_exactly(text: str) -> None:
    assert TRAINED.join(TRAINED(text)) == text


def test_pieces_are_those_of_the_library() -> None:
    direct = library.Tokenizer.from_str(TRAINED.state)
    texts = ["the lower", "unseen words", ""]
    assert TRAINED.many(texts) == [direct.encode(text).tokens for text in texts] == [TRAINED(text) for text in texts]
    assert direct.get_vocab_size() <= 300
    assert len(TRAINED("the lowest")) < 5


def test_training_is_reproducible_and_survives_json() -> None:
    again = train_subwords(["the lowest of the low are lower than the others", "很好吃"] * 20, size=300)
    assert json.loads(again.state) == json.loads(TRAINED.state)
    adapter: TypeAdapter[Any] = TypeAdapter(AnyTokenizer)
    assert adapter.validate_json(adapter.dump_json(TRAINED)) == TRAINED


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}},
        {"pre_tokenizer": None},
        {"decoder": {"type": "Strip", "content": "a", "start": 0, "stop": 0}},
        {"added_tokens": [{"id": 0, "content": "x"}]},
        {"truncation": {"max_length": 1}},
        {"surprise": 1},
    ],
)
def test_another_state_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="byte-level BPE"):
        SubwordTokenizer(state=json.dumps(json.loads(TRAINED.state) | change))


@pytest.mark.parametrize(
    "change",
    [
        {"type": "WordPiece"},
        {"vocab": {"a": 0, "b": 2}},
        {"vocab": {"a": True, "b": 0}},
        {"vocab": {}},
        {"merges": [["zz", "zzz"]]},
        {"merges": "a b"},
        {"unk_token": "<unk>"},
        {"byte_fallback": True},
    ],
)
def test_another_model_is_refused(change: dict[str, Any]) -> None:
    state = json.loads(TRAINED.state)
    with pytest.raises(ValidationError, match="byte-level BPE"):
        SubwordTokenizer(state=json.dumps(state | {"model": state["model"] | change}))


@pytest.mark.parametrize("state", ["", "[]", "nonsense", "[" * 100_000])
def test_no_state_at_all_is_refused(state: str) -> None:
    with pytest.raises(ValidationError):
        SubwordTokenizer(state=state)


def test_wrong_training_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="256 or more"):
        train_subwords(["a"], size=100)
    with pytest.raises(DataError, match="no text"):
        train_subwords(["", ""])
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"corecur\[text\]"):
        train_subwords(["a"])
