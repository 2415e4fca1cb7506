"""How any text becomes numbers: cleaning, tokens, vocabulary, cut; fitted on training texts and saved with the model.

Shapes: N texts.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from corecur.data.text.cleaning import TextCleaning
from corecur.data.text.token_arrays import TokenArrays
from corecur.data.text.tokenizer import Tokenizer
from corecur.data.text.tokenizers import AnyTokenizer, choose_tokenizer
from corecur.data.text.vocabulary import Vocabulary, fit_vocabulary
from corecur.finding import Finding, remark

_MANY_UNKNOWN = 0.1


class TextPreparation(BaseModel):
    """The path from a text to token numbers, the same at training and at serving; part of ``preprocess.json``.

    ``longest`` tokens are kept of a text, of them the last ``tail`` from its end. A text without a token is a row of
    padding, and nothing here refuses it.

    >>> prepare = fit_preparation(["a cat", "a dog"])
    >>> prepare(["a cow", ""]).padded()[0].tolist()
    [[2, 1], [0, 0]]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cleaning: TextCleaning = TextCleaning()
    tokenizer: AnyTokenizer
    vocabulary: Vocabulary
    longest: int | None = Field(default=None, ge=1, description="tokens kept of a text")
    tail: int = Field(default=0, ge=0, description="how many of them from its end")

    def tokens(self, texts: Sequence[str]) -> list[list[str]]:
        """The tokens of each text, uncut."""
        return self.tokenizer.many(self.cleaning.many(texts))

    def __call__(self, texts: Sequence[str]) -> TokenArrays:
        """The token numbers of N texts."""
        return self.numbers(self.tokens(texts))

    def numbers(self, tokens: Sequence[Sequence[str]]) -> TokenArrays:
        """The token numbers of texts that are tokens already."""
        arrays = self.vocabulary.arrays(tokens)
        return arrays if self.longest is None else arrays.cut(self.longest, tail=min(self.tail, self.longest))


def fit_preparation(
    texts: Sequence[str],
    *,
    cleaning: TextCleaning | None = None,
    tokenizer: Tokenizer | None = None,
    min_count: int = 1,
    most: int | None = None,
    specials: Sequence[str] = (),
    longest: int | None = None,
    tail: int = 0,
) -> TextPreparation:
    """The preparation for training texts; without a ``tokenizer`` the one that suits them. Raises DataError.

    >>> fit_preparation(["很好"]).tokenizer.kind
    'chinese-characters'
    """
    cleaning = TextCleaning() if cleaning is None else cleaning
    cleaned = cleaning.many(texts)
    chosen = choose_tokenizer(cleaned) if tokenizer is None else tokenizer
    vocabulary = fit_vocabulary(chosen.many(cleaned), min_count=min_count, most=most, specials=specials)
    return TextPreparation.model_validate(
        {
            "cleaning": cleaning, "tokenizer": chosen, "vocabulary": vocabulary, "longest": longest, "tail": tail,
        }
    )  # fmt: skip


def token_findings(arrays: TokenArrays, *, split: str, names: Sequence[str]) -> list[Finding]:
    """Sentences on texts of which the vocabulary knows nothing, and on many unknown tokens.

    >>> print(*token_findings(TokenArrays.of([[1, 1], [3, 1]]), split="test", names=("a", "b")))
    1 test text has no known token (a). 75.0 % of the test tokens are not in the vocabulary.
    """
    findings = []
    strange = arrays.without_known().tolist()
    if strange:
        text = "text has" if len(strange) == 1 else "texts have"
        first = names[strange[0]] if len(strange) == 1 else f"the first: {names[strange[0]]}"
        findings.append(remark(f"{len(strange):,} {split} {text} no known token ({first})."))
    if arrays.unknown_share >= _MANY_UNKNOWN:
        findings.append(
            remark(f"{arrays.unknown_share:.1%} of the {split} tokens are not in the vocabulary.".replace("%", " %"))
        )
    return findings
