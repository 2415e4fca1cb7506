"""Every character is a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from corecur.data.text.tokenizer import Tokenizer


class CharacterTokenizer(Tokenizer):
    """By character, spaces and line ends included; ``join`` gives the text back exactly.

    >>> tokens = CharacterTokenizer()("an hour")
    >>> tokens[:4], CharacterTokenizer().join(tokens)
    (['a', 'n', ' ', 'h'], 'an hour')
    """

    kind: Literal["characters"] = "characters"

    def __call__(self, text: str) -> list[str]:
        """The characters."""
        return list(text)

    def join(self, tokens: Sequence[str]) -> str:
        """The characters one after the other."""
        return "".join(tokens)
