"""The learning-rate range test: one short training over growing rates shows which rate to train with.

K steps; the rate of step k is lowest · (highest / lowest)^(k / (K - 1)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from corecur.data.batches import Batch, Batches
from corecur.engine.snapshot import Snapshot
from corecur.engine.trainer import Trainer
from corecur.errors import ConfigError, RunError

# The test ends where the running mean of the loss, over about ten steps, is four times the lowest seen (fastai's rule).
_MEMORY = 0.9
_LOST = 4.0
# Steps on either side that a point of the smoothed curve averages, as a share of all steps.
_REACH = 0.05


@dataclass(frozen=True)
class RateRange:
    """What a range test found: the ``rates`` tried, the loss ``measured`` at each and the smoothed ``losses``.

    >>> found = RateRange(rates=(0.01, 0.1, 1.0, 10.0), measured=(2.3, 2.2, 1.0, 4.0), losses=(2.3, 2.2, 1.0, 4.0))
    >>> found.suggestion
    0.1
    """

    rates: tuple[float, ...]
    measured: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def suggestion(self) -> float:
        """The rate where the smoothed loss falls most steeply over the logarithm of the rate.

        The test is Smith's (2017, "Cyclical learning rates", arXiv 1506.01186, section 3.3), the rule that of fastai
        (Howard & Gugger 2020, arXiv 2002.04688). RunError where the loss fell at no rate.
        """
        losses = self.losses
        lowest = losses.index(min(losses))
        slopes = {k: (losses[k + 1] - losses[max(0, k - 1)]) / min(k + 1, 2) for k in range(lowest)}
        if not slopes or min(slopes.values()) >= 0:
            raise RunError(
                "the loss fell at none of the rates tried",
                got=f"rates {self.rates[0]:g} … {self.rates[-1]:g}",
                do="begin with a lower rate, take more steps, or check that targets belong to inputs",
            )
        return self.rates[min(slopes, key=slopes.__getitem__)]


def find_rate(
    trainer: Trainer, batches: Batches, *, rates: tuple[float, float] = (1e-7, 10.0), steps: int = 100
) -> RateRange:
    """Train for up to ``steps`` steps over rates from the lower to the higher, then put everything back.

    Network, optimiser and random numbers are afterwards what they were, bit for bit; of ``trainer`` itself only the
    parts are used. The test ends early where the loss runs away. ConfigError for rates or steps that make no range,
    RunError where the first loss is not finite.
    """
    lowest, highest = rates
    if not 0 < lowest < highest < math.inf or steps < 10:
        raise ConfigError(
            "these rates make no range",
            got=f"{lowest:g} … {highest:g} in {steps} steps",
            expected="two rates above 0, the lower first, and 10 steps or more",
        )
    growth = (highest / lowest) ** (1 / (steps - 1))
    probe = Trainer(
        trainer.network,
        loss=trainer.loss,
        optimizer=trainer.optimizer,
        rate=lambda step, progress: lowest * growth**step,
        clipping=trainer.clipping,
        precision=trainer.precision,
        class_weights=trainer.class_weights,
    )
    snapshot = Snapshot(trainer.network, trainer.optimizer)
    try:
        probe.begin(batches, epochs=1)
        measured = list(_until_lost(probe, islice(_endless(batches), steps)))
    finally:
        snapshot.restore()
    if not measured:
        raise RunError("there is no finite loss to begin with", do="check the data for NaN, and the loss function")
    curve = tuple(smoothed(measured, reach=max(1, round(steps * _REACH))))
    return RateRange(tuple(lowest * growth**step for step in range(len(measured))), tuple(measured), curve)


def _endless(batches: Batches) -> Iterator[Batch]:
    for epoch in count():
        left = batches.epoch(epoch)
        first = next(left, None)
        if first is None:
            return
        yield first
        yield from left


def _until_lost(trainer: Trainer, batches: Iterator[Batch]) -> Iterator[float]:
    """The loss of each step, up to the first that shows the training is running away."""
    total, weight, best = 0.0, 0.0, math.inf
    for batch in batches:
        loss = float(trainer.train_step(batch)[0])
        if not math.isfinite(loss):
            return
        yield loss
        total, weight = _MEMORY * total + (1 - _MEMORY) * loss, _MEMORY * weight + (1 - _MEMORY)
        best = min(best, total / weight)
        if total / weight > _LOST * best:
            return


def smoothed(values: Sequence[float], *, reach: int) -> Iterator[float]:
    """Each value averaged with up to ``reach`` neighbours on either side: no lag, so a bend stays at its rate.

    >>> list(smoothed([0.0, 3.0, 6.0, 3.0], reach=1))
    [1.5, 3.0, 4.0, 4.5]
    """
    for k in range(len(values)):
        near = values[max(0, k - reach) : k + reach + 1]
        yield sum(near) / len(near)
