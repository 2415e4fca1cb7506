"""How text becomes what a generator reads, and back: characters, words or byte-pair pieces, and their numbers.

N tokens of a text, V vocabulary.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from corecur.data.text.character_tokenizer import CharacterTokenizer
from corecur.data.text.cleaning import TextCleaning
from corecur.data.text.subword_tokenizer import SubwordTokenizer, train_subwords
from corecur.data.text.token_arrays import UNKNOWN
from corecur.data.text.tokenizers import choose_tokenizer
from corecur.data.text.vocabulary import UNKNOWN_NAME, Vocabulary, fit_vocabulary
from corecur.data.text.word_tokenizer import WordTokenizer
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding
from corecur.learners.token_writers import NEW_LINE, TokenWriter, writer_for

Level: TypeAlias = Literal["char", "word", "bpe"]

#: What people call the tokens of a level: one, several.
NOUNS: dict[Level, tuple[str, str]] = {
    "char": ("character", "characters"),
    "word": ("token", "tokens"),
    "bpe": ("piece", "pieces"),
}
#: Characters from which on text with spaces between words is read by word.
LONG = 5_000_000

# How marks that an editor makes are written in plain text.
_PLAIN = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "--", "\u2026": "...",
        "\u00a0": " ", "\t": " ",
    }
)  # fmt: skip
# And the other way: a straight mark is taken for an opening one, an apostrophe for a closing one.
_TYPESET = str.maketrans({'"': "\u201c", "'": "\u2019", "-": "\u2013"})
_SPACE = " "
_LOOKED_AT, _SPACES = 100_000, 0.05


@dataclass(frozen=True)
class Prompt:
    """A prompt as token numbers, and what each unknown token in it was read as ("" where it was left out).

    >>> print(Prompt("a", (2,), {"\\u20ac": ""}).finding())
    1 character of the prompt is not in the vocabulary: € (left out).
    """

    text: str
    tokens: tuple[int, ...]
    replaced: dict[str, str]
    noun: tuple[str, str] = NOUNS["char"]

    def finding(self) -> Finding | None:
        """What was unknown, or None.

        >>> Prompt("a", (2,), {}).finding() is None
        True
        """
        if not self.replaced:
            return None
        shown = ", ".join(f"{old} ({f'read as {new}' if new else 'left out'})" for old, new in self.replaced.items())
        one, many = self.noun
        what = (
            f"1 {one} of the prompt is" if len(self.replaced) == 1 else f"{len(self.replaced)} {many} of the prompt are"
        )
        return Finding("unknown-tokens", f"{what} not in the vocabulary: {shown}.", level="note")


class GeneratorPreprocess(BaseModel):
    """``preprocess.json``: how text becomes token numbers; by word, a line end is a token too.

    ``learned_unknown`` says that unknown tokens were met in training, so that the network knows what to do with one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["text-generation"]
    level: Level
    cleaning: TextCleaning
    tokenizer: Annotated[CharacterTokenizer | WordTokenizer | SubwordTokenizer, Field(discriminator="kind")]
    vocabulary: Vocabulary
    learned_unknown: bool

    def numbers(self, text: str) -> Tensor:
        """The token numbers of a text, (N,) int32."""
        return torch.from_numpy(self.vocabulary.encode(tokens_of(self.cleaning(text), self.tokenizer))).int()

    def writer(self) -> TokenWriter:
        """A new writer of tokens."""
        return writer_for(self.tokenizer)

    def text_of(self, numbers: Sequence[int]) -> str:
        """The text of token numbers."""
        writer, names = self.writer(), self.vocabulary.names
        return "".join([*(writer(names[number]) for number in numbers), writer.close()])

    def prompt(self, text: str) -> Prompt:
        """A prompt, unknown tokens replaced by a spelling the vocabulary knows, else by "unknown", else left out.

        A prompt without a token begins a new line.
        """
        cleaned = self.cleaning(text)
        found: list[str] = []
        replaced: dict[str, str] = {}
        for token in tokens_of(cleaned, self.tokenizer):
            if token in self.vocabulary:
                found.append(token)
                continue
            known = self._known(token)
            found += known
            replaced[token] = "".join(known)
        if not found:
            found = [NEW_LINE if NEW_LINE in self.vocabulary else self.vocabulary.tokens[0]]
        numbers = tuple(self.vocabulary.encode(found).tolist())
        return Prompt(cleaned, numbers, replaced, NOUNS[self.level])

    def _known(self, token: str) -> list[str]:
        """Tokens to read in place of an unknown one."""
        without_accents = "".join(c for c in unicodedata.normalize("NFD", token) if not unicodedata.combining(c))
        spellings = [
            token.translate(_PLAIN), token.translate(_TYPESET), unicodedata.normalize("NFKC", token), without_accents,
            token.lower(), without_accents.lower(), token.upper(), token.capitalize(),
        ]  # fmt: skip
        for spelling in spellings:
            tokens = tokens_of(spelling, self.tokenizer)
            if tokens and all(part in self.vocabulary for part in tokens):
                return list(tokens)
        if self.learned_unknown:
            return [UNKNOWN_NAME]
        return [_SPACE] if token.isspace() and _SPACE in self.vocabulary else []


