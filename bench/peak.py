"""What the machine can do at best: large float32 products, timed in the same run as the contenders."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_SIZE = 1024


class Products:
    """Blocks of square products; a unit is one floating-point operation."""

    def __init__(self) -> None:
        self.a, self.b = torch.randn(2, _SIZE, _SIZE)
        self.out = torch.empty(_SIZE, _SIZE)

    def prove(self) -> Sequence[float]:
        return []

    def run(self) -> int:
        for _ in range(4):
            torch.mm(self.a, self.b, out=self.out)
        return 4 * 2 * _SIZE**3
