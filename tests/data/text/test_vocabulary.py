from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from corecur.data.text.vocabulary import Vocabulary, fit_vocabulary
from corecur.errors import ConfigError, DataError

TEXTS = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=8), min_size=1, max_size=8).filter(any)


@given(TEXTS, st.integers(1, 3), st.integers(1, 8))
def test_order_is_frequency_then_alphabet(texts: list[list[str]], min_count: int, most: int) -> None:
    counts = Counter(token for text in texts for token in text)
    wanted = sorted((t for t in counts if counts[t] >= min_count), key=lambda t: (-counts[t], t))[:most]
    if not wanted:
        with pytest.raises(DataError, match="no token"):
            fit_vocabulary(texts, min_count=min_count, most=most)
        return
    assert list(fit_vocabulary(texts, min_count=min_count, most=most).tokens) == wanted


@given(TEXTS)
def test_decode_takes_encode_back(texts: list[list[str]]) -> None:
    vocabulary = fit_vocabulary(texts, specials=["<end>"])
    for text in texts:
        numbers = vocabulary.encode(text)
        assert numbers.dtype == np.int64
        assert vocabulary.decode(numbers) == text
        assert not {0, 1, 2} & set(numbers.tolist())


def test_padding_unknown_and_specials_are_no_text() -> None:
    vocabulary = fit_vocabulary([["a", "<padding>", "<end>"]], specials=["<end>"])
    assert vocabulary.names[:3] == ("<padding>", "<unknown>", "<end>")
    assert vocabulary.special("<end>") == 2
    assert set(vocabulary.encode(["<padding>", "<end>", "a"]).tolist()) == {3, 4, 5}
    assert vocabulary.encode(["b"]).tolist() == [1]
    assert vocabulary.decode(torch.tensor([2, 1, 0, 0])) == ["<end>", "<unknown>"]


def test_it_survives_json_and_refuses_what_is_none() -> None:
    vocabulary = fit_vocabulary([["a", "好", "a"]], specials=["<end>"])
    assert Vocabulary.model_validate_json(vocabulary.model_dump_json()) == vocabulary
    for wrong in ({"tokens": ["a", "a"]}, {"tokens": [""]}, {"tokens": [1]}, {"tokens": ["a" * 20_000]},
                  {"tokens": "a"}, {"tokens": ["a"], "x": 1}):  # fmt: skip
        with pytest.raises(ValidationError):
            Vocabulary.model_validate(wrong)


def test_errors_are_named() -> None:
    vocabulary = Vocabulary(tokens=("a",))
    with pytest.raises(DataError, match="no such token"):
        vocabulary.decode([3])
    with pytest.raises(ConfigError, match="no such special"):
        vocabulary.special("<end>")
    with pytest.raises(ConfigError, match="empty"):
        fit_vocabulary([["a"]], most=0)
