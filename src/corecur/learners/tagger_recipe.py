"""The recipe for tagging: words by themselves, by characters and outline, a bidirectional LSTM, a CRF.

Ma & Hovy 2016, "End-to-end Sequence Labeling via Bi-directional LSTM-CNNs-CRF", without pretrained vectors;
``docs/recipes-tagging.md`` has the measurements.

B batch, T time (tokens), W characters of a token, K tags.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from corecur.engine.optimizers import AdamW
from corecur.engine.schedules import Trapezoid
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.character_encoder import CharacterEncoder
from corecur.layers.crf import CRF
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout, SpatialDropout1D
from corecur.layers.embedding import Embedding
from corecur.layers.gru import GRU
from corecur.layers.initializers import RandomUniform
from corecur.layers.lstm import LSTM
from corecur.layers.merge import Concatenate
from corecur.learners.settings import checked_settings
from corecur.learners.tagger_inputs import CHARACTERS, OUTLINES, WORDS
from corecur.models import Input, Model


class TaggerRecipe(BaseModel):
    """Every setting of a training of a tagger; any of them can be given by name.

    >>> TaggerRecipe(units=100).layers
    1
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["lstm", "gru"] = Field("lstm", description="recurrent layers: lstm or gru")
    crf: bool = Field(True, description="learn which tags follow each other, and answer with the best sequence")
    embedding: int = Field(100, ge=1, description="values of a word vector")
    characters: int = Field(30, ge=1, description="values of a character vector")
    outline: int = Field(20, ge=0, description="values of the vector of a word's outline (Xx, X, @x, 0:0); 0: none")
    filters: int = Field(60, ge=1, description="values of a word made from its characters")
    units: int = Field(200, ge=1, description="units of the recurrent layers, in each direction")
    layers: int = Field(1, ge=1, le=8, description="recurrent layers")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of the inputs and outputs of the layers left out")
    word_dropout: float = Field(0.25, ge=0, description="rare words are unknown this often: a / (a + count)")
    min_count: int = Field(1, ge=1, description="words with fewer occurrences are unknown")
    epochs: int = Field(15, ge=1, description="passes over the training split")
    batch_size: int = Field(32, ge=1, description="sentences in a step")
    learning_rate: float = Field(5e-3, gt=0, description="rate at its peak")
    weight_decay: float = Field(1e-4, ge=0, description="decoupled weight decay")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the training in which the rate rises")
    patience: int = Field(5, ge=1, description="epochs without a better validation score before it stops")

    def build_network(self, sizes: Mapping[str, int], *, tags: int) -> Model:
        """Words (B, T), their characters (B, T, W) and, where ``sizes`` has them, outlines (B, T) -> tags (B, T, K)."""
        inputs = {
            name: Input((None, None) if name == CHARACTERS else (None,), dtype=torch.int64, name=name) for name in sizes
        }
        letters = CharacterEncoder(
            sizes[CHARACTERS], self.characters, filters=self.filters, embeddings_initializer=_spread(self.characters)
        )
        vectors = [
            Embedding(sizes[WORDS], self.embedding, _spread(self.embedding), mask_zero=True)(inputs[WORDS]),
            letters(inputs[CHARACTERS]),
        ]
        if OUTLINES in inputs:
            outlines = Embedding(sizes[OUTLINES], self.outline, _spread(self.outline), mask_zero=True)
            vectors.append(outlines(inputs[OUTLINES]))
        x = Concatenate()(vectors)  # (B, T, embedding + filters + outline)
        x = Dropout(self.dropout)(x)
        recurrent = {"lstm": LSTM, "gru": GRU}[self.model]
        for _ in range(self.layers):
            x = SpatialDropout1D(self.dropout)(Bidirectional(recurrent(self.units, return_sequences=True))(x))
        x = Dense(tags, dtype="float32")(x)  # (B, T, K)
        return Model(list(inputs.values()), CRF(tags)(x) if self.crf else x)

    def optimizer_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """AdamW over all weights."""
        return AdamW(self.learning_rate, weight_decay=self.weight_decay).make(list(network.parameters()))

    @property
    def schedule(self) -> Trapezoid:
        """The rate: up in a line during the warm-up, then down in a line to nothing."""
        return Trapezoid(self.learning_rate, warmup=self.warmup, cooldown=1 - self.warmup, start=1e-3)


def _spread(values: int) -> RandomUniform:
    """Vectors of about length 1, whatever the number of their values (Ma & Hovy 2016, section 3.1).

    Shorter ones at first, as of 0.05 a value, leave a small corpus at its commonest tag for most of the training.
    """
    bound = math.sqrt(3 / values)
    return RandomUniform(-bound, bound)


def choose_tagger(*, tokens: int, overrides: Mapping[str, Any]) -> TaggerRecipe:
    """The recipe for so many training tokens: more passes and more doubt the fewer there are.

    >>> choose_tagger(tokens=200_000, overrides={}).epochs, choose_tagger(tokens=20_000, overrides={}).epochs
    (15, 30)
    """
    epochs = round(min(60.0, max(8.0, 15 * math.pow(200_000 / max(tokens, 1), 0.3))))
    batch = 32 if tokens > 100_000 else 16
    return checked_settings(TaggerRecipe, {"epochs": epochs, "batch_size": batch} | dict(overrides))
