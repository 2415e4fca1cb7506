"""What texts are compared by: one writing for all spellings of a text, its shingles, words that were decoded wrongly.

Near copies are found by min-hashing (Broder 1997): texts that share a band of minima of their shingles' hashes are
compared word for word, rare words counting more, so that two questions of one pattern are not one question.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SHINGLE, _BANDS, _ROWS = 5, 16, 4
_BUCKET = 50
_SIGNS = "<>=+"  # what they stand between is another text with another of them
#: Share of the words, weighed by rarity, that near copies have in common, and the words a text needs for that.
_ALIKE, _FEWEST_WORDS = 0.72, 6
# Long texts of one author have most words in common, but not in that order: runs of three words they must share.
_LONG, _IN_ORDER = 100, 0.3
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_FOREIGN = re.compile(r"[\u0080-\u00ff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013\u2014"
                      r"\u2018-\u201a\u201c-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]{2,}")  # fmt: skip
#: What is left where characters were lost, and what two rounds of wrong decoding make of them.
_LOST = ("\ufffd", "\u951f\u65a4\u62f7", "\u00ef\u00bf\u00bd")


@functools.lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """A text without what changes when it is copied: case, spaces, punctuation, compatibility forms.

    >>> plain("A  “fine”,\\nfine Film!"), plain("a<=b")
    ('a fine fine film', 'a < = b')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else f" {c} " if c in _SIGNS else " " for c in folded).split())


def words_of(text: str) -> list[str]:
    """The words of a plain text; of scripts without spaces, its characters.

    >>> words_of("a film"), words_of("很好吃")
    (['a', 'film'], ['很', '好', '吃'])
    """
    return _CJK.sub(lambda found: f" {found[0]} ", text).split()


def garbled(text: str) -> str | None:
    """The first piece of a text that was decoded wrongly, or that marks lost characters; None where there is none.

    >>> garbled("caf\\u00c3\\u00a9 noir"), garbled("café"), garbled("it\\u00e2\\u20ac\\u2122s")
    ('Ã©', None, 'â€™')
    """
    for mark in _LOST:
        if mark in text:
            return mark
    for found in _FOREIGN.finditer(text):
        if _is_utf8(found[0]):
            return found[0]
    return None


def _is_utf8(run: str) -> bool:
    """Whether characters are UTF-8 read as Windows-1252 or latin-1."""
    try:
        data = b"".join(c.encode("latin-1") if ord(c) < 256 else c.encode("cp1252") for c in run)
        return len(data.decode("utf-8")) < len(run)
    except UnicodeError:
        return False


def near_texts(plains: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of plain texts that are not equal and share nearly all of their words.

    >>> one = "the quick brown fox jumps over the lazy dog near the old bridge tonight"
    >>> near_texts([one, "another text of quite other words about the weather at sea", one.replace("tonight", "today")])
    [(0, 2)]
    """
    rows = [row for row, text in enumerate(plains) if len(words_of(text)) >= _FEWEST_WORDS]
    bags = {row: Counter(words_of(plains[row])) for row in rows}
    spread = Counter(word for bag in bags.values() for word in bag)
    weight = {word: math.log((1 + len(rows)) / count) + 0.1 for word, count in spread.items()}
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for row in rows:
        minima = _minima(plains[row])
        for band in range(_BANDS):
            buckets.setdefault((band, minima[band * _ROWS : (band + 1) * _ROWS].tobytes()), []).append(row)
    asked: set[tuple[int, int]] = set()
    for found in buckets.values():
        for place, row in enumerate(found):
            asked.update((other, row) for other in found[max(0, place - _BUCKET) : place])
    return sorted((a, b) for a, b in asked if plains[a] != plains[b] and _shared(bags[a], bags[b], weight) >= _ALIKE
                  and _in_order(plains[a], plains[b]))  # fmt: skip


def _shared(a: Counter[str], b: Counter[str], weight: dict[str, float]) -> float:
    both = sum(count * weight[word] for word, count in (a & b).items())
    either = sum(count * weight[word] for word, count in (a | b).items())
    return both / either


def _in_order(a: str, b: str) -> bool:
    """Whether two texts, if they are long, have their words in the same order here and there."""
    first, second = words_of(a), words_of(b)
    if min(len(first), len(second)) < _LONG:
        return True
    runs, others = (set(zip(words, words[1:], words[2:], strict=False)) for words in (first, second))
    return len(runs & others) >= _IN_ORDER * len(runs | others)


@functools.cache
def _multipliers() -> NDArray[np.uint64]:
    random = np.random.default_rng(1)
    return random.integers(1, 2**63, (2, _BANDS * _ROWS, 1), dtype=np.uint64) | np.uint64(1)


def _minima(text: str) -> NDArray[np.uint64]:
    """The least hash of the shingles of a text under each of 64 hashes."""
    letters = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(letters) < _SHINGLE:
        letters = np.pad(letters, (0, _SHINGLE - len(letters)))
    windows = np.lib.stride_tricks.sliding_window_view(letters, _SHINGLE)  # (letters - 4, 5)
    powers = np.array([1_000_003**power % 2**64 for power in range(_SHINGLE)], dtype=np.uint64)
    hashes = np.unique((windows * powers).sum(1, dtype=np.uint64))
    times, plus = _multipliers()
    least = np.full(len(times), np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(hashes), 4096):
        mixed = hashes[None, start : start + 4096] * times + plus
        least = np.minimum(least, (mixed ^ (mixed >> np.uint64(29))).min(1))
    return least
