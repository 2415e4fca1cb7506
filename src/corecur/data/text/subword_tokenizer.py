"""Byte-pair encoding: frequent words whole, rare ones in pieces, so that no text has an unknown token."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from corecur.data.text.tokenizer import Tokenizer
from corecur.errors import ConfigError, DataError

if TYPE_CHECKING:
    import tokenizers

_MOST_CHARACTERS = 64 * 2**20
_LONGEST_PIECE = 1000
_SMALLEST = 256  # the bytes themselves
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_ABSENT = ("truncation", "padding", "normalizer", "post_processor")
_PLAIN_MODEL = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


class SubwordTokenizer(Tokenizer):
    """Byte-pair encoding (Sennrich, Haddow and Birch 2016) over bytes, by the library tokenizers (the extra ``text``).

    ``state`` is that library's JSON, checked before it is given to it: a byte-level BPE and nothing else. ``join``
    gives the text back exactly. Make one with `train_subwords`. Another state is a ValidationError of pydantic; a call
    raises ConfigError where the library is not installed.

    >>> tokenizer = train_subwords(["low lower lowest"] * 9, size=262)
    >>> tokenizer.join(tokenizer("lower, slower")), len(tokenizer("low")) < 3
    ('lower, slower', True)
    """

    kind: Literal["bpe"] = "bpe"
    state: str = Field(repr=False, max_length=_MOST_CHARACTERS)

    @field_validator("state")
    @classmethod
    def _check_state(cls, state: str) -> str:
        check_state(state)
        return state

    def __call__(self, text: str) -> list[str]:
        """The pieces, in the library's spelling of bytes (Ġ stands for a space)."""
        tokens: list[str] = _load(self.state).encode(text).tokens
        return tokens

    def many(self, texts: Iterable[str]) -> list[list[str]]:
        """The pieces of each text."""
        return [found.tokens for found in _load(self.state).encode_batch(list(texts))]

    def join(self, tokens: Sequence[str]) -> str:
        """The text the pieces were made of."""
        return str(_load(self.state).decoder.decode(list(tokens)))


def train_subwords(texts: Iterable[str], *, size: int = 8000) -> SubwordTokenizer:
    """Learn the pieces from training texts; ``size`` counts them, the 256 bytes included.

    Raises ConfigError for fewer than 256 pieces, DataError where there is no text.

    >>> train_subwords(["a rose is a rose"] * 3, size=260).kind
    'bpe'
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < _SMALLEST:
        raise ConfigError("too few pieces", got=size, expected=f"{_SMALLEST} or more: every byte is one")
    kept = [text for text in texts if text]
    if not kept:
        raise DataError("there is no text to learn pieces from")
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(alphabet), show_progress=False, max_token_length=_LONGEST_PIECE
    )
    tokenizer.train_from_iterator(kept, trainer)
    return SubwordTokenizer(state=tokenizer.to_str())


def check_state(state: str) -> None:
    """Raise DataError unless this is the JSON of a byte-level BPE: known keys, plain parts, pieces numbered from 0.

    >>> check_state("{}")
    Traceback (most recent call last):
        ...
    corecur.errors.DataError: this is no byte-level BPE
      got:      no 'model'
    """
    try:
        found = json.loads(state)
    except (ValueError, RecursionError) as error:
        raise DataError("the state of the subword tokeniser is no JSON") from error
    wrong = _first_wrong(found)
    if wrong is not None:
        raise DataError("this is no byte-level BPE", got=wrong)


def _first_wrong(found: Any) -> str | None:
    """What is not as it should be in a state, or None."""
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
        return "no 'model'"
    allowed = {"version", "added_tokens", "pre_tokenizer", "decoder", "model", *_ABSENT}
    model = found["model"]
    plain = {key: value for key, value in model.items() if key not in ("vocab", "merges")}
    vocabulary, merges = model.get("vocab"), model.get("merges")
    wrong = {
        "other keys": bool(found.keys() - allowed),
        "added tokens": found.get("added_tokens") not in ([], None),
        "a truncation, padding, normalizer or post-processor": any(found.get(name) is not None for name in _ABSENT),
        "another pre-tokenizer": not _is_byte_level(found.get("pre_tokenizer")),
        "another decoder": not _is_byte_level(found.get("decoder")),
        "other settings of the model": bool(plain.keys() - _PLAIN_MODEL.keys())
        or any(value != _PLAIN_MODEL[key] for key, value in plain.items() if key in _PLAIN_MODEL),
        "pieces that are not numbered from 0": not isinstance(vocabulary, dict) or not _is_numbered(vocabulary),
        "merges of unknown pieces": not isinstance(merges, list)
        or not isinstance(vocabulary, dict)
        or not all(_is_merge(merge, vocabulary) for merge in merges),
    }
    return next((what for what, is_so in wrong.items() if is_so), None)


def _is_byte_level(part: Any) -> bool:
    if not isinstance(part, dict) or part.get("type") != "ByteLevel" or part.keys() - _BYTE_LEVEL.keys():
        return False
    return part.get("use_regex", True) is True


def _is_numbered(vocabulary: dict[str, Any]) -> bool:
    numbers = vocabulary.values()
    if not all(type(number) is int for number in numbers) or not vocabulary:
        return False
    return sorted(numbers) == list(range(len(vocabulary))) and max(map(len, vocabulary)) <= _LONGEST_PIECE * 4


def _is_merge(merge: Any, vocabulary: dict[str, Any]) -> bool:
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(piece, str) for piece in pair):
        return False
    return pair[0] in vocabulary and pair[1] in vocabulary and pair[0] + pair[1] in vocabulary


@functools.lru_cache(maxsize=4)
def _load(state: str) -> tokenizers.Tokenizer:
    loaded: tokenizers.Tokenizer = _library().Tokenizer.from_str(state)
    return loaded


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ConfigError(
            "byte-pair encoding needs the library tokenizers, which is not installed",
            do="pip install 'corecur[text]', or choose the tokeniser words",
        ) from error
    return tokenizers
