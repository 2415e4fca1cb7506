"""What counts of tokens say of a text: the simple models beside a language model.

N tokens, V numbers of tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Tokens in a row that are counted: of characters, and of words, which hardly ever stand five in a row twice.
CHARACTERS, WORDS = 5, 3


def counted_losses(train: Array, test: Array, *, order: int, size: int) -> Array:
    """What each token number of ``test`` (N,) but the first costs a model of counts, (N - 1,) nats.

    The model knows how often up to ``order`` tokens stood in a row in ``train``; what it never saw it takes from fewer
    of them, and in the end from ``size`` equally likely ones (Witten & Bell 1991; Chen & Goodman 1998, equation 6).

    >>> counted_losses(np.array([0, 1, 0, 1, 0]), np.array([0, 1, 1]), order=2, size=2).round(3).tolist()
    [0.211, 1.946]
    """
    likely = np.full(len(test), 1 / size)
    seen, asked = np.zeros(len(train) + 1, np.int64), np.zeros(len(test) + 1, np.int64)
    for length in range(1, order + 1):
        before, held = seen[: len(train) - length + 1], asked[: len(test) - length + 1]  # the contexts' numbers
        if not len(before) or not len(held):
            break
        known, seen, counts = np.unique(
            before * size + train[length - 1 :], return_inverse=True, return_counts=True
        )  # fmt: skip
        context = known // size
        kinds, total = np.bincount(context), np.bincount(context, counts)
        wanted = held * size + test[length - 1 :]
        place = np.searchsorted(known, wanted).clip(max=len(known) - 1)
        found = (held >= 0) & (known[place] == wanted)
        asked = np.where(found, place, -1)
        there = np.where((held >= 0) & (held < len(kinds)), held, -1)
        kind = np.where(there >= 0, kinds[there], 0)
        count = np.where(found, counts[place], 0)
        now = likely[length - 1 :]
        sure = kind > 0
        now[sure] = ((count + kind * now)[sure]) / (total[there] + kind)[sure]
    losses: Array = -np.log(likely[1:])
    return losses


def counting_seconds(tokens: int, order: int) -> float:
    """About how long the counts take: a sort of all tokens for each length.

    >>> counting_seconds(1_000_000, 5) < 2
    True
    """
    return 0.05 + 2e-7 * tokens * order
