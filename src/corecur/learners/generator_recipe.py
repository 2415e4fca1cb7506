"""The recipe for text generation: an LSTM language model with tied weights and locked dropout.

What it rests on: Zaremba et al. 2014 (arXiv 1409.2329), Press & Wolf 2017 (tied weights), Gal & Ghahramani 2016 (one
dropout pattern for all steps), Merity et al. 2018 (arXiv 1708.02182); ``docs/recipes-generation.md`` has the
measurements.

B batch (rows of text), T time, V vocabulary, E embedding, H units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from corecur.engine.optimizers import AdamW
from corecur.engine.schedules import Trapezoid
from corecur.errors import DataError
from corecur.layers.activation import Softmax
from corecur.layers.dense import Dense
from corecur.layers.dropout import SpatialDropout1D
from corecur.layers.embedding import Embedding
from corecur.layers.gru import GRU
from corecur.layers.initializers import RandomNormal
from corecur.layers.lstm import LSTM
from corecur.learners.generator_tokens import Level, choose_level, is_chinese
from corecur.learners.settings import checked_settings
from corecur.models import Input, Model

# Characters of a token, about.
_LENGTHS: dict[Level, float] = {"char": 1.0, "word": 4.8, "bpe": 3.5}
_SHORTEST = 16
# Rows, tokens of a piece, and tokens read in all over the epochs: of the characters of an alphabet, and of thousands
# of kinds of tokens, where the output costs most of the time and more, smaller steps cost nothing.
_PLAIN, _MANY_KINDS = (64, 64, 10_000_000), (32, 35, 6_000_000)
_OF_LEVEL: dict[str, dict[str, Any]] = {
    "word": {"vocabulary": 20_000, "min_count": 2},
    "bpe": {"vocabulary": 4000},
    "chinese": {"min_count": 2},
}
_MANY = 1000
_SMALLER = (512, 256, 128, 64)
# In a time budget, a network that reads the text fewer times than this (or fewer tokens in all) is too large for it.
_PASSES, _ENOUGH = 3, 5_000_000


class GeneratorRecipe(BaseModel):
    """Every setting of a training of a generator; any of them can be given by name.

    >>> GeneratorRecipe(units=256).level
    'auto'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["auto", "char", "word", "bpe"] = Field(
        "auto", description="tokens: char, word or bpe; auto is by word from 5,000,000 characters on"
    )
    model: Literal["lstm", "gru"] = Field("lstm", description="recurrent layers: lstm or gru")
    vocabulary: int | None = Field(None, ge=2, description="most tokens in the vocabulary; None keeps all")
    min_count: int = Field(1, ge=1, description="tokens with fewer occurrences are unknown")
    embedding: int = Field(128, ge=1, description="values of a token's vector")
    units: int = Field(512, ge=1, description="units of the recurrent layers")
    layers: int = Field(1, ge=1, le=8, description="recurrent layers")
    tie: bool = Field(True, description="the vectors of tokens are the weights of the output too")
    input_dropout: float = Field(0.1, ge=0, lt=1, description="share of the token vectors left out")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of the recurrent layers' outputs left out")
    epochs: int = Field(10, ge=1, description="passes over the training text")
    batch_size: int = Field(64, ge=1, description="rows the text is laid out in, read side by side")
    bptt_steps: int = Field(64, ge=2, description="tokens of a piece: how far gradients go back")
    learning_rate: float = Field(1e-2, gt=0, description="rate at its peak")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay of matrices")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the training in which the rate rises")
    clip: float = Field(1.0, gt=0, description="bound on the norm of the gradient")
    patience: int = Field(5, ge=1, description="epochs without a better validation loss before it stops")

    def build_network(self, vocabulary: int) -> Model:
        """Tokens (B, T) -> logits of the token after each (B, T, V)."""
        tokens = Input((None,), dtype=torch.int64, name="tokens")
        # Small vectors, as tied weights often start, leave the recurrent layer without input for a whole epoch.
        start = RandomNormal(stddev=0.6 if vocabulary < _MANY else 0.2)
        embedding = Embedding(vocabulary, self.embedding, start, output_bias=self.tie)
        x = SpatialDropout1D(self.input_dropout)(embedding(tokens))  # (B, T, E)
        recurrent = {"lstm": LSTM, "gru": GRU}[self.model]
        for _ in range(self.layers):
            x = SpatialDropout1D(self.dropout)(recurrent(self.units, return_sequences=True)(x))  # (B, T, H)
        if not self.tie:
            return Model(tokens, Dense(vocabulary)(x))
        if self.units != self.embedding:
            x = Dense(self.embedding)(x)  # (B, T, E)
        return Model(tokens, embedding(x, reverse=True))

    def optimizer_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """AdamW over all weights."""
        found = AdamW(self.learning_rate, weight_decay=self.weight_decay, decay_only_matrices=True)
        return found.make([p for p in network.parameters() if p.requires_grad])

    @property
    def schedule(self) -> Trapezoid:
        """The rate: up in a line during the warm-up, then down in a line to nothing."""
        return Trapezoid(self.learning_rate, warmup=self.warmup, cooldown=1 - self.warmup, start=1e-3)


