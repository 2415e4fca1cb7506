"""Blocks of steps, for work whose steps take very different times."""

from __future__ import annotations

import time
from collections.abc import Callable

BLOCK_SECONDS = 0.05


def run_block(step: Callable[[], object]) -> int:
    """As many steps as fit in a block, one at least; how many there were.

    >>> run_block(lambda: time.sleep(BLOCK_SECONDS))
    1
    """
    began, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - began < BLOCK_SECONDS:
        step()
        steps += 1
    return steps
