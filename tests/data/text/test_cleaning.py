from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from corecur.data.text.cleaning import TextCleaning
from corecur.errors import DataError

ALL = TextCleaning(lower=True, strip_accents=True)


@given(st.text(), st.booleans(), st.booleans(), st.booleans())
def test_cleaning_twice_changes_nothing_more(text: str, lower: bool, strip: bool, fold: bool) -> None:
    clean = TextCleaning(lower=lower, strip_accents=strip, fold_spaces=fold)
    assert clean(clean(text)) == clean(text)


@given(st.text())
def test_what_is_left_is_composed_visible_and_parted_by_single_spaces(text: str) -> None:
    cleaned = TextCleaning()(text)
    assert unicodedata.is_normalized("NFC", cleaned)
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in cleaned)
    assert cleaned == " ".join(cleaned.split())


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("e\u0301te\u0301", "ete"),
        ("A\u200bB\ufeffC\u00adD", "abcd"),
        ("a\x00b\x07c\x9fd", "abcd"),
        (" tab\tand\r\nline\u2028end\u3000. ", "tab and line end ."),
        ("Ångström Øre Straße", "angstrom øre straße"),
        ("हिन्दी", "हिन्दी"),
        ("が", "が"),
        ("", ""),
        ("\u200b \x00", ""),
    ],
)
def test_each_rule(text: str, cleaned: str) -> None:
    assert ALL(text) == cleaned


def test_every_rule_can_be_left_off() -> None:
    text = " A\u200b e\u0301\r\n"
    off = TextCleaning(nfc=False, drop_invisible=False, fold_spaces=False)
    assert off(text) == text
    assert TextCleaning(fold_spaces=False)("a\r\nb\rc") == "a\nb\nc"


def test_it_survives_json_and_refuses_other_settings() -> None:
    assert TextCleaning.model_validate_json(ALL.model_dump_json()) == ALL
    with pytest.raises(ValidationError):
        TextCleaning.model_validate({"upper": True})
    with pytest.raises(DataError, match="no text"):
        ALL(3)  # type: ignore[arg-type]