def with_probabilities(network: Model) -> Model:
    """The same layers with a softmax behind them: (B, T) -> probabilities (B, T, V).

    A training needs the logits alone, and over a vocabulary of words a softmax costs more than the recurrent layers.

    >>> network = with_probabilities(GeneratorRecipe(units=4, embedding=4).build_network(5))
    >>> round(network(torch.tensor([[1, 3]])).sum().item(), 3)
    2.0
    """
    return Model(network.input_symbols[0], Softmax()(network.output_symbols[0]))


def choose_generator(documents: Sequence[str], *, overrides: Mapping[str, Any]) -> GeneratorRecipe:
    """The recipe for these training texts, with the given settings in place of its own; DataError for almost no text.

    Small texts are read more often, by smaller networks with more dropout.

    >>> recipe = choose_generator(["to be or not to be " * 1000], overrides={"epochs": 3})
    >>> recipe.level, recipe.units, recipe.epochs
    ('char', 256, 3)
    """
    given = checked_settings(GeneratorRecipe, overrides)
    level: Level = choose_level(documents) if given.level == "auto" else given.level
    characters = sum(map(len, documents))
    tokens = round(characters / _LENGTHS[level])
    if characters < _SHORTEST:
        raise DataError(
            "the text is too short to learn from",
            got=f"{characters} characters",
            expected=f"{_SHORTEST} or more, better 100,000",
        )
    small, plain = tokens < 300_000, level == "char" and not is_chinese(documents)
    rows, most_steps, read = _PLAIN if plain else _MANY_KINDS
    steps = given.bptt_steps if "bptt_steps" in overrides else max(2, min(most_steps, tokens // 4))
    chosen: dict[str, Any] = {
        "level": level,
        "units": 256 if small else 512,
        "epochs": round(min(60.0, max(1.0, read / max(tokens, 1)))),
        "batch_size": max(1, min(rows, tokens // (4 * steps))),
        "bptt_steps": steps,
        "dropout": 0.5 if tokens < 3_000_000 else 0.3,
        "input_dropout": 0.1 if plain else 0.3,
        "learning_rate": 0.01 if plain else 0.006,
        "embedding": 128 if plain else 256,
        **_OF_LEVEL.get("chinese" if level == "char" and not plain else level, {}),
    }
    chosen["patience"] = max(3, (given.epochs if "epochs" in overrides else chosen["epochs"]) // 3)
    return checked_settings(GeneratorRecipe, chosen | dict(overrides) | {"level": level})


def recipe_for_speed(
    recipe: GeneratorRecipe, overrides: Mapping[str, Any], *, tokens: int, affordable: float
) -> GeneratorRecipe:
    """The recipe with fewer units where a time budget allows too few passes: ``affordable`` is the tokens it reads.

    >>> recipe_for_speed(GeneratorRecipe(), {}, tokens=1_000_000, affordable=1_000_000).units
    256
    """
    units = recipe.units
    while "units" not in overrides and affordable < _PASSES * min(tokens, _ENOUGH) and units > _SMALLER[-1]:
        # Half the units, about three times the speed: the products shrink by four, what is around them by two.
        units, affordable = next(size for size in _SMALLER if size < units), affordable * 3
    return recipe.model_copy(update={"units": units})
