"""How well a language model knows a text: nats a token, perplexity, bits a character, with an interval.

N tokens scored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from corecur.engine.block_bootstrap import block_interval
from corecur.errors import DataError
from corecur.finding import Finding
from corecur.learners.generator_tokens import NOUNS, Level
from corecur.learners.outcome import Listing

LEVEL = 0.95
# Words of a scene repeat within it: values of the interval's blocks are alike, values of different ones hardly.
SHORTEST_BLOCK, BLOCKS = 100, 50


@dataclass(frozen=True)
class LanguageScore:
    """What the tokens of a text cost a model, each with all tokens before it known.

    ``nats`` is the mean of -log p over tokens. Its 95 % interval comes from a bootstrap over blocks of neighbouring
    tokens, a fiftieth of the text each and 100 or more (`engine.block_bootstrap`); None for a text below 500 tokens.
    An unknown token counts as one, with the probability of "unknown". ``losses`` (N,) is what each token cost.
    """

    split: str
    level: Level
    tokens: int
    characters: int
    nats: float
    interval: tuple[float, float] | None
    unknown: int = 0
    findings: tuple[Finding, ...] = ()
    losses: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    @property
    def perplexity(self) -> float:
        """exp(nats): among how many equally likely tokens the model is left to choose."""
        return math.exp(min(self.nats, 700.0))

    @property
    def bits_per_character(self) -> float | None:
        """The whole text's cost in bits over its characters; None where unknown words hide some of it."""
        if self.level == "word":
            return None
        return self.nats * self.tokens / max(1, self.characters) / math.log(2)

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "split": self.split,
            "level": self.level,
            "nats": self.nats,
            "interval": None if self.interval is None else list(self.interval),
            "confidence": LEVEL,
            "perplexity": self.perplexity,
            "bits_per_character": self.bits_per_character,
            "tokens": self.tokens,
            "characters": self.characters,
            "unknown": self.unknown,
        }

    def listing(self) -> Listing | None:
        """Nothing to be shown in rows."""
        return None

    def sentence(self) -> str:
        """The result in words.

        >>> LanguageScore("test", "word", 1000, 5000, 4.5, (4.4, 4.6)).sentence()
        'test: 4.500 nats a token, 95 % interval 4.400 to 4.600 (perplexity 90.02; 1,000 tokens)'
        """
        one, many = NOUNS[self.level]
        bits = self.bits_per_character
        low_high = "" if self.interval is None else f", 95 % interval {self.interval[0]:.3f} to {self.interval[1]:.3f}"
        shown = "" if bits is None else f"{bits:.3f} bits a character, "
        return (
            f"{self.split}: {self.nats:.3f} nats a {one}{low_high} "
            f"({shown}perplexity {self.perplexity:.2f}; {self.tokens:,} {many})"
        )


def score_losses(losses: Tensor, *, split: str, level: Level, characters: int, unknown: int = 0) -> LanguageScore:
    """The score of a text from what its tokens cost, (N,) nats in the order of the text. DataError for none.

    >>> import torch
    >>> score_losses(torch.full((600,), 0.5), split="test", level="char", characters=600).interval
    (0.5, 0.5)
    """
    if len(losses) == 0:
        raise DataError("the text is too short to be scored", got="1 token or none", expected="2 tokens or more")
    values = losses.double().numpy()
    interval = block_interval(values, block=max(SHORTEST_BLOCK, len(values) // BLOCKS), level=LEVEL)
    mean = float(values.mean())
    return LanguageScore(split, level, len(values), characters, mean, interval, unknown=unknown, losses=values)
