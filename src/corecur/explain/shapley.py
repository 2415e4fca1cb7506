"""SHAP: each part's fair share of the answer (Lundberg & Lee 2017), from coalitions of parts or from gradients.

N coalitions, P parts.
"""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from corecur.explain.gradients import path_gradients
from corecur.explain.question import Question

# Up to so many parts every coalition is asked for, which gives the Shapley values themselves.
_EXACT = 10
_SAMPLES, _BASELINES, _NEARNESS = 1024, 4, 0.3


def kernel_shap(question: Question, *, samples: int | None = None, seed: int = 0) -> Tensor:
    """Shapley values by regression over coalitions of parts; the scores add up to ``F(x) - F(x')`` exactly.

    Of ten parts or fewer all coalitions are asked for, and the values are exact; of more, coalitions are drawn with
    their complements.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x[:, 0] * x[:, 1], torch.tensor([1.0, 3.0]))
    >>> kernel_shap(question).round(decimals=4)
    tensor([1.5000, 1.5000], dtype=torch.float64)
    """
    count = question.count
    if count < 2:
        whole, none = (question.scores_of(torch.full((1, count), there)) for there in (True, False))
        return question.spread(whole - none)
    kept, weights = _all(count) if count <= _EXACT else _drawn(count, samples or _SAMPLES + 2 * count, seed)
    none, whole = question.scores_of(torch.stack([torch.zeros(count), torch.ones(count)]).bool()).tolist()
    answers = question.scores_of(kept) - none
    return question.spread(_shares(kept.double(), answers, weights, whole - none))


def gradient_shap(question: Question, *, samples: int | None = None, seed: int = 0) -> Tensor:
    """Expected gradients (Erion et al. 2021): integrated gradients from several baselines, their mean.

    Each baseline keeps up to three tenths of every part, drawn at random. The scores add up to F(x) less the mean of F
    over the baselines; paths are integrated by rule and not by draw, so that they really do.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> bool(gradient_shap(question)[0] < 2)
    True
    """
    return question.by_place(path_gradients(question, near_baselines(question, samples=samples, seed=seed)))


def near_baselines(question: Question, *, samples: int | None = None, seed: int = 0) -> Tensor:
    """The baselines (M, *S) of ``gradient_shap``.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> near_baselines(question).shape
    torch.Size([4, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    return question.keeping(_NEARNESS * torch.rand(samples or _BASELINES, question.count, generator=generator))


def _shares(kept: Tensor, answers: Tensor, weights: Tensor, total: float) -> Tensor:
    """Weighted least squares under the constraint that the shares add up to ``total``: the last one is eliminated."""
    x = kept[:, :-1] - kept[:, -1:]  # (N, P - 1)
    y = answers - kept[:, -1] * total
    root = weights.sqrt()[:, None]
    found = torch.linalg.lstsq(root * x, root * y[:, None], driver="gelsd").solution[:, 0]
    return torch.cat([found, (total - found.sum()).reshape(1)])


def _all(count: int) -> tuple[Tensor, Tensor]:
    """Every coalition but none and all (2^P - 2, P), and its weight."""
    rows, weights = [], []
    for size in range(1, count):
        for members in combinations(range(count), size):
            rows.append([place in members for place in range(count)])
            weights.append((count - 1) / (math.comb(count, size) * size * (count - size)))
    return torch.tensor(rows), torch.tensor(weights, dtype=torch.float64)


def _drawn(count: int, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Coalitions drawn by their weight, each with its complement; so all count the same."""
    sizes = torch.arange(1, count, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    drawn = 1 + torch.multinomial(1 / (sizes * (count - sizes)), samples // 2, replacement=True, generator=generator)
    ranks = torch.rand(len(drawn), count, generator=generator).argsort(1).argsort(1)
    kept = ranks < drawn[:, None]
    return torch.cat([kept, ~kept]), torch.ones(2 * len(kept), dtype=torch.float64)
