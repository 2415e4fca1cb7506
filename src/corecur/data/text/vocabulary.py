"""The vocabulary: which token has which number. Fitted on training texts alone.

Shapes: V vocabulary, S tokens.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from corecur.data.text.token_arrays import PADDING, UNKNOWN, TokenArrays
from corecur.errors import ConfigError, DataError

PADDING_NAME, UNKNOWN_NAME = "<padding>", "<unknown>"
_MOST, _LONGEST = 2_000_000, 10_000


class Vocabulary(BaseModel):
    """Token numbers: 0 is padding, 1 any unknown token, then ``specials`` (marks of one's own), then ``tokens``.

    Specials are no tokens of a text: a text in which such a mark is written does not get its number. Loading refuses
    (ValidationError of pydantic) repeated or empty names and more than 2,000,000 tokens.

    >>> vocabulary = fit_vocabulary([["b", "a", "b"], ["c"]])
    >>> vocabulary.tokens, vocabulary.encode(["c", "d"]).tolist(), len(vocabulary)
    (('b', 'a', 'c'), [4, 1], 5)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[str, ...]
    specials: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Vocabulary:
        for kind in (self.tokens, self.specials):
            if len(kind) > _MOST or len(set(kind)) != len(kind):
                raise ValueError(f"a vocabulary has different tokens, {_MOST:,} at most")
            if kind and (not min(map(len, kind)) or max(map(len, kind)) > _LONGEST):
                raise ValueError(f"a token has 1 to {_LONGEST:,} characters")
        return self

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens, 2 + len(self.specials))}

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """What stands for each number, (V,)."""
        return (PADDING_NAME, UNKNOWN_NAME, *self.specials, *self.tokens)

    def __len__(self) -> int:
        return 2 + len(self.specials) + len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._numbers

    def special(self, name: str) -> int:
        """The number of a special; ConfigError where there is none of that name.

        >>> Vocabulary(tokens=("a",), specials=("<end>",)).special("<end>")
        2
        """
        if name not in self.specials:
            raise ConfigError("the vocabulary has no such special", got=name, expected=", ".join(self.specials) or None)
        return 2 + self.specials.index(name)

    def encode(self, tokens: Sequence[str]) -> NDArray[np.int64]:
        """The numbers of tokens, (S,) int64; 1 for those it does not know."""
        return np.fromiter(map(self._numbers.get, tokens, repeat(UNKNOWN)), dtype=np.int64, count=len(tokens))

    def arrays(self, texts: Iterable[Sequence[str]]) -> TokenArrays:
        """The numbers of the tokens of many texts.

        >>> Vocabulary(tokens=("a", "b")).arrays([["a", "z"], ["b"]]).flat.tolist()
        [2, 1, 3]
        """
        get = self._numbers.get
        return TokenArrays.of([list(map(get, tokens, repeat(UNKNOWN))) for tokens in texts])

    def decode(self, numbers: Iterable[Any]) -> list[str]:
        """The tokens of numbers (integers, a tensor or an array (S,)), padding left out.

        Raises DataError for a number outside the vocabulary.

        >>> Vocabulary(tokens=("a", "b")).decode([3, 1, 0, 0])
        ['b', '<unknown>']
        """
        whole = [int(number) for number in numbers]
        wrong = [number for number in whole if not 0 <= number < len(self)]
        if wrong:
            raise DataError("there is no such token", got=wrong[0], expected=f"0 to {len(self) - 1}")
        return [self.names[number] for number in whole if number != PADDING]


def fit_vocabulary(
    texts: Iterable[Sequence[str]], *, min_count: int = 1, most: int | None = None, specials: Sequence[str] = ()
) -> Vocabulary:
    """The vocabulary of the tokens of training texts, the most frequent first, equals in the order of their characters.

    Left out are tokens that occur fewer than ``min_count`` times, and all beyond the ``most`` most frequent. Raises
    DataError where nothing is left, ConfigError for impossible limits.

    >>> fit_vocabulary([["the", "cat", "the", "hat"]], most=2).tokens
    ('the', 'cat')
    """
    if min_count < 1 or (most is not None and most < 1):
        got = f"min_count {min_count}, most {most}"
        raise ConfigError("this vocabulary would be empty", got=got, expected="1 or more")
    counts = Counter(chain.from_iterable(texts))
    frequent = [(-count, token) for token, count in counts.items() if count >= min_count]
    if not frequent:
        raise DataError(
            "no token is left for the vocabulary",
            got=f"{len(counts):,} different tokens in the training texts",
            expected=f"one that occurs {min_count} times or more",
            do="give more text, or lower min_count" if counts else "the training texts hold no tokens: check them",
        )
    ordered = sorted(frequent)[:most]
    return Vocabulary(tokens=tuple(token for _, token in ordered), specials=tuple(specials))
