"""What the counts of a token in the classes say about a text that holds it, before any training.

N texts, V vocabulary, K classes, S tokens of all texts.
"""

from __future__ import annotations

import torch
from torch import Tensor


def log_count_ratios(
    tokens: Tensor, rows: Tensor, labels: Tensor, *, size: int, classes: int, smoothing: float = 1.0
) -> Tensor:
    """``r_vk = ln p(v | k) - ln p(v | not k)`` of each token and class, (size, classes) float32; row 0, padding, is 0.

    ``p(v | k)`` is the share that token v has of all the tokens in texts of class k, where a text counts a token once
    (Wang & Manning 2012, "Baselines and Bigrams"). To the counts of each token, ``2 · smoothing`` are added, parted
    as all tokens are between k and not k: a token that was never seen says nothing, however large the classes are.
    ``tokens`` (S,) whole numbers below ``size`` stand in the texts ``rows`` (S,), whose classes are ``labels`` (N,).

    >>> tokens, rows = torch.tensor([2, 2, 3, 4, 3]), torch.tensor([0, 0, 0, 1, 1])
    >>> log_count_ratios(tokens, rows, torch.tensor([0, 1]), size=5, classes=2)[2:, 0]
    tensor([ 0.6931,  0.0000, -0.6931])
    """
    once = torch.unique(rows * size + tokens)  # a number for each token of each text
    found, kind = once // size, once % size
    counts = torch.bincount(kind * classes + labels[found], minlength=size * classes).view(size, classes).double()
    counts[0] = 0
    share = counts.sum(0) / counts.sum().clamp(min=1)  # (K,)
    inside = counts + 2 * smoothing * share  # (V, K)
    outside = counts.sum(1, keepdim=True) - counts + 2 * smoothing * (1 - share)
    ratios = (inside / inside.sum(0)).log() - (outside / outside.sum(0)).log()
    ratios = ratios.nan_to_num(0.0, 0.0, 0.0)  # of a class without tokens
    ratios[0] = 0
    return ratios.float()
