"""The networks a text classifier can use, by name.

B batch, T time (tokens), C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from corecur.layers.activation import Softmax
from corecur.layers.attention_pooling import AttentionPooling
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.conv import Conv1D
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.embedding import Embedding
from corecur.layers.embedding_bag import EmbeddingBag
from corecur.layers.gru import GRU
from corecur.layers.initializers import RandomUniform
from corecur.layers.lstm import LSTM
from corecur.layers.merge import Add, Average, Concatenate
from corecur.layers.pool import GlobalMaxPooling1D, MaxPooling1D
from corecur.layers.symbolic import SymbolicTensor
from corecur.learners.text_inputs import VOTING, WORDS
from corecur.models import Input, Model
from corecur.names import Table

if TYPE_CHECKING:
    from corecur.learners.text_recipe import TextRecipe

# Logits are this share of the summed evidence at first: naive Bayes takes tokens for independent, and is too sure.
_FIRST_SHARE = 0.45


class TextNetworks(NamedTuple):
    """Two models of the same layers: ``answering`` (B, K) is the average of what ``learning`` gives one by one."""

    answering: Model
    learning: Model


def build_text_network(
    sizes: Mapping[str, int], classes: int, recipe: TextRecipe, *, votes: Tensor | None = None
) -> TextNetworks:
    """The network of a recipe for inputs of these ``sizes``: (B, T) whole numbers each -> class probabilities (B, K).

    With ``votes``, log-count ratios (V, K) of terms, pairs and openings, a linear classifier of what a text holds
    stands beside the network that reads, and starts from them: each learns from its own loss, and the answer is their
    average.

    >>> from corecur.learners.text_recipe import TextRecipe
    >>> networks = build_text_network({"words": 50}, 3, TextRecipe(model="cnn"))
    >>> networks.answering.output_symbols[0].shape, networks.answering is networks.learning
    ((None, 3), True)
    """
    inputs = {name: Input((None,), dtype=torch.int64, name=name) for name in sizes}
    vectors = [
        Embedding(size, recipe.embedding, RandomUniform(-0.1, 0.1), mask_zero=name == WORDS)(inputs[name])
        for name, size in sizes.items()
        if name not in VOTING
    ]
    x = vectors[0] if len(vectors) == 1 else Add()(vectors)  # (B, T, C)
    x = Dropout(recipe.embedding_dropout)(x)
    heads = [_answer(READERS[name](x, recipe), classes, recipe) for name in readers_of(recipe.model)]
    if votes is not None:
        heads.append(_votes([inputs[name] for name in VOTING if name in inputs], votes, recipe))
    taken = list(inputs.values())
    if len(heads) == 1:
        model = Model(taken, heads[0], name=recipe.model)
        return TextNetworks(model, model)
    return TextNetworks(Model(taken, Average()(heads), name=recipe.model), Model(taken, heads))


def readers_of(model: str) -> list[str]:
    """The names of the readers that a model is made of; ConfigError for an unknown one.

    >>> readers_of("lstm+cnn")
    ['lstm', 'cnn']
    """
    names = model.split("+")
    for name in names:
        READERS[name]
    return names


def _answer(x: SymbolicTensor, classes: int, recipe: TextRecipe) -> SymbolicTensor:
    """What a reader found (B, C') -> class probabilities (B, K)."""
    logits = Dense(classes, dtype="float32")(Dropout(recipe.dropout)(x))
    return Softmax()(logits)  # type: ignore[no-any-return]


def _votes(terms: Sequence[SymbolicTensor], votes: Tensor, recipe: TextRecipe) -> SymbolicTensor:
    """A linear classifier over bags of tokens, which starts as naive Bayes: class probabilities (B, K)."""
    size, classes = votes.shape
    held = terms[0] if len(terms) == 1 else Concatenate(axis=1)(list(terms))  # (B, T) each -> (B, 3 T)
    bag = EmbeddingBag(
        size, classes, mode="sqrtn", mask_zero=True, use_bias=True, dropout=recipe.vote_dropout, dtype="float32",
        weights=_FIRST_SHARE * votes,
    )  # fmt: skip
    return Softmax()(bag(held))  # type: ignore[no-any-return]


def _recurrent(kind: type[GRU] | type[LSTM]) -> Callable[[SymbolicTensor, TextRecipe], SymbolicTensor]:
    def read(x: SymbolicTensor, recipe: TextRecipe) -> SymbolicTensor:
        if recipe.pool > 1:
            x = Conv1D(recipe.filters, 3, padding="same", activation="relu")(x)
            # The windows stand where they stand for one text alone if T is a multiple of pool, which `InSteps` sees to.
            x = MaxPooling1D(recipe.pool, padding="same")(x)  # (B, T, C) -> (B, T / pool, C)
        x = Bidirectional(kind(recipe.units, return_sequences=True))(x)  # (B, T, 2 units)
        return AttentionPooling(recipe.units)(x)  # type: ignore[no-any-return]  # (B, 2 units)

    return read


def _convolutional(x: SymbolicTensor, recipe: TextRecipe) -> SymbolicTensor:
    """Kim 2014, "Convolutional Neural Networks for Sentence Classification"."""
    found = [
        GlobalMaxPooling1D()(Conv1D(recipe.filters, window, padding="same", activation="relu")(x))
        for window in recipe.windows
    ]
    return found[0] if len(found) == 1 else Concatenate()(found)  # type: ignore[no-any-return]


#: What reads the word vectors (B, T, C) and gives (B, C').
READERS: Table[Callable[[SymbolicTensor, TextRecipe], SymbolicTensor]] = Table(
    "model", {"lstm": _recurrent(LSTM), "gru": _recurrent(GRU), "cnn": _convolutional}
)
