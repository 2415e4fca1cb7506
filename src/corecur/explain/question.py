"""What is asked of a network: one sample, one of its answers, and what it means to take a part of the sample away.

N copies of the sample, S the axes of what scores are given to, P parts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corecur.engine.evaluating import evaluating
from corecur.layers.recurrent import recurrent_layers

Kind = Literal["image", "text", "series"]
# Probabilities below are taken for this one: the logarithm of 0 says nothing.
_LEAST = 1e-30


@dataclass(frozen=True)
class Shown:
    """The sample as people know it: pixels (H, W, C), words, or values (T, C) with the names of columns and rows.

    >>> Shown(words=("a", "film")).spaced
    True
    """

    picture: NDArray[np.uint8] | None = None
    words: tuple[str, ...] = ()
    spaced: bool = True
    values: NDArray[Any] | None = None
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Question:
    """One sample and one answer to it.

    ``score`` gives the answer's score for N variants of the input, (N, *S) -> (N,), and is differentiable: the
    log-odds of a class (`log_odds`), or a value. ``parts`` numbers the places (the leading axes of ``inputs``) from 0:
    those of one number are taken away together, which means that ``baseline`` stands there; ``removed`` says so in
    words. ``unit`` is None for a class; for a value it is what counts as a large change.

    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> question.count, question.scores_of(torch.tensor([[True, False]]))
    (2, tensor([2.], dtype=torch.float64))
    """

    name: str
    kind: Kind
    network: nn.Module
    score: Callable[[Tensor], Tensor]
    inputs: Tensor  # (*S)
    baseline: Tensor  # (*S)
    parts: Tensor  # the leading axes of S
    target: str
    answer: str
    removed: str
    shown: Shown = field(default_factory=Shown)
    unit: float | None = None
    batch: int = 64
    attention: Callable[[], Tensor] | None = None
    row: int = 0  # which row of a recurrent layer's batch is this sample, or what is asked of it
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many parts there are."""
        return int(self.parts.max()) + 1 if self.parts.numel() else 0

    def keeping(self, kept: Tensor) -> Tensor:
        """The inputs (N, *S) of which only the parts in ``kept`` (N, P) are there; a share of a part is taken too."""
        share = kept.to(self.inputs)[:, self.parts.flatten()].view(len(kept), *self.parts.shape)
        share = share.view(*share.shape, *[1] * (self.inputs.ndim - self.parts.ndim))
        return self.baseline + share * (self.inputs - self.baseline)

    @torch.no_grad()
    def scores(self, inputs: Tensor) -> Tensor:
        """The score of each of N variants (N, *S), a few at a time: (N,) float64 on the CPU."""
        with differentiable(self.network):
            found = [self.score(piece).double().cpu() for piece in torch.split(inputs, self.batch)]
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)

    def scores_of(self, kept: Tensor) -> Tensor:
        """The score where only the parts in ``kept`` (N, P) are there: (N,)."""
        found = [self.scores(self.keeping(piece)) for piece in torch.split(kept, self.batch)]
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)

    def gradients(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N,) and their gradients (N, *S) for variants (N, *S); no gradient of a weight is touched."""
        scores, gradients = [], []
        with differentiable(self.network), torch.enable_grad():
            for piece in torch.split(inputs.detach(), self.batch):
                x = piece.clone().requires_grad_()
                score = self.score(x)
                (gradient,) = torch.autograd.grad(score.sum(), x)
                scores.append(score.detach().double().cpu())
                gradients.append(gradient.detach())
        return torch.cat(scores), torch.cat(gradients)

    def left(self, scores: Tensor) -> Tensor:
        """How much of the answer is left at these scores, 0 to 1: the class's probability, or how near the value is."""
        if self.unit is None:
            return torch.sigmoid(scores)
        whole = self.scores(self.inputs[None])
        return 1 / (1 + (scores - whole).abs() / self.unit)

    def by_place(self, values: Tensor) -> Tensor:
        """Values (*S) added up over the axes that places have beyond their own (channels of a pixel)."""
        return values.sum(tuple(range(self.parts.ndim, values.ndim))) if values.ndim > self.parts.ndim else values

    def by_part(self, places: Tensor) -> Tensor:
        """Scores of places added up over each part: (P,) float64 on the CPU."""
        flat = places.detach().double().cpu().flatten()
        return torch.zeros(self.count, dtype=torch.float64).index_add_(0, self.parts.cpu().flatten(), flat)

    def spread(self, scores: Tensor) -> Tensor:
        """Scores of parts (P,) divided evenly among the places of each, so that their sum stays."""
        places = self.parts.cpu()
        sizes = torch.bincount(places.flatten(), minlength=self.count)
        return (scores.double().cpu() / sizes)[places]


