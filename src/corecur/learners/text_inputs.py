"""How texts become inputs of a text classifier: words, their beginnings and endings, and what a text holds.

N texts, B batch, T time (tokens), S tokens of all texts, U different tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from corecur.data.batches import Batch
from corecur.data.random_keys import uniform
from corecur.data.text.text_preparation import TextPreparation
from corecur.data.text.token_arrays import UNKNOWN, TokenArrays
from corecur.data.text.vocabulary import Vocabulary, fit_vocabulary
from corecur.engine.calibration import COLDEST, HOTTEST

#: The names of the inputs, in the order in which a network takes them.
WORDS, BEGINNINGS, ENDINGS = "words", "beginnings", "endings"
TERMS, PAIRS, OPENINGS = VOTING = "terms", "pairs", "openings"
_BEGINNING, _ENDING = 4, 3  # characters
_OPENING = 3  # words
_MOST_KEYS = 2_000_000
_LARGEST = 2**31 - 1


class TextPreprocess(BaseModel):
    """``preprocess.json``: how a text becomes tokens, and what a network is told about each of them.

    That is the number of the token; where there are vocabularies of them, those of its first 4 and its last 3
    characters, by which words that were never seen are known in part. And what a text holds, whatever the order: the
    first ``terms`` tokens of the vocabulary and the known ``pairs`` of neighbours, each where it first stands; a rising
    list of ``first · V + second`` by the numbers of the two. And how it begins: ``openings`` are known first words,
    first two and first three words, numbered in the same way to the base V. Pairs are numbered on from the terms, and
    openings from the pairs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["text-classification"]
    preparation: TextPreparation
    beginnings: Vocabulary | None = None
    endings: Vocabulary | None = None
    step: int = Field(default=1, ge=1, le=64, description="tokens that become one step of a recurrent layer")
    terms: int = Field(default=0, ge=0)
    pairs: tuple[int, ...] = Field(default=(), max_length=_MOST_KEYS)
    openings: tuple[int, ...] = Field(default=(), max_length=_MOST_KEYS)
    temperature: float = Field(default=1.0, ge=COLDEST, le=HOTTEST, description="of the probabilities (calibration)")

    @model_validator(mode="after")
    def _check(self) -> TextPreprocess:
        known = len(self.preparation.vocabulary)
        for name, keys, words in ((PAIRS, self.pairs, 2), (OPENINGS, self.openings, _OPENING)):
            rising = all(first < second for first, second in pairwise(keys))
            if keys and not (rising and keys[0] >= 0 and keys[-1] < known**words):
                raise ValueError(f"{name} are a rising list of numbers below the vocabulary's size to the {words}")
        if 2 + self.terms > known:
            raise ValueError("there are more terms than the vocabulary has tokens")
        return self

    @property
    def sizes(self) -> dict[str, int]:
        """The inputs by name, and how many different numbers each may hold."""
        parts = {WORDS: self.preparation.vocabulary, BEGINNINGS: self.beginnings, ENDINGS: self.endings}
        sizes = {name: len(vocabulary) for name, vocabulary in parts.items() if vocabulary is not None}
        if self.terms:
            sizes[TERMS] = 2 + self.terms
        if self.pairs:
            sizes[PAIRS] = self._first_opening
        if self.openings:
            sizes[OPENINGS] = self._first_opening + len(self.openings)
        return sizes

    @property
    def _first_pair(self) -> int:
        return 2 + self.terms

    @property
    def _first_opening(self) -> int:
        return self._first_pair + len(self.pairs)

    def arrays(self, tokens: Sequence[Sequence[str]]) -> tuple[TokenArrays, ...]:
        """The inputs for N texts that are tokens already: `TokenArrays` of equal lengths, one for each of ``sizes``."""
        places: dict[str, int] = {}
        rows = TokenArrays.of([[places.setdefault(token, len(places)) for token in text] for text in tokens])
        longest, tail = self.preparation.longest, self.preparation.tail
        if longest is not None:
            rows = rows.cut(longest, tail=min(tail, longest))
        found = [_looked_up(rows, self.preparation.vocabulary.encode(list(places)))]
        if self.beginnings is not None:
            found.append(_looked_up(rows, self.beginnings.encode([token[:_BEGINNING] for token in places])))
        if self.endings is not None:
            found.append(_looked_up(rows, self.endings.encode([token[-_ENDING:] for token in places])))
        if self.terms:
            found.append(each_once(found[0], above=UNKNOWN, below=self._first_pair))
        size = len(self.preparation.vocabulary)
        if self.pairs:
            found.append(each_once(_numbered(found[0], pair_keys(found[0], size), self.pairs, self._first_pair)))
        if self.openings:
            found.append(_numbered(found[0], opening_keys(found[0], size), self.openings, self._first_opening))
        return tuple(found)

    def term(self, number: int) -> str:
        """What the inputs ``terms``, ``pairs`` and ``openings`` hold as this number, in words; openings end in dots."""
        names = self.preparation.vocabulary.names
        if number < self._first_pair:
            return names[number]
        opens = number >= self._first_opening
        key = self.openings[number - self._first_opening] if opens else self.pairs[number - self._first_pair]
        words: list[str] = []
        while key or len(words) < (1 if opens else 2):
            key, word = divmod(key, len(names))
            words.insert(0, names[word])
        return " ".join([*words, "…"] if opens else words)

    def kept(self, tokens: Sequence[str]) -> list[str]:
        """The tokens of one text that the network is shown."""
        longest, tail = self.preparation.longest, self.preparation.tail
        if longest is None or len(tokens) <= longest:
            return list(tokens)
        tail = min(tail, longest)
        return [*tokens[: longest - tail], *tokens[len(tokens) - tail :]]


