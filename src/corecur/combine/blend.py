"""How much each member of a combination counts, fitted on its answers to the validation split.

M members, N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: A weight below this share is none: the member is left out.
LEAST_WEIGHT = 1e-3
_ROUNDS = 20_000
# The least answer that a mixture is fitted with, and what the penalties of a stack are chosen from.
_FLOOR = 1e-12
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_FOLDS, _FOLD_ROUNDS = 5, 25


def mixture_weights(answers: Sequence[Tensor], labels: Tensor) -> Tensor:
    """The weights (M,), from 0 and of sum 1, of the average of ``answers`` (N, K) with the greatest likelihood.

    The likelihood is concave in the weights; expectation maximisation climbs to its top (Dempster et al. 1977).

    >>> sure, wrong = torch.tensor([[0.9, 0.1]] * 9), torch.tensor([[0.2, 0.8]] * 9)
    >>> mixture_weights([sure, wrong], torch.zeros(9, dtype=torch.int64)).tolist()
    [1.0, 0.0]
    """
    return likeliest_weights(torch.stack([a.double().gather(1, labels[:, None].long())[:, 0] for a in answers]))


def likeliest_weights(chosen: Tensor) -> Tensor:
    """The same weights (M,) from what members gave the truth of each sample, ``chosen`` (M, N).

    >>> likeliest_weights(torch.tensor([[0.5] * 9, [0.1] * 9])).tolist()
    [1.0, 0.0]
    """
    chosen = chosen.double().clamp_min(_FLOOR)
    weights = torch.full((len(chosen), 1), 1 / len(chosen), dtype=torch.float64)
    for _ in range(_ROUNDS):
        shares = weights * chosen
        moved = (shares / shares.sum(0)).mean(1, keepdim=True)
        step = float((moved - weights).abs().max())
        weights = moved
        if step < 1e-10:
            break
    return kept(weights[:, 0])


def kept(weights: Tensor) -> Tensor:
    """Weights (M,) of sum 1 without those that count for nothing.

    >>> kept(torch.tensor([0.5, 0.4999, 0.0001], dtype=torch.float64)).sum().item()
    1.0
    """
    least = torch.where(weights < LEAST_WEIGHT, 0.0, weights)
    return least / least.sum()


def quantile_weights(loss: Callable[[Tensor], Tensor], members: int) -> Tensor:
    """The weights (M,), from 0 and of sum 1, with the least ``loss``, convex in them: of averaged quantiles, say.

    >>> quantile_weights(lambda w: (w[0] - 0.25).square(), 2).tolist()
    [0.25, 0.75]
    """
    from scipy.optimize import minimize

    def value(given: object) -> tuple[float, object]:
        weights = torch.as_tensor(given, dtype=torch.float64).requires_grad_()
        found = loss(weights)
        (slope,) = torch.autograd.grad(found, weights)
        return float(found.detach()), slope.numpy()

    found = minimize(
        value, [1 / members] * members, jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * members,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: w * 0 + 1}],
        options={"ftol": 1e-12, "maxiter": 500},
    )  # fmt: skip
    best = torch.as_tensor(found.x, dtype=torch.float64).clamp_min(0)
    return kept((best / best.sum()).round(decimals=9))


class Stack(NamedTuple):
    """A linear layer over the logarithms of the members' answers: weight (K, M·K) and bias (K,).

    ``unseen`` (N, K) is what it says of each sample where it was fitted on the other folds, with the same penalty.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    unseen: Tensor


def stack_weights(answers: Sequence[Tensor], labels: Tensor, *, groups: Tensor | None = None) -> Stack:
    """The stack of members by their ``answers`` (N, K) to samples with these labels (N,).

    Multinomial logistic regression (Wolpert 1992) that starts from the geometric mean of the members and is held to it
    by a penalty on the squared distance, which is chosen by five folds: few samples hardly move it. Samples that depend
    on each other have one number in ``groups`` (N,), and stay in one fold.

    >>> answers = [torch.tensor([[0.9, 0.1], [0.2, 0.8]]).repeat(20, 1)] * 2
    >>> stack = stack_weights(answers, torch.tensor([0, 1]).repeat(20))
    >>> stack.weight.shape, stack.bias.shape
    (torch.Size([2, 4]), torch.Size([2]))
    """
    logs = torch.cat([a.double().clamp_min(1e-7).log() for a in answers], dim=1)  # (N, M·K)
    members, truth = len(answers), labels.long()
    fold = (torch.arange(len(logs)) if groups is None else groups) % _FOLDS
    # What the geometric mean says, where no fold is left to be fitted on.
    unseen = [logs.view(len(logs), members, -1).mean(1).clone() for _ in PENALTIES]
    for number in range(_FOLDS):
        held = fold == number
        if bool(held.all()) or not bool(held.any()):
            continue
        fitted = None
        for place in reversed(range(len(PENALTIES))):  # from the stiffest on, each from where the last one came to
            fitted = _fit_stack(logs[~held], truth[~held], members, PENALTIES[place], fitted, rounds=_FOLD_ROUNDS)
            unseen[place][held] = logs[held] @ fitted[0].T + fitted[1]
    losses = [float(F.cross_entropy(said, truth)) for said in unseen]
    best = min(range(len(PENALTIES)), key=lambda place: (losses[place], -place))
    return Stack(*_fit_stack(logs, truth, members, PENALTIES[best]), PENALTIES[best], unseen[best].softmax(1))


def _fit_stack(
    logs: Tensor,
    labels: Tensor,
    members: int,
    penalty: float,
    near: tuple[Tensor, Tensor] | None = None,
    *,
    rounds: int = 200,
) -> tuple[Tensor, Tensor]:
    classes = logs.shape[1] // members
    start = torch.eye(classes, dtype=torch.float64).repeat(1, members) / members  # (K, M·K)
    first = (start, torch.zeros(classes, dtype=torch.float64)) if near is None else near
    weight, bias = (value.clone().requires_grad_() for value in first)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=rounds, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logs @ weight.T + bias, labels)
        loss = loss + penalty * ((weight - start).square().sum() + bias.square().sum()) / 2
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
