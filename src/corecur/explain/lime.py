"""LIME: a linear model of the answer around one sample (Ribeiro et al. 2016).

N variants of the sample, P parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from corecur.explain.question import Question

_SAMPLES, _WIDTH, _RIDGE = 512, 0.75, 1e-3


def lime(question: Question, *, samples: int | None = None, seed: int = 0) -> Tensor:
    """The weights of a ridge regression from which parts are there to the answer.

    Variants with parts left out at random count the more, the more of the sample is there: ``exp(-d² / 0.75²)`` with d
    the share that is missing.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> lime(question).round(decimals=1)
    tensor([ 2., -3.], dtype=torch.float64)
    """
    count = question.count
    drawn = samples or max(_SAMPLES, 4 * count)
    generator = torch.Generator().manual_seed(seed)
    share = 0.5 + 0.5 * torch.rand(drawn, 1, generator=generator)  # how much of each variant is there
    kept = torch.rand(drawn, count, generator=generator) < share  # (N, P)
    kept[0] = True
    answers = question.scores_of(kept)
    missing = 1 - kept.double().mean(1)
    weights = torch.exp(-(missing**2) / _WIDTH**2)
    return question.spread(ridge(kept.double(), answers, weights, penalty=_RIDGE))


def ridge(x: Tensor, y: Tensor, weights: Tensor, *, penalty: float) -> Tensor:
    """The coefficients (P,) of a weighted ridge regression with a free intercept, for x (N, P) and y (N,).

    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).double()
    >>> ridge(x, 3 + x @ torch.tensor([2.0, -1.0]).double(), torch.ones(4).double(), penalty=1e-9).round(decimals=3)
    tensor([ 2., -1.], dtype=torch.float64)
    """
    share = weights / weights.sum()
    x, y = x - share @ x, y - share @ y
    gram = (x * share[:, None]).T @ x + penalty / len(x) * torch.eye(x.shape[1], dtype=x.dtype)
    found: Tensor = torch.linalg.solve(gram, (x * share[:, None]).T @ y)
    return found
