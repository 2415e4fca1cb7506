"""Healing a training on the spot: a bound on gradients, a lower rate, the way back to the last good weights.

All that decides is computed from losses and gradients alone, so that the same seed heals in the same way, and what was
done stands in checkpoints: a healed run resumes like any other.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import torch

from corecur.engine.clipping import Clipping
from corecur.engine.optimizer import set_rate
from corecur.engine.optimizer_state import check_optimizer_state, optimizer_state, restore_optimizer
from corecur.engine.packing import frozen
from corecur.engine.training_state import tensors_of
from corecur.finding import Finding

if TYPE_CHECKING:
    from corecur.engine.trainer import Trainer

#: What the rate is multiplied by each time, and how often at most.
SLOWER, MOST_TIMES = 0.3, 8
# Losses that are averaged, and the factor above the first ones from which a training has run away.
_REACH, _RUN_AWAY = 5, 2.0
_HEALED = frozenset({"exploding-gradients", "learning-rate-too-high"})
# Steps from one look at whether the weights are good to the next.
_EVERY = 32


class Healer:
    """Heals the training of one trainer; ``after_step`` says what was done, in words."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.given = trainer.clipping
        self.bound: float | None = None
        self.times = 0
        self._losses: list[float] = []
        self._norms: list[float] = []
        self._first: float | None = None
        self._best = math.inf
        self._heard: set[str] = set()
        self._good: dict[str, Any] | None = None

    def before_step(self) -> None:
        """Before the first step: the weights it begins with are good ones."""
        if self._good is None:
            self._keep()

    def after_step(
        self, loss: float, norm: float, *, refused: bool, bad_batch: bool, findings: Collection[Finding]
    ) -> Iterator[str]:
        """Look at a step, and heal where that is called for."""
        kinds = {finding.kind for finding in findings} - self._heard
        self._heard |= kinds & _HEALED
        if "exploding-gradients" in kinds and self.bound is None and self.trainer.clipping is None:
            yield self._clip()
        if refused and bad_batch:  # the samples are to blame, and the step was left out
            return
        if not refused:
            self._losses = [*self._losses[1 - _REACH :], loss]
            self._norms = [*self._norms[-63:], norm]
            self._first = loss if self._first is None else self._first
        whole = len(self._losses) == _REACH
        mean = fmean(self._losses) if self._losses else math.inf
        away = whole and self._first is not None and mean > _RUN_AWAY * self._first
        if (refused or away or "learning-rate-too-high" in kinds) and self.times < MOST_TIMES:
            yield self._go_back("a step was not finite" if refused else "the loss ran away" if away else
                                "the learning rate was too high")  # fmt: skip
            if refused and self.bound is None and self.trainer.clipping is None:
                yield self._clip()
        elif whole and self.trainer.step % _EVERY == 0 and mean <= self._best:
            self._best = mean
            self._keep()

    def _clip(self) -> str:
        """Bound the norm of the gradient: by what was usual so far, at most 1."""
        usual = median(self._norms) if self._norms else 1.0
        self.bound = min(1.0, usual) if math.isfinite(usual) and usual > 0 else 1.0
        self.trainer.clipping = Clipping(norm=self.bound)
        return f"from step {self.trainer.step + 1} the norm of the gradient is bounded by {self.bound:.3g}"

    def _go_back(self, why: str) -> str:
        """The last good weights, and a lower rate."""
        trainer, good = self.trainer, self._good
        self.times += 1
        trainer.guard.rate_share *= SLOWER
        if good is not None:
            self._restore(frozen(good))  # a copy: the optimiser goes on to change what it is given
        if trainer.rate is None and trainer.optimizer is not None:
            before = trainer._rate_now() if good is None else float(good["rate"])
            set_rate(trainer.optimizer, before * SLOWER)
            if good is not None:
                good["rate"] = before * SLOWER
        self._losses = []
        step = 0 if good is None else good["step"]
        return (f"{why}: at step {trainer.step} back to the weights of step {step}, with "
                f"{trainer.guard.rate_share:.3g} of the learning rate")  # fmt: skip

    def _keep(self) -> None:
        trainer = self.trainer
        optimizer = None if trainer.optimizer is None else optimizer_state(trainer.optimizer)
        self._good = frozen({"step": trainer.step, "rate": trainer._rate_now(), "network": tensors_of(trainer.network),
                             "optimizer": optimizer})  # fmt: skip

    def _restore(self, good: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for name, tensor in tensors_of(self.trainer.network).items():
                tensor.copy_(good["network"][name])
        if self.trainer.optimizer is not None:
            check_optimizer_state(self.trainer.optimizer, good["optimizer"])
            restore_optimizer(self.trainer.optimizer, good["optimizer"])

    def close(self) -> None:
        """Let the trainer be bounded as it was."""
        if self.bound is not None:
            self.trainer.clipping = self.given

    def state(self) -> dict[str, Any]:
        """What decides the future, for a checkpoint."""
        best = self._best if math.isfinite(self._best) else None
        return {"bound": self.bound, "times": self.times, "losses": self._losses, "norms": self._norms,
                "first": self._first, "best": best, "good": self._good, "heard": sorted(self._heard)}  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over a state saved by ``state``."""
        self.bound, self.times = state["bound"], int(state["times"])
        self.trainer.clipping = self.given if self.bound is None else Clipping(norm=float(self.bound))
        self._losses, self._norms = list(state["losses"]), list(state["norms"])
        self._first, self._good, self._heard = state["first"], state["good"], set(state["heard"])
        self._best = math.inf if state["best"] is None else float(state["best"])
