"""One spelling for texts that look the same: composed characters, no invisible ones, plain spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from corecur.errors import DataError

# Control characters that are no space; zero-width, joining and direction marks; half surrogate pairs.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
# The combining marks of Latin, Greek and Cyrillic; vowel signs of other scripts are letters, not accents.
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_ODD_SPACES = re.compile("[\x1c-\x1f]")


class TextCleaning(BaseModel):
    """How a text is brought to one spelling, the same at training and at serving; a call cleans one text.

    In this order: control and zero-width characters and half surrogates out (``drop_invisible``; line ends of other
    systems become ``\\n``), Unicode's composed form (``nfc``), lower case (``lower``), accents off (``strip_accents``:
    é becomes e, ø stays), every run of spaces and line ends one space (``fold_spaces``). Cleaning twice changes
    nothing more. Joiners go too, so an emoji of several falls apart into them. Raises DataError for what is no text.

    >>> TextCleaning(lower=True, strip_accents=True)(" Cr\\u00e8me\\u200b  BR\\u00dbL\\u00c9E\\n")
    'creme brulee'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    nfc: bool = Field(default=True, description="Unicode's composed form")
    lower: bool = Field(default=False, description="lower case")
    strip_accents: bool = Field(default=False, description="letters without accents")
    drop_invisible: bool = Field(default=True, description="without control and zero-width characters")
    fold_spaces: bool = Field(default=True, description="one space for any run of spaces and line ends")

    def __call__(self, text: str) -> str:
        """The text, cleaned."""
        if not isinstance(text, str):
            raise DataError("this is no text", got=type(text).__name__, expected="a str")
        if self.drop_invisible:
            text = _ODD_SPACES.sub(" ", _LINE_ENDS.sub("\n", _INVISIBLE.sub("", text)))
        plain = text.isascii()
        if self.nfc and not plain:
            text = unicodedata.normalize("NFC", text)
        if self.lower:
            text = text.lower()
        if self.strip_accents and not plain:
            text = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", text)))
        return " ".join(text.split()) if self.fold_spaces else text

    def many(self, texts: Iterable[str]) -> list[str]:
        """Every text cleaned, in order.

        >>> TextCleaning(lower=True).many(["A  b", "C"])
        ['a b', 'c']
        """
        return [self(text) for text in texts]
