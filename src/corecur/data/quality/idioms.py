"""Whether two texts are alike because one is a copy of the other, or because people say such things.

Of N texts two share words by chance where those words are together no less likely than one in N². How likely a word is
stands in the other texts: by itself, or after the one, two or three words before it, whatever makes it likelier. So
"worth the price of admission" is hardly more than one rare word in reviews of films, though each of its words is rare.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

Words = Sequence[str]
_BEFORE = 3
# Longer texts are never alike by chance.
_MOST_WORDS = 40


def by_chance(texts: Sequence[Words], pairs: Sequence[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    """Those of the pairs (first, later) of equal or similar texts that chance explains.

    Texts that hang together by pairs do not count as others.

    >>> texts = [f"{a} {b} for the {c}".split() for a in "xyz" for b in "uvw" for c in "pqr"]
    >>> copied = ["seven", "grey", "herons", "slept"]
    >>> by_chance([*texts, texts[0], copied, copied], [(0, 27), (28, 29)])
    frozenset({(0, 27)})
    """
    asked = [(a, b) for a, b in pairs if min(len(texts[a]), len(texts[b])) <= _MOST_WORDS]
    if not asked:
        return frozenset()
    group = _groups(pairs)
    wanted = {run for pair in asked for row in pair for run in _runs(texts[row])}
    everywhere = _counts([texts[row] for row in _distinct(texts, range(len(texts)))], wanted)
    members: dict[int, list[int]] = {}
    for row, first in group.items():
        members.setdefault(first, []).append(row)
    found, bound = [], 2 * math.log(max(len(texts), 2))
    for first in dict.fromkeys(group[a] for a, _ in asked):
        own = _counts([texts[row] for row in _distinct(texts, members[first])], wanted)
        for a, b in asked:
            if group[a] == first and _surprise(texts[a], texts[b], everywhere, own) < bound:
                found.append((a, b))
    return frozenset(found)


def _groups(pairs: Sequence[tuple[int, int]]) -> dict[int, int]:
    """For each place in a pair one that stands for all that hang together with it."""
    above: dict[int, int] = {}

    def top(row: int) -> int:
        while above.setdefault(row, row) != row:
            above[row] = row = above[above[row]]
        return row

    for a, b in pairs:
        above[top(b)] = top(a)
    return {row: top(row) for row in list(above)}


def _distinct(texts: Sequence[Words], rows: Sequence[int]) -> list[int]:
    return list({tuple(texts[row]): row for row in rows}.values())


def _runs(words: Words) -> Iterator[tuple[str, ...]]:
    """All runs of up to four words, the place before the first word being one."""
    padded = ("", *words)
    for length in range(1, _BEFORE + 2):
        yield from zip(*(padded[start:] for start in range(length)), strict=False)


def _counts(texts: Sequence[Words], wanted: set[tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    found = Counter(run for words in texts for run in _runs(words) if run in wanted)
    found[()] = sum(map(len, texts))
    return found


def _surprise(a: Words, b: Words, everywhere: Counter[tuple[str, ...]], own: Counter[tuple[str, ...]]) -> float:
    """Minus the logarithm of how likely the words of ``a`` are that are in ``b`` as well."""
    left, padded, total = Counter(b), ("", *a), 0.0
    for place, word in enumerate(a, 1):
        if not left[word]:
            continue
        left[word] -= 1
        likely = 1 / (everywhere[()] + 1)
        for length in range(min(_BEFORE, place) + 1):
            before = padded[place - length : place]
            seen = everywhere[(*before, word)] - own[(*before, word)]
            likely = max(likely, seen / (everywhere[before] - own[before] + 1))
        total -= math.log(likely)
    return total
