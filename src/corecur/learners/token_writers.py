"""From tokens that come one by one to text for people, a piece for each: spaces, quotation marks, half characters."""

from __future__ import annotations

from abc import ABC, abstractmethod

from corecur.data.text.subword_tokenizer import SubwordTokenizer
from corecur.data.text.tokenizer import Tokenizer
from corecur.data.text.word_tokenizer import WordTokenizer

NEW_LINE = "\n"

_CLOSING = frozenset(".,:;!?%)]}\u2026\u201d\u2019'") | {"...", "..", "!!", "??", "n't", "N'T"}
_ENDINGS = frozenset({"'s", "'re", "'ve", "'ll", "'d", "'m"})
_OPENING = frozenset("([{$\u201c\u2018")
_JOINING = frozenset({"-", "--", "\u2014", "\u2013", "/"})
# A character has at most four bytes; bytes that are still none after so many pieces are written as what they are.
_MOST_BYTES = 4
_HALF = "\ufffd"


class TokenWriter(ABC):
    """Writes tokens in their order; a call gives what one more token adds, ``close`` what was held back.

    The pieces put together are the text.
    """

    @abstractmethod
    def __call__(self, token: str) -> str:
        """The text that this token adds, which may be empty."""

    def close(self) -> str:
        """What is left at the end."""
        return ""

    def touch(self) -> None:  # noqa: B027 - most writers put no spaces of their own
        """Let the next token follow without a space: one stands there already."""


class CharacterWriter(TokenWriter):
    """Characters are their own text.

    >>> CharacterWriter()("a")
    'a'
    """

    def __call__(self, token: str) -> str:
        return token


class WordWriter(TokenWriter):
    """Words with spaces between them, marks without; quotation marks open and close in turn, anew on each line.

    >>> writer = WordWriter()
    >>> "".join(map(writer, ["He", "said", ":", '"', "Do", "n't", "!", '"', "(", "So", ")"]))
    'He said: "Don\\'t!" (So)'
    """

    def __init__(self) -> None:
        self._joins = True  # nothing stands between the token before and the next one
        self._quoted = False

    def __call__(self, token: str) -> str:
        if token == NEW_LINE:
            self._joins, self._quoted = True, False
            return token
        closing = token in _CLOSING or token.casefold() in _ENDINGS or token in _JOINING
        opening = token in _OPENING or token in _JOINING
        if token == '"':
            closing, opening = self._quoted, not self._quoted
            self._quoted = not self._quoted
        piece = token if self._joins or closing else f" {token}"
        self._joins = opening
        return piece

    def touch(self) -> None:
        self._joins = True


class SubwordWriter(TokenWriter):
    """The text of byte-pair pieces; pieces that end inside a character wait for the rest of it.

    >>> from corecur.data.text.subword_tokenizer import train_subwords
    >>> tokenizer = train_subwords(["caf\\u00e9"], size=256)
    >>> writer = SubwordWriter(tokenizer)
    >>> [writer(piece) for piece in tokenizer("f\\u00e9")]
    ['f', '', 'é']
    """

    def __init__(self, tokenizer: SubwordTokenizer) -> None:
        self._tokenizer = tokenizer
        self._waiting: list[str] = []

    def __call__(self, token: str) -> str:
        self._waiting.append(token)
        text = self._tokenizer.join(self._waiting)
        if text.endswith(_HALF) and len(self._waiting) < _MOST_BYTES:
            return ""
        self._waiting.clear()
        return text

    def close(self) -> str:
        text = self._tokenizer.join(self._waiting)
        self._waiting.clear()
        return text


def writer_for(tokenizer: Tokenizer) -> TokenWriter:
    """A new writer for the tokens of a tokeniser.

    >>> type(writer_for(WordTokenizer())).__name__
    'WordWriter'
    """
    if isinstance(tokenizer, SubwordTokenizer):
        return SubwordWriter(tokenizer)
    return WordWriter() if isinstance(tokenizer, WordTokenizer) else CharacterWriter()
