"""What each piece of a text cost a text generator, so that it can be compared with another.

N tokens, U pieces of text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from corecur.errors import ConfigError
from corecur.learners.answer_record import AnswerRecord, digest, shortened_text
from corecur.learners.generator_tokens import GeneratorPreprocess, tokens_of
from corecur.learners.language_score import BLOCKS, SHORTEST_BLOCK, LanguageScore

# Characters (or, by word, tokens) of a piece: shorter than what is drawn at once, so that drawing decides its size.
_PIECE = 100
_TOGETHER, _FEW_BLOCKS = 5, 12
# Parts of a text that are told apart; those of byte pairs would hold pieces of several kinds.
_KINDS = {
    "char": ("first letters of words", "other letters", "spaces and punctuation"),
    "word": ("words", "punctuation and numbers"),
}


def language_record(preprocess: GeneratorPreprocess, text: str, score: LanguageScore) -> AnswerRecord:
    """The record of a text's score: bits and characters of each piece of it; by word, nats and tokens.

    Models that read by character and by byte pairs are compared over the same characters. Two that read by word must
    know the same words: one that knows fewer has an easier text.
    """
    if score.losses is None:
        raise ConfigError("this score kept no losses of single tokens", do="score the text again")
    losses, cleaned = score.losses, preprocess.cleaning(text)
    tokens = tokens_of(cleaned, preprocess.tokenizer)
    if preprocess.level == "word":
        places = np.arange(1, len(losses) + 1)
        count, pieces = len(tokens), [" ".join(tokens[at : at + _PIECE]) for at in range(0, len(tokens), _PIECE)]
    else:
        places = _places(preprocess, cleaned, len(losses))
        count, pieces = len(cleaned), [cleaned[at : at + _PIECE] for at in range(0, len(cleaned), _PIECE)]
    number = np.minimum(places // _PIECE, len(pieces) - 1)  # (N,)
    nats = np.bincount(number, weights=losses, minlength=len(pieces))
    sizes = np.full(len(pieces), float(_PIECE))
    sizes[-1] = count - _PIECE * (len(pieces) - 1)
    sizes[0] -= 1  # what nothing stands before is not asked
    by_word = preprocess.level == "word"
    counts = {"nats": nats, "tokens": sizes} if by_word else {"bits": nats / math.log(2), "characters": sizes}
    parts: dict[str, dict[str, NDArray[np.float64]]] = {}
    if preprocess.level in _KINDS:
        kinds = _kinds(cleaned, preprocess.level, tokens)[places]
        for at, name in enumerate(_KINDS[preprocess.level]):
            own = kinds == at
            cost = np.bincount(number[own], weights=losses[own], minlength=len(pieces)).astype(np.float64)
            asked = np.bincount(number[own], minlength=len(pieces)).astype(np.float64)
            parts[name] = (
                {"nats": cost, "tokens": asked} if by_word else {"bits": cost / math.log(2), "characters": asked}
            )
    least = max(SHORTEST_BLOCK, count // BLOCKS)
    # Two models differ alike over some sentences: five pieces at once, where the text has enough of them.
    block = max(round(least / _PIECE), min(_TOGETHER, len(pieces) // _FEW_BLOCKS), 1)
    return AnswerRecord(
        task=preprocess.task,
        kind="tokens" if by_word else "characters",
        names=tuple(f"{'tokens' if by_word else 'characters'} from {at * _PIECE + 1:,}" for at in range(len(pieces))),
        contents=tuple(map(digest, pieces)),
        counts=counts,
        parts=parts,
        texts=tuple(map(shortened_text, pieces)),
        sizes=(),
        same={"vocabulary": digest(preprocess.vocabulary.tokens)} if by_word else {},
        block=block,
        findings=tuple(map(str, score.findings)),
    )


def _kinds(cleaned: str, level: str, tokens: Sequence[str]) -> NDArray[np.int64]:
    """Which of ``_KINDS`` each character is, or each token."""
    if level == "word":
        return np.array([0 if any(map(str.isalpha, token)) else 1 for token in tokens])
    letters = np.array([character.isalnum() for character in cleaned])
    begins = letters & ~np.concatenate([[False], letters[:-1]])
    return np.where(begins, 0, np.where(letters, 1, 2))


def _places(preprocess: GeneratorPreprocess, cleaned: str, count: int) -> NDArray[np.int64]:
    """Where in the text the tokens but the first end, (N,): the character each token's cost is counted for."""
    if preprocess.level == "char":
        return np.arange(1, count + 1)
    names, writer = preprocess.vocabulary.names, preprocess.writer()
    ends = np.cumsum([len(writer(names[number])) for number in preprocess.numbers(cleaned).tolist()])
    # A writer may spell a space or a half character otherwise: by its share of the whole then.
    scaled = ends[1:] * (len(cleaned) / max(1, int(ends[-1])))
    return np.maximum(np.ceil(scaled).astype(np.int64) - 1, 0)