def _numbered(words: TokenArrays, keys: Tensor, known: Sequence[int], first: int) -> TokenArrays:
    """The place of each key (S,) among the known ones (rising), counted from ``first``; 0 where it is not known."""
    rising = torch.tensor(known)  # (P,)
    places = torch.searchsorted(rising, keys).clamp(max=len(rising) - 1)
    return TokenArrays(torch.where(rising[places] == keys, first + places, 0).int(), words.offsets)


def _looked_up(places: TokenArrays, numbers: NDArray[np.int64]) -> TokenArrays:
    """The numbers (U,) of different tokens at the places (S,) where these stand."""
    return TokenArrays(torch.from_numpy(numbers.astype(np.int32))[places.flat.long()], places.offsets)


def each_once(tokens: TokenArrays, *, above: int = 0, below: int = _LARGEST) -> TokenArrays:
    """The same with 0 where a number stands that the text has held before, or that is out of bounds.

    >>> each_once(TokenArrays.of([[5, 6, 5], [5, 9]]), below=9).flat.tolist()
    [5, 6, 0, 5, 0]
    """
    flat = tokens.flat.long()  # (S,)
    rows = torch.arange(len(tokens)).repeat_interleave(tokens.lengths)
    _, first = np.unique((rows * (int(flat.max()) + 1 if len(flat) else 1) + flat).numpy(), return_index=True)
    kept = torch.zeros_like(tokens.flat)
    kept[first] = tokens.flat[first]
    return TokenArrays(kept.masked_fill((kept <= above) | (kept >= below), 0), tokens.offsets)


def pair_keys(words: TokenArrays, size: int) -> Tensor:
    """``first · size + second`` for each token and the one after it, (S,) int64; -1 for the last token of a text.

    >>> pair_keys(TokenArrays.of([[5, 6], [7]]), 10).tolist()
    [56, -1, -1]
    """
    flat = words.flat.long()  # (S,)
    keys = flat * size + torch.cat([flat[1:], flat[:1]])
    keys[words.offsets[1:][words.lengths > 0] - 1] = -1
    return keys


def opening_keys(words: TokenArrays, size: int) -> Tensor:
    """For each of the first three tokens of a text all up to it, as one number to the base ``size``, (S,); else -1.

    No token of a text has number 0, so that openings of one, two and three words never share a key.

    >>> opening_keys(TokenArrays.of([[5, 6, 7, 8], [9]]), 10).tolist()
    [5, 56, 567, -1, 9]
    """
    flat = words.flat.long()  # (S,)
    place = torch.arange(len(flat)) - words.offsets[:-1].repeat_interleave(words.lengths)
    keys = torch.where(place == 0, flat, -1)
    for further in range(1, _OPENING):
        keys = torch.where(place == further, keys.roll(1) * size + flat, keys)
    return keys


