"""Many texts as numbers: all tokens in one tensor, and where each text begins.

Shapes: N texts, S tokens of all texts, B batch, T time (tokens of the longest text in a batch).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from corecur.errors import ConfigError, DataError

PADDING, UNKNOWN = 0, 1


@dataclass(frozen=True)
class TokenArrays:
    """Token numbers of N texts: ``flat`` (S,) int32, ``offsets`` (N+1,) int64; text n is at offsets n to n + 1 of flat.

    >>> arrays = TokenArrays.of([[5, 6], [], [7, 8, 9]])
    >>> len(arrays), arrays.lengths.tolist(), arrays.row(2).tolist()
    (3, [2, 0, 3], [7, 8, 9])
    """

    flat: Tensor
    offsets: Tensor

    def __post_init__(self) -> None:
        sound = self.flat.dim() == self.offsets.dim() == 1 and len(self.offsets) > 0 and int(self.offsets[0]) == 0
        if not sound or int(self.offsets[-1]) != len(self.flat) or bool((self.offsets.diff() < 0).any()):
            raise DataError(
                "flat and offsets do not fit each other",
                got=f"flat {tuple(self.flat.shape)}, offsets {tuple(self.offsets.shape)}",
                expected="rising offsets from 0 to the number of tokens",
            )

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> TokenArrays:
        """From a sequence of numbers for each text."""
        kept = list(rows)
        lengths = np.fromiter(map(len, kept), dtype=np.int64, count=len(kept))  # (N,)
        flat = np.fromiter(chain.from_iterable(kept), dtype=np.int32, count=int(lengths.sum()))  # (S,)
        return cls(torch.from_numpy(flat), _offsets(torch.from_numpy(lengths)))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """Tokens of each text, (N,) int64."""
        return self.offsets.diff()

    def row(self, number: int) -> Tensor:
        """The tokens of one text, (length,) int64."""
        return self.flat[int(self.offsets[number]) : int(self.offsets[number + 1])].long()

    def take(self, rows: Tensor) -> TokenArrays:
        """The texts at ``rows`` (M,) int64, in that order."""
        starts, lengths = self.offsets[rows], self.lengths[rows]  # (M,)
        offsets = _offsets(lengths)
        within = torch.arange(int(offsets[-1])) - offsets[:-1].repeat_interleave(lengths)
        return TokenArrays(self.flat[starts.repeat_interleave(lengths) + within], offsets)

    def cut(self, longest: int, *, tail: int = 0) -> TokenArrays:
        """Every text within ``longest`` tokens: its first ones, or with ``tail`` its first ``longest - tail`` and last.

        >>> TokenArrays.of([range(9)]).cut(4, tail=1).row(0).tolist()
        [0, 1, 2, 8]
        """
        if longest < 1 or not 0 <= tail <= longest:
            raise ConfigError(
                "this cut cannot be made",
                got=f"longest {longest}, tail {tail}",
                expected="1 token or more, and no more of them from the end",
            )
        lengths = self.lengths
        if len(self) == 0 or int(lengths.max()) <= longest:
            return self
        place = torch.arange(len(self.flat)) - self.offsets[:-1].repeat_interleave(lengths)  # (S,)
        whole = lengths.repeat_interleave(lengths)  # (S,) the length of the text a token is of
        kept = (whole <= longest) | (place < longest - tail) | (place >= whole - tail)
        return TokenArrays(self.flat[kept], _offsets(lengths.clamp(max=longest)))

    def padded(self, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Texts (all, or at ``rows`` (B,)) side by side: tokens (B, T) int64, 0 on the right, and mask (B, T) bool.

        T is that of the longest of them, and at least 1, so that a text without tokens is a row of padding.

        >>> TokenArrays.of([[5, 6, 7], [8]]).padded()[0].tolist()
        [[5, 6, 7], [8, 0, 0]]
        """
        starts = self.offsets[:-1] if rows is None else self.offsets[rows]
        lengths = self.lengths if rows is None else self.lengths[rows]
        time = max(1, int(lengths.max()) if len(lengths) else 0)
        steps = torch.arange(time)
        mask = steps < lengths[:, None]  # (B, T)
        tokens = torch.zeros(mask.shape, dtype=torch.int64)
        tokens[mask] = self.flat[(starts[:, None] + steps)[mask]].long()
        return tokens, mask

    @property
    def unknown_share(self) -> float:
        """The share of tokens that are not in the vocabulary; 0 where there is no token."""
        return float((self.flat == UNKNOWN).double().mean()) if len(self.flat) else 0.0

    def without_known(self) -> Tensor:
        """The places of texts with nothing but unknown tokens, or with none at all: (M,) int64, rising.

        >>> TokenArrays.of([[5, 1], [1, 1], []]).without_known().tolist()
        [1, 2]
        """
        known = torch.cat([torch.zeros(1, dtype=torch.int64), (self.flat > UNKNOWN).cumsum(0)])  # (S+1,)
        return (known[self.offsets].diff() == 0).nonzero()[:, 0]


def _offsets(lengths: Tensor) -> Tensor:
    """Where each row begins: (N,) lengths -> (N+1,) offsets."""
    return torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
