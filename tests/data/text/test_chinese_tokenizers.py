from __future__ import annotations

import sys

import pytest

from corecur.data.text.chinese_tokenizers import ChineseCharacterTokenizer, ChineseWordTokenizer
from corecur.data.text.tokenizers import TOKENIZERS, choose_tokenizer
from corecur.errors import ConfigError


def test_characters_one_by_one_latin_words_whole() -> None:
    tokens = ChineseCharacterTokenizer()("我的iPhone 15，很好！don't ﾃｽﾄ かな 𠮷")
    assert tokens == [*"我的", "iPhone", "15", *"，很好！", "do", "n't", *"ﾃｽﾄ", *"かな", "𠮷"]


def test_words_are_those_of_the_segmenter_without_spaces() -> None:
    rjieba = pytest.importorskip("rjieba")
    text = "送餐很及时 ABC 味道很棒！"
    assert ChineseWordTokenizer()(text) == [word for word in rjieba.cut(text) if word.strip()]
    assert ChineseWordTokenizer()("a" * 1000) == ["a" * 64]


def test_a_missing_segmenter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rjieba", None)
    with pytest.raises(ConfigError, match=r"corecur\[chinese\]"):
        ChineseWordTokenizer()("很好")


@pytest.mark.parametrize("name", ["chinese-characters", "chinese-words"])
def test_join_puts_spaces_between_latin_words_only(name: str) -> None:
    assert TOKENIZERS[name]().join(["很", "好", "iPhone", "15", "！"]) == "很好iPhone 15！"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("很好吃，iPhone", "chinese-characters"),
        ("とてもおいしい", "chinese-characters"),
        ("a very good film", "words"),
        ("맛있어요 정말", "words"),
        ("очень хорошо", "words"),
        ("a film named 卧虎藏龙 that is good, long and rather beautiful", "words"),
        ("", "words"),
    ],
)
def test_the_tokeniser_suits_the_language(text: str, kind: str) -> None:
    assert choose_tokenizer([text]).kind == kind