def frequent_keys(words: TokenArrays, keys: Tensor, *, min_texts: int, most: int) -> tuple[int, ...]:
    """The keys (S,) that stand in ``min_texts`` texts or more, rising; of more than ``most`` those in most texts.

    >>> words = TokenArrays.of([[5, 6, 5, 6], [5, 6]])
    >>> frequent_keys(words, pair_keys(words, 10), min_texts=2, most=100)
    (56,)
    """
    rows = torch.arange(len(words)).repeat_interleave(words.lengths)
    once = torch.unique(torch.stack([keys, rows]), dim=1)[0]  # each pair of each text
    found, texts = once[once >= 0].unique(return_counts=True)
    kept = texts.argsort(descending=True, stable=True)[: min(most, int((texts >= min_texts).sum()))]
    return tuple(found[kept.sort().values].tolist())


def fit_text_inputs(
    preparation: TextPreparation,
    texts: Sequence[str],
    *,
    parts: bool = True,
    bags: bool = True,
    openings: bool = True,
    min_texts: int = 2,
    most_pairs: int = 100_000,
) -> TextPreprocess:
    """The preprocessing for training texts so prepared.

    With ``parts``, beginnings and endings that two words have or more; with ``bags``, words and pairs of neighbouring
    words of which a text is told to hold them, and with ``openings`` its first words; those in ``min_texts`` texts or
    more.

    >>> from corecur.data.text.text_preparation import fit_preparation
    >>> texts = ["walking walked home", "walked home"]
    >>> fit_text_inputs(fit_preparation(texts), texts).sizes
    {'words': 5, 'beginnings': 3, 'terms': 4, 'pairs': 5}
    """  # fmt: skip
    vocabulary = preparation.vocabulary
    long = [token for token in vocabulary.tokens if len(token) > _BEGINNING]
    fitted = TextPreprocess(
        task="text-classification",
        preparation=preparation,
        beginnings=_shared([token[:_BEGINNING] for token in long]) if parts else None,
        endings=_shared([token[-_ENDING:] for token in long]) if parts else None,
    )
    if not bags:
        return fitted
    words = fitted.arrays(preparation.tokens(texts))[0]
    once = each_once(words).flat.long()
    in_texts = torch.bincount(once, minlength=len(vocabulary))[2:]  # (V - 2,)
    often = (in_texts >= min_texts).nonzero()[:, 0]
    terms, size = int(often[-1]) + 1 if len(often) else 0, len(vocabulary)
    pairs = frequent_keys(words, pair_keys(words, size), min_texts=min_texts, most=most_pairs)
    begun = frequent_keys(words, opening_keys(words, size), min_texts=min_texts, most=_MOST_KEYS) if openings else ()
    return fitted.model_copy(update={"terms": terms, "pairs": pairs, "openings": begun})


def _shared(pieces: list[str]) -> Vocabulary | None:
    """The vocabulary of the pieces that occur twice or more, or None where no piece does."""
    return fit_vocabulary([pieces], min_count=2) if len(set(pieces)) < len(pieces) else None


@dataclass(frozen=True)
class InSteps:
    """A batch transform: T is made a multiple of ``step``, and in training a share of the words becomes unknown.

    Other words are forgotten in each epoch, so that the network learns what to do with those that it does not know.

    >>> batch = InSteps(step=4)(Batch(torch.tensor([[5, 6, 7, 8, 9]])), 0)
    >>> batch.inputs
    tensor([[5, 6, 7, 8, 9, 0, 0, 0]])
    """

    step: int = 1
    forget: float = 0.0
    seed: int = 0

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        words, *rest = (batch.inputs,) if isinstance(batch.inputs, Tensor) else batch.inputs  # (B, T) each
        if self.forget and batch.index is not None:
            draws = uniform(self.seed, epoch, batch.index, words.shape[1], stream="words").to(words.device)  # (B, T)
            words = words.masked_fill((draws < self.forget) & (words != 0), UNKNOWN)
        missing = -words.shape[1] % self.step
        inputs = tuple(F.pad(numbers, (0, missing)) if missing else numbers for numbers in (words, *rest))
        return batch._replace(inputs=inputs if rest else inputs[0])
