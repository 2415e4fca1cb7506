"""What the targets are on average: the answer that needs no input.

B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

#: Rows and steps whose targets are counted: enough for shares to a hundredth in most data, and then no more work.
MOST_ROWS, MOST_STEPS = 4096, 512


class TargetMeans:
    """Counts of class numbers, or sums of real targets, over the first steps of a training.

    >>> means = TargetMeans()
    >>> means.add(torch.tensor([0, 2, 2, 2]))
    >>> means.majority, means.classes, means.mean_for(torch.zeros(4, 4)).tolist()
    (0.75, 2, [0.25, 0.0, 0.75, 0.0])
    """

    def __init__(self) -> None:
        self.counts: Tensor | None = None
        self.sums: Tensor | None = None
        self.rows = 0
        self.steps = 0
        self.known = True

    def add(self, targets: Any) -> None:
        """Count a batch of targets (B, …); whatever is no single tensor makes the means unknown."""
        if not self.known or self.steps >= MOST_STEPS or self.rows >= MOST_ROWS:
            return
        if not isinstance(targets, Tensor) or targets.is_complex() or not targets.numel():
            self.known = False
            return
        self.steps += 1
        targets = targets.detach()
        if targets.is_floating_point():
            self._add_values(targets)
        else:
            self._add_numbers(targets)

    def _add_numbers(self, targets: Tensor) -> None:
        found = torch.bincount(targets.reshape(-1).clamp(min=-1).long() + 1)[1:].cpu()  # those below 0 do not count
        if self.counts is not None:
            width = max(len(found), len(self.counts))
            found = _widened(found, width) + _widened(self.counts, width)
        self.counts = found
        self.rows += len(targets)

    def _add_values(self, targets: Tensor) -> None:
        total = targets.double().sum(0).cpu()
        if self.sums is not None and self.sums.shape != total.shape:
            self.known = False
            return
        self.sums = total if self.sums is None else self.sums + total
        self.rows += len(targets)

    @property
    def majority(self) -> float | None:
        """The share of the most frequent class; None where targets are no class numbers or one-hot rows."""
        shares = self.shares()
        return None if shares is None else float(shares.max())

    @property
    def classes(self) -> int:
        """How many classes have been seen."""
        shares = self.shares()
        return 0 if shares is None else int((shares > 0).sum())

    def shares(self) -> Tensor | None:
        """The share of each class, (K,); None where targets are no class numbers, one-hot rows or 0 and 1."""
        if not self.known:
            return None
        if self.counts is not None:
            return None if not len(self.counts) else self.counts / self.counts.sum().clamp(min=1)
        if self.sums is None or self.sums.dim() > 1 or not self.rows:
            return None
        mean = self.sums / self.rows
        if mean.numel() == 1:  # a yes-or-no target of 0 and 1
            share = float(mean.reshape(-1)[0])
            return torch.tensor([1 - share, share]) if 0 <= share <= 1 else None
        return mean if float((mean.sum() - 1).abs()) < 1e-3 and bool((mean >= 0).all()) else None

    def mean_for(self, output: Any) -> Tensor | None:
        """The mean target in the form of one output row, or of its last axis; None where it is not known."""
        if not self.known or not isinstance(output, Tensor) or output.dim() < 1:
            return None
        size = output.shape[-1]
        if self.counts is not None:
            total = self.counts.sum().clamp(min=1)
            if size == 1:
                return (self.counts * torch.arange(len(self.counts))).sum().reshape(1) / total
            return None if len(self.counts) > size else _widened(self.counts, size) / total
        if self.sums is None:
            return None
        mean = self.sums / max(1, self.rows)
        return mean.reshape(1) if mean.dim() == 0 else mean

    def state(self) -> dict[str, Any]:
        """What was counted so far, for a checkpoint."""
        return {"counts": self.counts, "sums": self.sums, "rows": self.rows, "steps": self.steps, "known": self.known}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self.counts, self.sums = state["counts"], state["sums"]
        self.rows, self.steps, self.known = int(state["rows"]), int(state["steps"]), bool(state["known"])


def _widened(counts: Tensor, width: int) -> Tensor:
    return counts if len(counts) == width else torch.nn.functional.pad(counts, (0, width - len(counts)))