def plain_question(score: Callable[[Tensor], Tensor], inputs: Tensor, **fields: Any) -> Question:
    """A question about a score of one's own for variants (N, *S) of one input (*S).

    Every place of the first axis is a part of its own, every pixel of a picture (H, W, C), and to take it away means
    zeros. ``fields`` of `Question` say otherwise; ``network`` is the module that is put in evaluation mode.

    >>> plain_question(lambda x: x.sum(1), torch.ones(3)).parts
    tensor([0, 1, 2])
    """
    axes = inputs.shape[:2] if fields.get("kind") == "image" else inputs.shape[:1]
    usual: dict[str, Any] = {
        "name": "sample", "kind": "text", "network": nn.Identity(), "baseline": torch.zeros_like(inputs),
        "parts": torch.arange(axes.numel()).view(axes), "target": "the score", "answer": "", "removed": "zero",
    }  # fmt: skip
    return Question(score=score, inputs=inputs, **(usual | fields))


@contextlib.contextmanager
def differentiable(network: nn.Module) -> Iterator[None]:
    """A network in evaluation mode through which gradients flow on every device, and afterwards as it was.

    cuDNN has no way back through ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` in evaluation mode. Those layers alone, without
    their dropout, are in training mode meanwhile, which computes the same; nothing is switched off globally. corecur's
    own recurrent layers need none of it, but stateful ones begin anew and get their state back.

    >>> lstm = nn.LSTM(2, 2, num_layers=2, dropout=0.5).eval()
    >>> with differentiable(lstm):
    ...     lstm.training, lstm.dropout
    (True, 0.0)
    >>> lstm.training, lstm.dropout
    (False, 0.5)
    """
    foreign = [
        (module, module.training, module.dropout) for module in network.modules() if isinstance(module, nn.RNNBase)
    ]
    carrying = [(layer, layer._carries, layer._carried) for layer in recurrent_layers(network)]
    with evaluating(network):
        try:
            for module, _, _ in foreign:
                module.training, module.dropout = True, 0.0
            for layer, _, _ in carrying:
                layer._carries, layer._carried = False, None
            yield
        finally:
            for module, training, dropout in foreign:
                module.training, module.dropout = training, dropout
            for layer, carries, carried in carrying:
                layer._carries, layer._carried = carries, carried


def log_odds(probabilities: Tensor, place: int) -> Tensor:
    """``log p_k - log Σ_{j≠k} p_j`` of class k for probabilities (N, K): (N,). It goes on growing where p_k is near 1.

    >>> log_odds(torch.tensor([[0.5, 0.25, 0.25]]), 0)
    tensor([0.])
    """
    others = torch.cat([probabilities[:, :place], probabilities[:, place + 1 :]], 1).sum(1)
    return probabilities[:, place].clamp(min=_LEAST).log() - others.clamp(min=_LEAST).log()


def grid_parts(height: int, width: int, most: int = 64) -> Tensor:
    """Square blocks of pixels, numbered row by row, ``most`` at most: (H, W).

    >>> grid_parts(4, 4, most=4)
    tensor([[0, 0, 1, 1],
            [0, 0, 1, 1],
            [2, 2, 3, 3],
            [2, 2, 3, 3]])
    """
    side = next(side for side in range(1, height + width) if -(-height // side) * -(-width // side) <= most)
    across = -(-width // side)
    return (torch.arange(height) // side)[:, None] * across + (torch.arange(width) // side)[None]


def run_parts(steps: int, columns: int | None = None, most: int = 64) -> Tensor:
    """Runs of neighbouring steps, ``most`` of them at most: (T,); with ``columns``, of each column, (T, C).

    >>> run_parts(5, most=3).tolist(), run_parts(2, 2).tolist()
    ([0, 0, 1, 1, 2], [[0, 2], [1, 3]])
    """
    length = max(1, -(-steps // max(1, most // (columns or 1))))
    runs = torch.arange(steps) // length
    if columns is None:
        return runs
    return runs[:, None] + torch.arange(columns)[None] * (-(-steps // length))
