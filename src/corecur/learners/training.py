"""What a learner has trained, on what, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from corecur.data.batches import Batches
from corecur.engine.callback import Callback
from corecur.engine.callbacks import EarlyStopping
from corecur.engine.trainer import Trainer


@dataclass(frozen=True)
class Training:
    """What is trained on what, for how long; ``stopping`` ends it where the validation gets no better.

    ``test_seconds`` is about how long the test will take; a time budget keeps it back. ``callbacks`` are heard before
    ``stopping``, which may watch what they add to the results.
    """

    trainer: Trainer
    batches: Batches
    epochs: int
    validation: Batches | None = None
    validate_every: int = 1
    stopping: EarlyStopping | None = None
    test_seconds: float = 0.0
    callbacks: tuple[Callback, ...] = ()
