"""What a tokeniser is: a text into tokens and tokens into a text, described by values that can be saved."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

LONGEST_TOKEN = 64

Found = TypeVar("Found", bound="LongestToken")


class Tokenizer(BaseModel):
    """The base of the tokenisers: frozen settings with a ``kind``, which `tokenizers.TOKENIZERS` knows.

    A call makes tokens of one text, ``many`` of several, ``join`` a readable text of tokens. A tokeniser holds no
    vocabulary of its own: what number a token has is the `Vocabulary`'s business.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def __call__(self, text: str) -> list[str]:
        """The tokens of one text."""

    def many(self, texts: Iterable[str]) -> list[list[str]]:
        """The tokens of each text."""
        return [self(text) for text in texts]

    @abstractmethod
    def join(self, tokens: Sequence[str]) -> str:
        """A text of tokens, for people to read."""


class LongestToken(Tokenizer):
    """A tokeniser whose tokens are cut after ``longest`` characters: 10 MB without a space are one short token."""

    longest: int = Field(default=LONGEST_TOKEN, ge=1, le=10_000, description="characters kept of a token")

    def cut(self, tokens: list[str]) -> list[str]:
        """The tokens, each within ``longest`` characters."""
        if not tokens or len(max(tokens, key=len)) <= self.longest:
            return tokens
        return [token[: self.longest] for token in tokens]
