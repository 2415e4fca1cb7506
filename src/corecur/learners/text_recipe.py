"""The recipe for telling texts apart: words and their parts, a recurrent network with attention, votes beside it.

What it rests on: Yang et al. 2016, "Hierarchical Attention Networks" (attention over a bidirectional GRU); Kim 2014
(the network ``cnn``); Wang & Manning 2012, "Baselines and Bigrams" (naive Bayes features), trained beside the network;
Iyyer et al. 2015 (word dropout). ``docs/recipes-text-classification.md`` has the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import nn

from corecur.data.text.cleaning import TextCleaning
from corecur.data.text.subword_tokenizer import train_subwords
from corecur.data.text.text_preparation import fit_preparation
from corecur.data.text.tokenizer import Tokenizer
from corecur.data.text.tokenizers import TOKENIZERS, choose_tokenizer
from corecur.engine.optimizers import AdamW
from corecur.engine.schedules import Trapezoid
from corecur.layers.embedding_bag import EmbeddingBag
from corecur.learners.settings import checked_settings
from corecur.learners.text_inputs import TextPreprocess, fit_text_inputs
from corecur.learners.text_networks import readers_of

_LOOKED_AT = 1000
# Steps that a recurrent layer reads of a text; neighbouring tokens of longer ones become one step.
_STEPS = 120
_AUTO, _SUBWORDS = "auto", "bpe"
# A linear classifier takes larger steps than a recurrent network.
_VOTE_RATE = 3.0


class TextRecipe(BaseModel):
    """Every setting of a training of a text classifier; any of them can be given by name.

    >>> TextRecipe(epochs=3).batch_size
    64
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field("lstm", description="network: lstm, gru, cnn, or several: lstm+cnn")
    votes: bool = Field(True, description="words and pairs of words also vote by themselves, as naive Bayes at first")
    tokens: str = Field("auto", description="auto, words, characters, chinese-characters, chinese-words or bpe")
    lower: bool = Field(True, description="upper and lower case are the same")
    min_count: int = Field(1, ge=1, description="tokens with fewer occurrences are unknown")
    vocabulary: int = Field(50_000, ge=2, description="most tokens in the vocabulary")
    longest: int = Field(2000, ge=1, description="tokens kept of a text, half of them from its end")
    word_parts: bool = Field(True, description="beginnings and endings of words tell about words never seen")
    pairs: int = Field(100_000, ge=0, le=2_000_000, description="most pairs of neighbouring words that vote")
    openings: bool = Field(True, description="the first words, one, two and three of them, vote too")
    vote_texts: int = Field(1, ge=1, description="texts that a word or pair is to stand in before it votes")
    embedding: int = Field(100, ge=1, description="values of a token's vector")
    units: int = Field(64, ge=1, description="units of the recurrent layer, in each direction")
    filters: int = Field(64, ge=1, description="filters of each convolution")
    windows: tuple[int, ...] = Field((3, 4, 5), min_length=1, description="tokens that a filter of cnn sees")
    pool: int = Field(1, ge=1, le=64, description="neighbouring steps that become one before the recurrent layer")
    word_dropout: float = Field(0.2, ge=0, lt=1, description="share of the words that are unknown in training")
    embedding_dropout: float = Field(0.4, ge=0, lt=1, description="share of the values of token vectors left out")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of the values left out before the last layer")
    vote_dropout: float = Field(0.2, ge=0, lt=1, description="share of the votes left out")
    epochs: int = Field(6, ge=1, description="passes over the training split")
    batch_size: int = Field(64, ge=1, description="texts in a step")
    learning_rate: float = Field(3e-3, gt=0, description="rate at its peak")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the training in which the rate rises")
    clip: float = Field(1.0, gt=0, description="bound on the norm of the gradient")
    label_smoothing: float = Field(0.05, ge=0, lt=1, description="how much of the target is spread over all classes")
    average: Literal["none", "ema", "swa"] = Field(
        "none", description="average of the weights: none, ema (exponential), swa (of the last quarter)"
    )
    patience: int = Field(5, ge=1, description="epochs without a better validation accuracy before it stops")

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        readers_of(name)
        return name

    @field_validator("tokens")
    @classmethod
    def _known_tokens(cls, name: str) -> str:
        if name != _AUTO:
            TOKENIZERS[name]
        return name

    def prepare(self, texts: Sequence[str]) -> TextPreprocess:
        """The preprocessing, fitted on training texts."""
        cleaning = TextCleaning(lower=self.lower)
        preparation = fit_preparation(
            texts,
            cleaning=cleaning,
            tokenizer=self._tokenizer(texts, cleaning),
            min_count=self.min_count,
            most=self.vocabulary,
            longest=self.longest,
            tail=self.longest // 2,
        )
        fitted = fit_text_inputs(
            preparation,
            texts,
            parts=self.word_parts,
            bags=self.votes,
            openings=self.openings,
            min_texts=self.vote_texts,
            most_pairs=self.pairs,
        )
        return fitted.model_copy(update={"step": self.pool})

    def _tokenizer(self, texts: Sequence[str], cleaning: TextCleaning) -> Tokenizer | None:
        if self.tokens == _AUTO:
            return None
        kind = TOKENIZERS[self.tokens]
        if kind is TOKENIZERS[_SUBWORDS]:
            return train_subwords(cleaning.many(texts))
        return kind()

    def optimizer_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """AdamW; the votes move faster than the rest."""
        votes = {
            id(weight) for bag in network.modules() if isinstance(bag, EmbeddingBag) for weight in bag.parameters()
        }
        weights = list(network.parameters())
        adam = AdamW(self.learning_rate, weight_decay=self.weight_decay, beta_2=0.99).make(
            [weight for weight in weights if id(weight) not in votes]
        )
        if votes:
            voting = [weight for weight in weights if id(weight) in votes]
            adam.add_param_group({"params": voting, "lr": _VOTE_RATE * self.learning_rate})
        return adam

    @property
    def schedule(self) -> Trapezoid:
        """The rate: up in a line during the warm-up, then down in a line to nothing."""
        return Trapezoid(self.learning_rate, warmup=self.warmup, cooldown=1 - self.warmup, start=1e-3)


def choose_text_recipe(texts: Sequence[str], *, overrides: Mapping[str, Any] | None = None) -> TextRecipe:
    """The recipe for these training texts, with the given settings in place of its own.

    Few texts are read more often. Of long texts, neighbouring tokens become one step before the recurrent layer.

    >>> choose_text_recipe(["so good", "so bad"] * 4000).epochs, choose_text_recipe(["so long " * 600] * 50).pool
    (6, 10)
    """
    some = TextCleaning().many(texts[:: max(1, len(texts) // _LOOKED_AT)])
    lengths = [len(tokens) for tokens in choose_tokenizer(some).many(some)]
    usual = max(lengths) if len(lengths) < 10 else quantiles(lengths, n=10)[-1]  # nine texts of ten are no longer
    long = usual > _STEPS
    epochs = round(min(30.0, max(3.0, 8 * math.sqrt(4500 / len(texts)))))
    batch = 16
    while batch < 64 and len(texts) >= 60 * batch:
        batch *= 2
    chosen = {
        "epochs": epochs,
        "batch_size": batch,
        "pool": min(64, max(1, round(usual / _STEPS))),
        "vote_texts": 3 if long else 1,
        "vote_dropout": 0.5 if long else 0.2,
        "patience": max(5, epochs),
    }
    return checked_settings(TextRecipe, chosen | dict(overrides or {}))
