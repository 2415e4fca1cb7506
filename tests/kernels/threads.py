"""For tests that depend on how many threads there are: a fixture, and a block of so many."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def threads() -> Iterator[Callable[[int], None]]:
    """One thread, so that a busy machine does not wait for itself at every small operation; a test may set more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch.set_num_threads
    torch.set_num_threads(before)


@contextlib.contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """So many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
