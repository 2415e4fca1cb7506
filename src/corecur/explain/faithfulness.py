"""Whether an explanation says what the network used, measured: deletion, insertion, shuffled weights.

R rankings, P parts, K steps of a curve.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from corecur.explain.attribution import Array, Faithfulness
from corecur.explain.question import Question

RANKINGS, STEPS = 20, 16
# Above this rank correlation, scores are much the same whatever the network has learned.
_SAME = 0.7
_BELOW, _ABOVE = 0.05, 0.95


def measure(
    question: Question,
    scores: Tensor,
    again: Callable[[Question], Tensor] | None = None,
    *,
    signed: bool,
    rankings: int = RANKINGS,
    steps: int = STEPS,
    seed: int = 0,
) -> Faithfulness:
    """The figures of an explanation's scores (places); ``again`` explains anew, once the weights are shuffled.

    Parts are taken away, and put back, in the order of the scores and in ``rankings`` random orders (Petsiuk et al.
    2018). A value is explained by what moves it, either way: parts go by the size of their scores.

    >>> from corecur.explain.question import plain_question
    >>> weights = torch.arange(8.0)
    >>> question = plain_question(lambda x: x @ weights - 9, torch.ones(8))
    >>> measure(question, weights, signed=True).is_faithful, measure(question, -weights, signed=True).is_faithful
    (True, False)
    """
    began = time.perf_counter()
    parts = question.by_part(scores)
    ordered = parts if signed and question.unit is None else parts.abs()
    generator = torch.Generator().manual_seed(seed)
    order = ordered.argsort(descending=True, stable=True)
    random = torch.rand(rankings, question.count, generator=generator).argsort(1)
    deleted, inserted = curves(question, torch.cat([order[None], random]), steps=steps)
    randomised = None if again is None else shuffled_correlation(question, parts, again, signed=signed, seed=seed)
    deletion, insertion = float(deleted[0]), float(inserted[0])
    by_chance = inserted[1:] - deleted[1:]
    problems = []
    if not bool(torch.isfinite(parts).all()) or float(parts.max() - parts.min() if len(parts) else 0) == 0:
        problems.append("all parts have the same score, so it ranks nothing")
    elif insertion - deletion <= float(by_chance.quantile(_ABOVE)):
        worse = insertion - deletion <= float(by_chance.mean())
        how = "no faster than" if worse else "hardly faster than"
        problems.append(f"taking away what it marks changes the answer {how} taking parts away at random")
    if randomised is not None and randomised > _SAME:
        problems.append("it ranks much the same where the weights are shuffled: it shows the sample, not the network")
    return Faithfulness(
        deletion=deletion,
        insertion=insertion,
        random_deletion=float(deleted[1:].mean()),
        random_insertion=float(inserted[1:].mean()),
        deletion_interval=(float(deleted[1:].quantile(_BELOW)), float(deleted[1:].quantile(_ABOVE))),
        insertion_interval=(float(inserted[1:].quantile(_BELOW)), float(inserted[1:].quantile(_ABOVE))),
        rankings=rankings,
        randomised=randomised,
        problems=tuple(problems),
        seconds=time.perf_counter() - began,
    )


def curves(question: Question, orders: Tensor, *, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """Areas under the curves of deletion and insertion for orders of parts (R, P): (R,) and (R,).

    At each of the steps a further share of the parts, the first of the order first, is away (or there).

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> deletion, insertion = curves(question, torch.tensor([[0, 1], [1, 0]]))
    >>> bool(deletion[0] < deletion[1]), bool(insertion[0] > insertion[1])
    (True, True)
    """
    count = orders.shape[1]
    taken = torch.linspace(0, count, min(steps, count) + 1).round().long()  # (K,)
    ranks = orders.argsort(1)  # (R, P): the place of each part in the order
    first = ranks[:, None, :] < taken[None, :, None]  # (R, K, P)
    found = []
    for kept in (~first, first):
        left = question.left(question.scores_of(kept.flatten(0, 1))).view(len(orders), len(taken))
        found.append(torch.trapezoid(left, taken.double() / max(count, 1), dim=1))
    return found[0], found[1]


def shuffled_correlation(
    question: Question, parts: Tensor, again: Callable[[Question], Tensor], *, signed: bool, seed: int = 0
) -> float:
    """The rank correlation of scores (P,) with those of the same network whose weights are shuffled.

    Each weight tensor keeps its values and loses their places (Adebayo et al. 2018, "Sanity Checks for Saliency Maps").

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> shuffled_correlation(question, torch.tensor([1.0, 2.0]), lambda other: other.inputs, signed=True)
    1.0
    """
    with shuffled_weights(question.network, seed=seed):
        other = question.by_part(again(question))
    return rank_correlation(parts, other) if signed else rank_correlation(parts.abs(), other.abs())


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's rank correlation, equal values sharing a rank; 0 where one side is constant.

    >>> rank_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 20.0, 90.0]))
    1.0
    """
    ranks = [_ranks(values.detach().cpu().numpy()) for values in (one, other)]
    spread = [float(values.std()) for values in ranks]
    if not all(spread):
        return 0.0
    found = float(((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())).mean() / (spread[0] * spread[1]))
    return max(-1.0, min(1.0, round(found, 12)))


@contextlib.contextmanager
def shuffled_weights(network: nn.Module, *, seed: int = 0) -> Iterator[None]:
    """A network whose weights stand at other places of their tensors meanwhile; its own weights are never written to.

    >>> layer = nn.Linear(4, 4)
    >>> before = layer.weight
    >>> with shuffled_weights(layer):
    ...     layer.weight is before, bool(layer.weight.sort().values.sum() - before.sum() < 1e-5)
    (False, True)
    >>> layer.weight is before
    True
    """
    generator = torch.Generator().manual_seed(seed)
    own: list[tuple[nn.Module, str, nn.Parameter]] = []
    others: dict[int, nn.Parameter] = {}
    try:
        for module in network.modules():
            for name, weight in module._parameters.items():
                if weight is None:
                    continue
                own.append((module, name, weight))
                if id(weight) not in others:
                    order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                    moved = weight.detach().flatten()[order].view(weight.shape)
                    others[id(weight)] = nn.Parameter(moved.contiguous(), requires_grad=weight.requires_grad)
        for module, name, weight in own:
            module._parameters[name] = others[id(weight)]
        yield
    finally:
        for module, name, weight in own:
            module._parameters[name] = weight


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    found: Array = ((ends - counts + ends - 1) / 2)[place]
    return found
