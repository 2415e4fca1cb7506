from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.text.tokenizers import TOKENIZERS
from corecur.data.text.word_tokenizer import WordTokenizer

WORDS = WordTokenizer()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("it's so-so; they'll see", "it 's so - so ; they 'll see"),
        ("it 's so-so ; they 'll see", "it 's so - so ; they 'll see"),
        ("I don't, can't and WON'T", "I do n't , ca n't and WO N'T"),
        ("I do n't , ca n't", "I do n't , ca n't"),
        ("we\u2019ve", "we 've"),
        ("$1,234.50 at 10:30.", "$ 1,234.50 at 10:30 ."),
        ("wait... what?! no!!", "wait ... what ? ! no !!"),
        ("mp3s 2x k-19 caf\u00e9", "mp3s 2x k - 19 café"),
        ("हिन्दी में", "हिन्दी में"),
        ("'quoted' words", "' quoted ' words"),
    ],
)
def test_words(text: str, tokens: str) -> None:
    assert WORDS(text) == tokens.split()


@given(st.text(max_size=200))
def test_no_character_but_spaces_is_lost(text: str) -> None:
    kept = "".join(WordTokenizer(longest=10_000)(text))
    assert kept == "".join(text.replace("\u2019", "'").split()) or any(c.isspace() for c in kept) is False


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=200))
def test_ascii_texts_keep_every_printable_character(text: str) -> None:
    assert "".join(WordTokenizer(longest=10_000)(text)) == "".join(text.split())


def test_a_token_of_10_mb_is_short_and_fast() -> None:
    for text in ("a" * 10_000_000, "é" * 10_000_000, "n't" * 3_000_000):
        start = time.process_time()
        assert len(max(WORDS(text), key=len)) <= 64
        assert time.process_time() - start < 8


def test_join_reads_well() -> None:
    assert WORDS.join(WORDS("I don't know (yet), it's odd.")) == "I don't know (yet), it's odd."
    assert set(TOKENIZERS) == {"bpe", "characters", "chinese-characters", "chinese-words", "words"}
