"""Chinese and Japanese, which put no spaces between words: by character, or by the words a segmenter finds."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from types import ModuleType
from typing import Literal

from corecur.data.text.tokenizer import LongestToken
from corecur.data.text.word_tokenizer import combining_marks, part_contractions, word_pattern
from corecur.errors import ConfigError

# Han characters with their radicals and extensions, iteration marks, kana, bopomofo.
CJK = (
    "\\u2e80-\\u2fdf\\u3005-\\u3007\\u3021-\\u3029\\u3040-\\u30ff\\u3100-\\u312f\\u31a0-\\u31bf\\u31f0-\\u31ff"
    "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\uff66-\\uff9f\\U00020000-\\U0003ffff"
)


@functools.lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    return word_pattern(f"[{CJK}]|(?:[^\\W{CJK}]|[{combining_marks()}])+")


def _join(tokens: Sequence[str]) -> str:
    """Spaces between Latin words and numbers only."""
    pieces: list[str] = []
    for token in tokens:
        latin = token[:1].isascii() and token[:1].isalnum()
        if latin and pieces and pieces[-1][-1:].isascii() and pieces[-1][-1:] not in "([{":
            pieces.append(" ")
        pieces.append(token)
    return "".join(pieces)


class ChineseCharacterTokenizer(LongestToken):
    """Chinese and Japanese characters one by one, Latin words and numbers whole.

    >>> ChineseCharacterTokenizer()("iPhone 15 很好！")
    ['iPhone', '15', '很', '好', '！']
    """

    kind: Literal["chinese-characters"] = "chinese-characters"

    def __call__(self, text: str) -> list[str]:
        """The characters, words, numbers and marks."""
        return self.cut(_pattern().findall(part_contractions(text)))

    def join(self, tokens: Sequence[str]) -> str:
        """The tokens, with spaces between Latin words only."""
        return _join(tokens)


class ChineseWordTokenizer(LongestToken):
    """Chinese by word, as the segmenter rjieba (the extra ``chinese``) parts it; spaces are no tokens.

    Raises ConfigError where that library is not installed.

    >>> ChineseWordTokenizer()("送餐很及时")
    ['送餐', '很', '及时']
    """

    kind: Literal["chinese-words"] = "chinese-words"

    def __call__(self, text: str) -> list[str]:
        """The words and marks."""
        return self.cut([word for word in _segmenter().cut(text) if not word.isspace()])

    def join(self, tokens: Sequence[str]) -> str:
        """The tokens, with spaces between Latin words only."""
        return _join(tokens)


def _segmenter() -> ModuleType:
    try:
        import rjieba
    except ImportError as error:
        raise ConfigError(
            "parting Chinese into words needs the segmenter rjieba, which is not installed",
            do="pip install 'corecur[chinese]', or choose the tokeniser chinese-characters",
        ) from error
    return rjieba
