"""Words, numbers and punctuation marks, for scripts that put spaces between words."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from corecur.data.text.tokenizer import LongestToken

# English contractions as the Penn treebank parts them: it 's, they 'll, do n't. Texts already parted stay as they are.
_ENDINGS = r"'(?:s|S|re|RE|ve|VE|ll|LL|d|D|m|M)\b"
_NUMBER = r"\d+(?:[.,:]\d+)+(?!\w)"
_MARKS = r"\.{2,}|!{2,}|\?{2,}|-{2,}|[^\w\s]"
_NO_SPACE_BEFORE = re.compile(r" (?=(?:[.,:;!?%)\]}…]|n't\b|'(?:s|re|ve|ll|d|m)\b))|(?<=[(\[{]) ", re.IGNORECASE)


@functools.lru_cache(maxsize=1)
def combining_marks() -> str:
    """Unicode's combining marks as the inside of a character class; in Hindi or Thai they are parts of words.

    >>> bool(re.match(f"[{combining_marks()}]", "\\u0301"))
    True
    """
    codes = [code for code in range(0x300, 0x11A00) if unicodedata.category(chr(code))[0] == "M"]
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


def word_pattern(letters: str) -> re.Pattern[str]:
    """The pattern of tokens whose words are runs of ``letters``, a regular expression of one character or more.

    >>> word_pattern(r"\\w+").findall("so 12.5 is")
    ['so', '12.5', 'is']
    """
    return re.compile(f"{_NUMBER}|n't\\b|N'T\\b|{_ENDINGS}|{letters}|{_MARKS}")


@functools.lru_cache(maxsize=1)
def _plain() -> re.Pattern[str]:
    return word_pattern(r"\w+")


@functools.lru_cache(maxsize=1)
def _with_marks() -> re.Pattern[str]:
    return word_pattern(rf"[\w{combining_marks()}]+")


def part_contractions(text: str) -> str:
    """The text with straight apostrophes and a space before n't.

    >>> part_contractions("I don\\u2019t")
    "I do n't"
    """
    text = text.replace("\u2019", "'")
    return text.replace("n't", " n't").replace("N'T", " N'T") if "'" in text else text


class WordTokenizer(LongestToken):
    """By word: words, numbers and punctuation marks apart, English contractions in their two parts.

    A text that is already parted by spaces (``it 's``) gives the same tokens as one that is not. Hyphens part words;
    ``...`` and ``!!`` stay together. A token keeps its first ``longest`` characters.

    >>> WordTokenizer()("It's $12.50, don't ask...")
    ['It', "'s", '$', '12.50', ',', 'do', "n't", 'ask', '...']
    """

    kind: Literal["words"] = "words"

    def __call__(self, text: str) -> list[str]:
        """The words, numbers and marks."""
        pattern = _plain() if text.isascii() else _with_marks()
        return self.cut(pattern.findall(part_contractions(text)))

    def join(self, tokens: Sequence[str]) -> str:
        """The tokens with a space between words and none before marks."""
        return _NO_SPACE_BEFORE.sub("", " ".join(tokens))
