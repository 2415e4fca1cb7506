"""What the counts of a token in the classes say about a text that holds it, before any training.

N texts, V vocabulary, K classes, S tokens of all texts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from corecur.data.text.token_arrays import TokenArrays


def log_count_ratios(tokens: TokenArrays, labels: Tensor, *, size: int, classes: int, smoothing: float = 1.0) -> Tensor:
    """``r_vk = ln p(v | k) - ln p(v | not k)`` of each token and class, (size, classes) float32; row 0, padding, is 0.

    ``p(v | k)`` is the share that token v has of all the tokens in texts of class k, where a text counts a token once,
    and each count is ``smoothing`` more than was seen (Wang & Manning 2012, "Baselines and Bigrams"). A token that was
    never seen says next to nothing.

    >>> texts = TokenArrays.of([[2, 2, 3], [4, 3]])
    >>> log_count_ratios(texts, torch.tensor([0, 1]), size=5, classes=2)[2:, 0]
    tensor([ 0.6931,  0.0000, -0.6931])
    """
    lengths = tokens.lengths
    rows = torch.arange(len(tokens)).repeat_interleave(lengths)  # (S,)
    once = torch.unique(rows * size + tokens.flat.long())  # a number for each token of each text
    found, kind = once // size, once % size
    counts = torch.bincount(kind * classes + labels[found], minlength=size * classes).view(size, classes).double()
    counts[0] = 0
    smoothed = counts + smoothing  # (V, K)
    others = counts.sum(1, keepdim=True) - counts + smoothing
    ratios = (smoothed / smoothed.sum(0)).log() - (others / others.sum(0)).log()
    ratios[0] = 0
    return ratios.float()
