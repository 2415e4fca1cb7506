"""The tokenisers by name, and which one suits some texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Annotated, TypeAlias

from pydantic import Field

from corecur.data.text.character_tokenizer import CharacterTokenizer
from corecur.data.text.chinese_tokenizers import CJK, ChineseCharacterTokenizer, ChineseWordTokenizer
from corecur.data.text.subword_tokenizer import SubwordTokenizer
from corecur.data.text.tokenizer import Tokenizer
from corecur.data.text.word_tokenizer import WordTokenizer
from corecur.names import Table

# For a field of a pydantic model: the kind in a file chooses among these classes and no others.
AnyTokenizer: TypeAlias = Annotated[
    CharacterTokenizer | WordTokenizer | SubwordTokenizer | ChineseCharacterTokenizer | ChineseWordTokenizer,
    Field(discriminator="kind"),
]

TOKENIZERS: Table[type[Tokenizer]] = Table(
    "tokenizer",
    {
        "bpe": SubwordTokenizer,
        "characters": CharacterTokenizer,
        "chinese-characters": ChineseCharacterTokenizer,
        "chinese-words": ChineseWordTokenizer,
        "words": WordTokenizer,
    },
    aliases={"char": "characters", "character": "characters", "word": "words", "subwords": "bpe"},
)

_TEXTS_LOOKED_AT, _CHARACTERS_LOOKED_AT = 500, 2000
_CJK_SHARE = 0.2
_CJK = re.compile(f"[{CJK}]")


def choose_tokenizer(texts: Iterable[str]) -> CharacterTokenizer | WordTokenizer | ChineseCharacterTokenizer:
    """By character for Chinese and Japanese, by word for the rest; by what most of the letters are.

    >>> choose_tokenizer(["很好吃"]).kind, choose_tokenizer(["very good"]).kind
    ('chinese-characters', 'words')
    """
    cjk = letters = 0
    for text in islice(texts, _TEXTS_LOOKED_AT):
        start = text[:_CHARACTERS_LOOKED_AT]
        cjk += len(_CJK.findall(start))
        letters += len(re.findall(r"\w", start))
    return ChineseCharacterTokenizer() if cjk > _CJK_SHARE * letters else WordTokenizer()
