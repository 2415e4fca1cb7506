"""What the machine can do at best, timed in the same run: large float32 products, or sums in registers alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from corecur.kernels.peak import peak_operations

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


class MultiplyAdds:
    """Multiplications and additions in registers alone, on all threads; a unit is one floating-point operation.

    The rate is the best of many short tries, since a thread that waits for its core would count as a slow one.
    """

    def prove(self) -> Sequence[float]:
        return []

    def run(self) -> int:
        began = time.perf_counter()
        rate = peak_operations(torch.get_num_threads(), tries=8)
        return round(rate * (time.perf_counter() - began))
