"""How sentences become inputs of a tagger: the number of each word, its characters, and its outline.

N sentences, B batch, T time (words), W characters of a word, U different words, V vocabulary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from corecur.data.batches import Batch
from corecur.data.random_keys import uniform
from corecur.data.text.cleaning import TextCleaning
from corecur.data.text.token_arrays import UNKNOWN, TokenArrays
from corecur.data.text.vocabulary import Vocabulary, fit_vocabulary
from corecur.engine.calibration import COLDEST, HOTTEST

#: The names of the inputs, in the order in which a network takes them.
WORDS, CHARACTERS, OUTLINES = "words", "characters", "outlines"
_DIGIT = re.compile(r"\d")
_RUN = re.compile(r"(.)\1+", re.DOTALL)
_CLEANING, _LONGEST = TextCleaning(fold_spaces=False), 1000
_LONGEST_OUTLINE, _MOST_OUTLINES = 8, 200


class TaggerPreprocess(BaseModel):
    """``preprocess.json``: words in one spelling, without regard to case, digits as 0; their characters; outlines.

    Of a word longer than ``longest_word`` characters the first and the last half are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["sequence-tagging"]
    words: Vocabulary
    letters: Vocabulary
    outlines: Vocabulary | None = None
    longest_word: int = Field(default=24, ge=2, le=1000)
    temperature: float = Field(default=1.0, ge=COLDEST, le=HOTTEST, description="of the probabilities (calibration)")

    @property
    def sizes(self) -> dict[str, int]:
        """The inputs by name, and how many different numbers each may hold."""
        parts = {WORDS: self.words, CHARACTERS: self.letters, OUTLINES: self.outlines}
        return {name: len(vocabulary) for name, vocabulary in parts.items() if vocabulary is not None}

    def numbers(self, sentences: Sequence[Sequence[str]]) -> TokenArrays:
        """The word numbers of N sentences."""
        return self.words.arrays([[folded(word) for word in sentence] for sentence in sentences])

    def outlined(self, sentences: Sequence[Sequence[str]]) -> tuple[TokenArrays, ...]:
        """The outline numbers of N sentences, or nothing where outlines are left out."""
        if self.outlines is None:
            return ()
        found = {word: outline(written(word)) for word in set(chain.from_iterable(sentences))}
        return (self.outlines.arrays([[found[word] for word in sentence] for sentence in sentences]),)

    def spelled(self, sentences: Sequence[Sequence[str]]) -> tuple[TokenArrays, Tensor]:
        """For each word its place in a table, and the table (U + 1, W) of character numbers, row 0 for padding."""
        places: dict[str, int] = {}
        rows = [[places.setdefault(written(word), len(places) + 1) for word in sentence] for sentence in sentences]
        letters = self.letters.arrays([[], *(self._cut(word) for word in places)])
        return TokenArrays.of(rows), letters.padded()[0]

    def _cut(self, word: str) -> str:
        if len(word) <= self.longest_word:
            return word
        half = self.longest_word // 2
        return word[: self.longest_word - half] + word[-half:]


def written(word: str) -> str:
    """A word in one spelling: composed characters, no invisible ones, its first 1,000 characters.

    >>> written("cafe\u0301\u200b") == "caf\u00e9"
    True
    """
    return _CLEANING(word)[:_LONGEST] or "\ufffd"


def folded(word: str) -> str:
    """A word as the vocabulary knows it.

    >>> folded("Room101")
    'room000'
    """
    return _DIGIT.sub("0", written(word).casefold())


def outline(word: str) -> str:
    """A word by its capitals, small letters, digits and marks, of each run of which one is kept.

    >>> outline("McDonald's"), outline("NASA"), outline("@anna"), outline("10:45")
    ("XxXx'x", 'X', '@x', '0:0')
    """
    kinds = ("X" if c.isupper() else "x" if c.isalpha() else "0" if c.isdigit() else c for c in word)
    return _RUN.sub(r"\1", "".join(kinds))[:_LONGEST_OUTLINE]


def fit_tagger_inputs(
    sentences: Sequence[Sequence[str]], *, min_count: int = 1, outlines: bool = True
) -> TaggerPreprocess:
    """The preprocessing for these training sentences; with ``outlines``, those that two words have or more.

    >>> found = fit_tagger_inputs([["The", "cat"], ["the"]])
    >>> found.words.tokens, found.numbers([["THE", "dog"]]).flat.tolist()
    (('the', 'cat'), [2, 1])
    """
    found = Counter(outline(written(word)) for word in chain.from_iterable(sentences)).most_common(_MOST_OUTLINES)
    return TaggerPreprocess(
        task="sequence-tagging",
        words=fit_vocabulary([[folded(word) for word in sentence] for sentence in sentences], min_count=min_count),
        letters=fit_vocabulary([list(written(word)) for word in set(chain.from_iterable(sentences))]),
        outlines=Vocabulary(tokens=tuple(shape for shape, words in found if words > 1)) if outlines else None,
    )


def doubts(sentences: Sequence[Sequence[str]], words: Vocabulary, *, strength: float) -> Tensor:
    """How often each word is to be unknown in training, (V,) float32: ``strength / (strength + count)``.

    So the network learns what to do with words it does not know, from those that are nearly so (Kiperwasser & Goldberg
    2016).

    >>> vocabulary = fit_vocabulary([["a", "a", "a", "b"]])
    >>> doubts([["a", "a", "a", "b"]], vocabulary, strength=1.0).tolist()
    [0.0, 0.0, 0.25, 0.5]
    """
    counts = Counter(folded(word) for sentence in sentences for word in sentence)
    shares = [strength / (strength + counts[token]) if counts[token] else 0.0 for token in words.tokens]
    return torch.tensor([0.0] * (len(words) - len(shares)) + shares)


class SpellOut:
    """A batch transform: places in the table become characters (B, T, W); in training, rare words become unknown.

    Inputs are words, places, and whatever else stays as it is.
    """

    def __init__(self, table: Tensor, *, doubt: Tensor | None = None, seed: int = 0) -> None:
        self.table = table
        self.doubt = doubt
        self.seed = seed

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        words, places, *rest = batch.inputs  # (B, T) each
        if self.doubt is not None and batch.index is not None:
            draws = uniform(self.seed, epoch, batch.index, words.shape[1], stream="words")  # (B, T)
            words = words.masked_fill(draws.to(words.device) < self.doubt.to(words.device)[words], UNKNOWN)
        characters = self.table.to(words.device)[places]  # (B, T, W)
        widest = int((characters != 0).sum(-1).max()) if characters.numel() else 1
        return batch._replace(inputs=(words, characters[..., : max(1, widest)], *rest))
