"""Which training it is: what decides about it and is no part of its state, as plain values that can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from corecur.data.fingerprint import fingerprint
from corecur.engine.budget import StepBudget
from corecur.engine.losses import FunctionLoss
from corecur.engine.outputs import JointLoss

if TYPE_CHECKING:
    from corecur.engine.trainer import Trainer


def identity_of(trainer: Trainer) -> dict[str, Any]:
    """Data, loss, optimizer and settings of a training that has begun, by the names that people know."""
    batches, budget, rate, weights = trainer.batches, trainer.budget, trainer.rate, trainer.class_weights
    found: dict[str, Any] = {
        "optimizer": None if trainer.optimizer is None else in_words(trainer.optimizer),
        "schedule": None if rate is None else in_words(getattr(rate, "__self__", rate)),
        "scheduled_steps": budget.steps if rate is not None and isinstance(budget, StepBudget) else None,
        "clipping": None if trainer.clipping is None else repr(trainer.clipping),
        "loss": in_words(trainer.loss),
        "class_weight": None if weights is None else str({int(k): float(weights[k]) for k in sorted(weights)}),
        "bptt_steps": trainer.bptt_steps,
        "precision": str(trainer.precision).removeprefix("torch."),
    }
    if batches is not None:
        found |= {"samples": batches.samples, "batch_size": batches.batch_size, "data": fingerprint(batches)}
    return found


def in_words(part: Any) -> str:
    """An optimizer, a schedule or a loss as a text that is the same in every process.

    >>> from corecur.engine.losses import MeanSquaredError
    >>> in_words(JointLoss([MeanSquaredError(), FunctionLoss(abs)], [1.0, 0.5]))
    '1 MeanSquaredError() + 0.5 abs'
    """
    if isinstance(part, torch.optim.Optimizer):
        settings = (f"{name}={in_words(value)}" for name, value in sorted(part.defaults.items()) if value is not None)
        return f"{type(part).__name__}({', '.join(settings)})"
    if isinstance(part, JointLoss):
        return " + ".join(f"{w:g} {in_words(loss)}" for w, loss in zip(part.weights, part.losses, strict=True))
    if isinstance(part, FunctionLoss):
        return in_words(part.function)
    text = repr(part)
    if " at 0x" in text or text.startswith("<"):  # which is another in every process
        return str(getattr(part, "__qualname__", type(part).__qualname__))
    return text
