"""What listens to a training: the base with every hook.

A leaf may keep a state, which then stands in checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corecur.engine.trainer import Trainer

Logs = dict[str, Any]


class Callback:
    """Base: every hook, doing nothing. ``trainer`` and ``model`` (the network) are there once training begins.

    ``logs`` holds the results so far: per batch the loss, per epoch the loss, metrics, learning rate and times.
    Setting ``self.trainer.stop_training = True`` ends the training after the batch or epoch.

    >>> [name for name in dir(Callback) if name.startswith("on_train")]
    ['on_train_batch_begin', 'on_train_batch_end', 'on_train_begin', 'on_train_end']
    """

    trainer: Trainer

    def attach(self, trainer: Trainer) -> None:
        """Called by the trainer before anything else."""
        self.trainer = trainer

    @property
    def model(self) -> Any:
        """The network in training."""
        return self.trainer.network

    def close(self) -> None:
        """Give back what is held open: called at the very end, also where an error or Ctrl-C ends the training."""

    def state(self) -> dict[str, Any]:
        """What decides the future, as plain values and tensors, for a checkpoint; nothing where nothing does."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what ``state`` gave: after ``on_train_begin`` and ``on_epoch_begin`` of a resumed training."""

    @property
    def hears_batches(self) -> bool:
        """Whether a batch hook is overridden; the trainer skips the others."""
        own = type(self)
        return (
            own.on_train_batch_begin is not Callback.on_train_batch_begin
            or own.on_train_batch_end is not Callback.on_train_batch_end
        )

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch and its validation; ``logs`` may be added to."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a step."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a step."""

    def on_validation_begin(self, logs: Logs | None = None) -> None:
        """Before a validation."""

    def on_validation_end(self, logs: Logs | None = None) -> None:
        """After a validation."""
