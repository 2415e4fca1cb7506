"""What an epoch adds up."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Tally:
    """How far an epoch has come, and what its results are made of.

    >>> import torch
    >>> tally = Tally(torch.zeros(()))
    >>> tally.add(torch.tensor(0.5), 4)
    >>> tally.batches, tally.samples, float(tally.total)
    (1, 4, 2.0)
    """

    total: Tensor  # the sum of the losses of samples, a scalar
    samples: int = 0
    batches: int = 0
    waited: float = 0.0  # seconds
    seconds: float = 0.0

    def add(self, loss: Tensor, size: int) -> None:
        """Count a batch; one of size 0 was left out."""
        self.batches += 1
        if size:
            self.total.add_(loss, alpha=size)
            self.samples += size