def tokens_of(text: str, tokenizer: CharacterTokenizer | WordTokenizer | SubwordTokenizer) -> Sequence[str]:
    """The tokens of a text; by word, with a token for each line end.

    >>> tokens_of("So be it.\\nAmen", WordTokenizer())
    ['So', 'be', 'it', '.', '\\n', 'Amen']
    """
    if isinstance(tokenizer, CharacterTokenizer):
        return text  # a text is the sequence of its characters, without a list of them
    return list(_by_line(text, tokenizer)) if isinstance(tokenizer, WordTokenizer) else tokenizer(text)


def _by_line(text: str, tokenizer: WordTokenizer) -> Iterator[str]:
    for place, line in enumerate(text.split(NEW_LINE)):
        if place:
            yield NEW_LINE
        yield from tokenizer(line)


def is_chinese(documents: Sequence[str]) -> bool:
    """Whether most letters are Chinese or Japanese.

    >>> is_chinese(["\\u5e8a\\u524d\\u660e\\u6708\\u5149"]), is_chinese(["moonlight"])
    (True, False)
    """
    return choose_tokenizer(documents).kind != "words"


def choose_level(documents: Sequence[str]) -> Level:
    """By character for Chinese, for what has hardly a space, and below 5,000,000 characters; by word for the rest.

    A short text has too few occurrences of most of its words to learn how they are used.

    >>> choose_level(["to be or not to be"])
    'char'
    """
    if sum(map(len, documents)) < LONG or is_chinese(documents):
        return "char"
    start = "".join(document[:_LOOKED_AT] for document in documents[:_LOOKED_AT])[:_LOOKED_AT]
    spaces = sum(map(str.isspace, start))
    return "word" if spaces >= _SPACES * len(start) else "char"


def fit_generator_tokens(
    text: str, *, level: Level, min_count: int = 1, most: int | None = None
) -> GeneratorPreprocess:
    """The preprocessing for a training text; ``most`` bounds the vocabulary. DataError where nothing can be learned.

    >>> fit_generator_tokens("abab", level="char").numbers("bac").tolist()
    [3, 2, 1]
    """
    cleaning = TextCleaning(fold_spaces=False)
    cleaned = cleaning(text)
    tokenizer = _tokenizer(cleaned, level, most)
    tokens = tokens_of(cleaned, tokenizer)
    if isinstance(tokenizer, SubwordTokenizer):
        vocabulary = _all_pieces(tokens, tokenizer)
    else:
        vocabulary = fit_vocabulary([tokens], min_count=min_count, most=most)
    if len(vocabulary.tokens) < 2:
        one, many = NOUNS[level]
        raise DataError(
            f"the text has only one distinct {one}: there is nothing to learn about what follows what",
            got=repr(vocabulary.tokens[0])[:80] if vocabulary.tokens else f"no {one}",
            expected=f"2 distinct {many} or more" + (f" that occur {min_count} times" if min_count > 1 else ""),
        )
    encoded = vocabulary.encode(tokens)
    return GeneratorPreprocess(
        task="text-generation",
        level=level,
        cleaning=cleaning,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        learned_unknown=bool((encoded == UNKNOWN).any()),
    )


def _tokenizer(text: str, level: Level, most: int | None) -> CharacterTokenizer | WordTokenizer | SubwordTokenizer:
    if level == "bpe":
        if most is None:
            raise ConfigError("byte-pair encoding needs a size of its vocabulary", do="give --vocabulary 4000")
        return train_subwords([text], size=most)
    return CharacterTokenizer() if level == "char" else WordTokenizer()


def _all_pieces(tokens: Sequence[str], tokenizer: SubwordTokenizer) -> Vocabulary:
    """The pieces met in training, the most frequent first, then the others: no text has an unknown one."""
    met = fit_vocabulary([tokens]).tokens
    others = sorted(json.loads(tokenizer.state)["model"]["vocab"].keys() - set(met))
    return Vocabulary(tokens=(*met, *others))
