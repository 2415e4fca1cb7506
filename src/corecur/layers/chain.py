"""Linear chains: the sum over all paths through tags and the best of them, by products in pairs.

B batch, T time, K tags, N transitions (T - 1).

A path y_1 … y_n has the score s(y) = start[y_1] + Σ_t e_t[y_t] + Σ_t A[y_t, y_t+1] + end[y_n]. The step from one place
to the next is a matrix (K, K), and a stretch of the chain the product of its matrices: with sums and products it
counts all paths, with maxima and sums it finds the best one. Products are associative, so neighbours are multiplied in
pairs, all pairs at once: log2 T rounds of large products and no loop over time. Steps that are not real are moved to
the end, where their matrix is the identity.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_TINY = 1e-300  # of float64; the logarithm of a sum of nothing but impossible paths stays finite


class Scores(NamedTuple):
    """What a path is scored with: A (K, K) from row to column, start (K,) and end (K,)."""

    transitions: Tensor
    start: Tensor
    end: Tensor


def real_first(mask: Tensor) -> Tensor:
    """For each row the places of its real steps, then of the others, each in their order: (B, T).

    >>> real_first(torch.tensor([[False, True, True]]))
    tensor([[1, 2, 0]])
    """
    return (~mask).to(torch.uint8).argsort(dim=1, stable=True)


def log_partition(emissions: Tensor, scores: Scores, lengths: Tensor) -> Tensor:
    """``log Σ_y exp s(y)`` over all paths of each chain (B,); emissions (B, T, K), real in the first ``lengths``.

    Computed in float64 without logarithms in between; each product is divided by its largest value. Paths that fall
    behind the best by more than e^700 are lost. The gradient are the marginals. A chain of length 0 gives 0.

    >>> flat = Scores(torch.zeros(3, 3), torch.zeros(3), torch.zeros(3))
    >>> log_partition(torch.zeros(1, 2, 3), flat, torch.tensor([2]))  # log 9
    tensor([2.1972])
    """
    length = emissions.shape[1]
    real = torch.arange(length, device=emissions.device) < lengths.unsqueeze(1)  # (B, T)
    if length == 0:
        return emissions.sum((1, 2))
    values, peaks = _exp(emissions.double(), -1)  # (B, T, K), (B, T, 1)
    factors, peak = _exp(scores.transitions.double(), (0, 1))
    first, start = _exp(scores.start.double(), 0)
    last, end = _exp(scores.end.double(), 0)
    scale = (peaks.squeeze(-1) * real).sum(1) + peak.squeeze() * (lengths - 1) + start + end  # (B,)
    forward = first * values[:, 0]  # (B, K)
    if length > 1:
        product, grown = _product(factors, values[:, 1:], real[:, 1:])  # (B, K, K), (B,)
        forward, scale = torch.bmm(forward.unsqueeze(1), product).squeeze(1), scale + grown
    found = (forward @ last).clamp_min(_TINY).log() + scale
    return torch.where(lengths > 0, found, 0.0).to(emissions.dtype)


def _exp(x: Tensor, axes: int | tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """``exp(x - peak)`` and the peak, the largest value along these axes."""
    peak = x.detach().amax(axes, keepdim=True)
    return torch.exp(x - peak), peak


def _product(factors: Tensor, values: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """The product (B, K, K) of all steps of each chain, up to a factor whose logarithm (B,) is the second result.

    The first round, half of the work, is one product of matrices: ``factors`` (K, K) is the same in every step.
    """
    if values.shape[1] % 2:
        values, real = F.pad(values, (0, 0, 0, 1)), F.pad(real, (0, 1))
    left = factors * values[:, ::2].unsqueeze(-2)  # (B, N/2, K, K)
    both = (left @ factors) * values[:, 1::2].unsqueeze(-2)
    one = torch.eye(len(factors), dtype=factors.dtype, device=factors.device)
    product = torch.where(real[:, 1::2, None, None], both, torch.where(real[:, ::2, None, None], left, one))
    product, grown = _scaled(product)
    while product.shape[1] > 1:
        if product.shape[1] % 2:
            product = torch.cat([product, one.expand(len(product), 1, *one.shape)], 1)
        product, more = _scaled(product[:, ::2] @ product[:, 1::2])
        grown = grown + more
    return product.squeeze(1), grown


def _scaled(product: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices (B, N, K, K) of largest value 1, and the logarithm (B,) of what they were divided by."""
    largest = product.detach().amax((-2, -1), keepdim=True).clamp_min(_TINY)
    return product / largest, largest.log().sum((1, 2, 3))


