from __future__ import annotations

import pytest
from pydantic import ValidationError

from corecur.errors import ConfigError, DataError
from corecur.learners import generator_tokens
from corecur.learners.generator_tokens import GeneratorPreprocess, choose_level, fit_generator_tokens

VERSE = "To be, or not to be:\nthat is the question.\n\nWhether 'tis nobler\n"


@pytest.mark.parametrize(("level", "most"), [("char", None), ("word", None), ("bpe", 300)])
def test_a_text_comes_back_from_its_numbers(level: str, most: int | None) -> None:
    preprocess = fit_generator_tokens(VERSE, level=level, most=most)  # type: ignore[arg-type]
    numbers = preprocess.numbers(VERSE)
    assert int(numbers.min()) >= 2 and int(numbers.max()) < len(preprocess.vocabulary)
    shown = VERSE if level != "word" else VERSE.replace(" 'tis", "' tis")  # a lone mark is taken for a closing one
    assert preprocess.text_of(numbers.tolist()) == shown
    again = GeneratorPreprocess.model_validate(preprocess.model_dump(mode="json"))
    assert again.numbers(VERSE).tolist() == numbers.tolist() and again == preprocess


def test_bytes_leave_nothing_unknown_and_words_do() -> None:
    strange = "ζ\u4e00 zzz"
    assert int(fit_generator_tokens(VERSE, level="bpe", most=300).numbers(strange).min()) >= 2
    assert fit_generator_tokens(VERSE, level="word").numbers(strange).tolist() == [1, 1]


def test_rare_tokens_are_unknown_and_learned_as_such() -> None:
    preprocess = fit_generator_tokens("aab b ca\n" * 2 + "x", level="char", min_count=2)
    assert preprocess.learned_unknown and "x" not in preprocess.vocabulary
    assert preprocess.prompt("xa").replaced == {"x": "<unknown>"}
    plain = fit_generator_tokens("aab b ca\n" * 2 + "x", level="char")
    assert not plain.learned_unknown
    assert plain.prompt("a€a").replaced == {"€": ""} and len(plain.prompt("a€a").tokens) == 2


def test_prompts_are_read_by_a_spelling_that_is_known() -> None:
    preprocess = fit_generator_tokens('Oh, "it\'s" -- ok...\n fi', level="char")
    prompt = preprocess.prompt("\u00d6h \u201cit\u2019s\u201d\u2014\tok\u2026 \ufb01 5")
    assert prompt.replaced == {
        "\u00d6": "O", "\u201c": '"', "\u2019": "'", "\u201d": '"', "\u2014": "--", "\t": " ", "\u2026": "...",
        "\ufb01": "fi", "5": "",
    }  # fmt: skip
    assert preprocess.text_of(prompt.tokens) == 'Oh "it\'s"-- ok... fi '
    assert "9 characters of the prompt are not in the vocabulary: Ö (read as O)" in str(prompt.finding())
    words = fit_generator_tokens("the Cat sat\non a mat", level="word")
    assert words.prompt("cat THE dog").replaced == {"cat": "Cat", "THE": "the", "dog": ""}


def test_an_empty_prompt_begins_a_line() -> None:
    preprocess = fit_generator_tokens(VERSE, level="char")
    assert preprocess.text_of(preprocess.prompt("").tokens) == "\n"
    assert preprocess.text_of(preprocess.prompt("\u200b€").tokens) == "\n"
    assert fit_generator_tokens("abab", level="char").prompt("").tokens == (2,)


def test_the_level_follows_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator_tokens, "LONG", 5000)
    assert choose_level([VERSE]) == "char"
    assert choose_level([VERSE] * 200) == "word"
    assert choose_level(["床前明月光，疑是地上霜。\n"] * 500) == "char"
    assert choose_level(["x" * 10_000]) == "char"  # no words in it


@pytest.mark.parametrize(("text", "level"), [("aaaa" * 50, "char"), ("word " * 50, "word"), ("x" * 10**6, "word")])
def test_one_kind_of_token_is_refused(text: str, level: str) -> None:
    with pytest.raises(DataError, match="only one distinct"):
        fit_generator_tokens(text, level=level)  # type: ignore[arg-type]


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(ConfigError, match="needs a size"):
        fit_generator_tokens(VERSE, level="bpe")
    with pytest.raises(DataError):
        fit_generator_tokens("", level="char")


def test_another_tokeniser_in_a_file_is_refused() -> None:
    found = fit_generator_tokens(VERSE, level="char").model_dump(mode="json")
    with pytest.raises(ValidationError):
        GeneratorPreprocess.model_validate(found | {"tokenizer": {"kind": "chinese-words"}})
    with pytest.raises(ValidationError):
        GeneratorPreprocess.model_validate(found | {"more": 1})
