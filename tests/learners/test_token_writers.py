from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corecur.data.text.character_tokenizer import CharacterTokenizer
from corecur.data.text.subword_tokenizer import train_subwords
from corecur.data.text.word_tokenizer import WordTokenizer
from corecur.learners.token_writers import SubwordWriter, WordWriter, writer_for

SENTENCES = (
    "Well, Prince, so Genoa and Lucca are now just family estates.",
    'He said: "I don\'t know (yet)." Then, "Who\'s there?" she asked.',
    "It cost $12.50 -- no, 3,000!",
    "well-known and/or new",
)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_words_are_spaced_as_they_were(sentence: str) -> None:
    writer = WordWriter()
    written = "".join(map(writer, WordTokenizer()(sentence))) + writer.close()
    assert written == sentence.replace(" -- ", "--")


def test_a_new_line_closes_what_was_open_and_takes_no_spaces() -> None:
    writer = WordWriter()
    assert "".join(map(writer, ["So", '"', "\n", "\n", '"', "And", '"'])) == 'So "\n\n"And"'
    writer.touch()
    assert writer("then") == "then"


@given(st.text(max_size=60))
def test_pieces_of_characters_and_bytes_give_the_text_back(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()  # no half surrogates
    assert "".join(map(writer_for(CharacterTokenizer()), text)) == text
    tokenizer = BYTES
    writer = SubwordWriter(tokenizer)
    pieces = [writer(token) for token in tokenizer(text)]
    assert "".join(pieces) + writer.close() == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


BYTES = train_subwords(["a rose is a rose"], size=256)


def test_bytes_that_are_no_character_do_not_wait_for_ever() -> None:
    writer = SubwordWriter(BYTES)
    first = BYTES("é")[0]
    assert len("".join(writer(first) for _ in range(40)) + writer.close()) >= 30