def path_score(emissions: Tensor, scores: Scores, lengths: Tensor, tags: Tensor) -> Tensor:
    """s(y) of the paths ``tags`` (B, T), (B,); what stands after the first ``lengths`` steps does not matter.

    >>> flat = Scores(torch.ones(2, 2), torch.zeros(2), torch.zeros(2))
    >>> path_score(torch.ones(1, 3, 2), flat, torch.tensor([2]), torch.tensor([[0, 1, 1]]))
    tensor([3.])
    """
    if emissions.shape[1] == 0:
        return emissions.sum((1, 2))
    real = torch.arange(emissions.shape[1], device=emissions.device) < lengths.unsqueeze(1)  # (B, T)
    tags = tags.masked_fill(~real, 0)
    at = emissions.gather(2, tags.unsqueeze(-1)).squeeze(-1).masked_fill(~real, 0.0).sum(1)
    between = scores.transitions[tags[:, :-1], tags[:, 1:]].masked_fill(~real[:, 1:], 0.0).sum(1)
    final = tags.gather(1, (lengths - 1).clamp(min=0).unsqueeze(1)).squeeze(1)  # (B,)
    found = at + between + scores.start[tags[:, 0]] + scores.end[final]
    return torch.where(lengths > 0, found, 0.0)


@torch.no_grad()
def best_path(emissions: Tensor, scores: Scores, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The path of the largest score (Viterbi 1967): tags (B, T), of meaning in the first ``lengths`` steps, and s (B,).

    >>> flat = Scores(torch.zeros(2, 2), torch.zeros(2), torch.zeros(2))
    >>> best_path(torch.tensor([[[0.0, 1.0], [2.0, 0.0]]]), flat, torch.tensor([2]))
    (tensor([[1, 0]]), tensor([3.]))
    """
    batch, length, tags = emissions.shape
    if length == 0:
        return lengths.new_zeros(batch, 0), emissions.sum((1, 2))
    first = scores.start + emissions[:, 0]  # (B, K)
    if length == 1:
        score, path = (first + scores.end).max(1)
        return path.unsqueeze(1), torch.where(lengths > 0, score, 0.0)
    one = torch.full((tags, tags), -torch.inf, dtype=emissions.dtype, device=emissions.device).fill_diagonal_(0.0)
    real = torch.arange(1, length, device=emissions.device) < lengths.unsqueeze(1)  # (B, N)
    steps = torch.where(real[..., None, None], scores.transitions + emissions[:, 1:].unsqueeze(-2), one)
    rounds = []  # the stretches of each round, and how many of them are not filled up
    while steps.shape[1] > 1:
        size = steps.shape[1]
        if size % 2:
            steps = torch.cat([steps, one.expand(batch, 1, tags, tags)], 1)
        rounds.append((steps, size))
        steps = _best_pairs(steps[:, ::2], steps[:, 1::2])
    whole = first.unsqueeze(2) + steps.squeeze(1) + scores.end  # (B, K, K): from first tag to last
    score, at = whole.flatten(1).max(1)
    path = torch.stack([at // tags, at % tags], 1)  # (B, 2), the ends of the one stretch
    for halves, size in reversed(rounds):
        path = _with_middles(path, halves[:, ::2], halves[:, 1::2])[:, : size + 1]
    return path, torch.where(lengths > 0, score, 0.0)


def _best_pairs(left: Tensor, right: Tensor) -> Tensor:
    """max_k left[i, k] + right[k, j] for all pairs of (B, n, K, K): tag by tag, so that memory stays at K²."""
    best = left[..., :, 0, None] + right[..., 0, None, :]
    for k in range(1, left.shape[-1]):
        best = torch.maximum(best, left[..., :, k, None] + right[..., k, None, :])
    return best


def _with_middles(path: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Tags at the ends of n stretches (B, n + 1) with the best between their halves added, (B, 2n + 1)."""
    rows = torch.arange(len(path), device=path.device).unsqueeze(1)
    places = torch.arange(left.shape[1], device=path.device)
    from_left = left[rows, places, path[:, :-1]]  # (B, n, K)
    to_right = right.mT[rows, places, path[:, 1:]]  # (B, n, K)
    between = (from_left + to_right).argmax(-1)  # (B, n)
    return torch.cat([torch.stack([path[:, :-1], between], 2).flatten(1), path[:, -1:]], 1)
