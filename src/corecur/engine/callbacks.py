"""The callbacks that come with the package."""

from __future__ import annotations

import csv
import inspect
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from corecur.engine.callback import Callback, Logs
from corecur.engine.monitor import Monitor
from corecur.engine.plateau import Plateau
from corecur.errors import ConfigError, RunError

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "WeightAverage",
]


class LambdaCallback(Callback):
    """Calls the functions given for the hooks of those names.

    >>> LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs)).on_epoch_end(3, {"loss": 0.5})
    3 {'loss': 0.5}
    """

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        for name, function in hooks.items():
            if not name.startswith("on_") or not hasattr(Callback, name):
                known = [hook for hook in dir(Callback) if hook.startswith("on_")]
                raise ConfigError(f"there is no hook {name!r}", expected=", ".join(known))
            setattr(self, name, function)

    @property
    def hears_batches(self) -> bool:
        return "on_train_batch_begin" in vars(self) or "on_train_batch_end" in vars(self)


class EarlyStopping(Callback):
    """Stops when a result has not improved for ``patience`` epochs; restores the best weights if asked.

    With a ``baseline``, only results better than it count as an improvement that is worth waiting on for.
    Stands after a ``WeightAverage``, whose averages are then what is kept and restored.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
        only_when_stopped: bool = False,
        verbose: int = 0,
    ) -> None:
        self.monitor = monitor
        self.min_delta = min_delta
        self.patience = patience
        self.mode = mode
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.only_when_stopped = only_when_stopped
        self.verbose = verbose
        self.best_epoch = 0
        self.stopped_epoch: int | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._best = Monitor(self.monitor, self.mode, self.min_delta)
        self._waited = 0
        self._weights: dict[str, Tensor] | None = None
        self.stopped_epoch = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if epoch < self.start_from_epoch or not self._best.is_due(self.trainer):
            return
        self._waited += 1
        if self._best.improves(logs):
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._weights = copy_of(self.model.state_dict())
            if self.baseline is None or self._best.beats(self.baseline):
                self._waited = 0
        elif self._waited >= max(1, self.patience):
            self.stopped_epoch = epoch
            self.trainer.stop_training = True
            if self.verbose:
                print(f"epoch {epoch + 1}: {self.monitor} has not improved since epoch {self.best_epoch + 1}, stopping")

    def state(self) -> dict[str, Any]:
        kept = {"weights": self._weights, "best_epoch": self.best_epoch, "stopped_epoch": self.stopped_epoch}
        return {"best": self._best.best, "waited": self._waited, **kept}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._best.best, self._waited, self._weights = state["best"], int(state["waited"]), state["weights"]
        self.best_epoch, self.stopped_epoch = state["best_epoch"], state["stopped_epoch"]

    def on_train_end(self, logs: Logs | None = None) -> None:
        # A schedule that ran to its end leaves better weights than the best epoch of a small validation split.
        if self._weights is not None and (self.stopped_epoch is not None or not self.only_when_stopped):
            self.model.load_state_dict(self._weights)


class ModelCheckpoint(Callback):
    """Saves the model at the end of each epoch; the path may name results: ``best-{epoch:02d}-{val_loss:.2f}``."""

    def __init__(
        self,
        filepath: str | Path,
        *,
        monitor: str = "val_loss",
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.filepath = str(filepath)
        self.monitor = monitor
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.mode = mode
        self.verbose = verbose

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._best = Monitor(self.monitor, self.mode)

    def state(self) -> dict[str, Any]:
        return {"best": self._best.best}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._best.best = state["best"]

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_best_only and not (self._best.is_due(self.trainer) and self._best.improves(logs)):
            return
        try:
            path = self.filepath.format(epoch=epoch + 1, **(logs or {}))
        except (KeyError, IndexError) as error:
            raise ConfigError(
                f"the checkpoint path names {error}, which this training does not compute", got=self.filepath
            ) from error
        save = self.model.save_weights if self.save_weights_only else self.model.save
        save(path)
        if self.verbose:
            print(f"epoch {epoch + 1}: saved {path}")


class LearningRateScheduler(Callback):
    """Sets the rate of each epoch to ``schedule(epoch, rate)``, or ``schedule(epoch)`` if that is all it takes."""

    def __init__(self, schedule: Callable[..., float], *, verbose: int = 0) -> None:
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        places = inspect.signature(self.schedule).parameters.values()
        alone = len(places) == 1 and all(place.kind is not place.VAR_POSITIONAL for place in places)
        arguments = (epoch,) if alone else (epoch, self.trainer.learning_rate)
        rate = float(self.schedule(*arguments))
        self.trainer.learning_rate = rate
        if self.verbose:
            print(f"epoch {epoch + 1}: learning rate {rate:g}")


class ReduceLROnPlateau(Callback):
    """Multiplies the rate by ``factor`` when a result has not improved for ``patience`` epochs."""

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        verbose: int = 0,
    ) -> None:
        self.monitor = monitor
        self.factor = factor
        self.patience = patience
        self.mode = mode
        self.min_delta = min_delta
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.verbose = verbose

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._watched = Monitor(self.monitor, self.mode)
        self._plateau = Plateau(
            factor=self.factor,
            patience=self.patience,
            min_delta=self.min_delta,
            cooldown=self.cooldown,
            min_lr=self.min_lr,
            mode="max" if self._watched.sign > 0 else "min",
        )

    def state(self) -> dict[str, Any]:
        return self._plateau.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._plateau.load_state(state)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if not self._watched.is_due(self.trainer):
            return
        rate = self.trainer.learning_rate
        lowered = self._plateau.update(self._watched.value(logs), rate)
        if lowered != rate:
            self.trainer.learning_rate = lowered
            if self.verbose:
                print(f"epoch {epoch + 1}: learning rate lowered to {lowered:g}")


class TerminateOnNaN(Callback):
    """Stops as soon as a loss is NaN or infinite."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            print(f"batch {batch}: the loss is {float(loss)}, stopping")
            self.trainer.stop_training = True


class CSVLogger(Callback):
    """Writes each epoch's results as a row of a CSV file."""

    def __init__(self, filename: str | Path, *, separator: str = ",", append: bool = False) -> None:
        self.filename = Path(filename)
        self.separator = separator
        self.append = append
        self._file: IO[str] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._columns: list[str] = []
        keep = self.append or self.trainer.resumes
        try:
            if keep and self.filename.exists():
                with self.filename.open(newline="", encoding="utf-8") as file:
                    self._columns = next(csv.reader(file, delimiter=self.separator), [])
            self._file = self.filename.open("a" if keep else "w", newline="", encoding="utf-8")
        except OSError as error:
            raise RunError("the CSV log cannot be written", where=self.filename, got=error.strerror) from error
        self._writer: Any = None

    def state(self) -> dict[str, Any]:
        return {"columns": self._columns, "bytes": 0 if self._file is None else self._file.tell()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        # What came after the state is written again; a file that became shorter has lost rows, or was removed.
        if self._file is not None:
            size = self._file.seek(0, os.SEEK_END)
            self._columns, self._writer = list(state["columns"]) if size else [], None
            self._file.truncate(min(size, int(state["bytes"])))
            self._file.seek(0, os.SEEK_END)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._file is None:
            return
        row = {"epoch": epoch} | {k: v for k, v in (logs or {}).items() if isinstance(v, (int, float))}
        if self._writer is None:
            has_header = bool(self._columns)
            self._columns = self._columns or [*row, *self._columns_to_come()]
            self._writer = csv.DictWriter(self._file, self._columns, delimiter=self.separator, extrasaction="ignore")
            if not has_header:
                self._writer.writeheader()
        self._writer.writerow(row)
        self._file.flush()

    def _columns_to_come(self) -> list[str]:
        """What the first validation will add, if there was none in the first epoch."""
        if self.trainer.validated or not self.trainer.validates:
            return []
        return ["val_loss", *(f"val_{metric.name}" for metric in self.trainer.metrics)]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class TensorBoard(Callback):
    """Writes each epoch's results for TensorBoard (the extra ``corecur[tensorboard]``)."""

    def __init__(self, log_dir: str | Path = "logs") -> None:
        self.log_dir = Path(log_dir)
        self._writer: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._writer = self._opened()
        self._epochs = 0

    def state(self) -> dict[str, Any]:
        return {"epochs": self._epochs}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._epochs = int(state["epochs"])
        self._writer.close()
        self._writer = self._opened(purge_step=self._epochs)  # what was written after the state is left out

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, value in (logs or {}).items():
            if isinstance(value, (int, float)):
                self._writer.add_scalar(name, value, epoch)
        self._epochs = epoch + 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _opened(self, **options: Any) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "the TensorBoard callback needs the tensorboard package", do="pip install 'corecur[tensorboard]'"
            ) from error
        return SummaryWriter(str(self.log_dir), **options)


class AveragedWeights(Callback):
    """Trains as ever, but validates and ends with an average of the weights; a subclass says after which steps and how.

    Stands before an ``EarlyStopping``, which then keeps and restores averages.
    """

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._average = copy_of(self.model.state_dict())
        self._updates = 0
        self._kept: dict[str, Tensor] | None = None

    def state(self) -> dict[str, Any]:
        return {"average": self._average, "updates": self._updates, "kept": self._kept}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._average = {name: tensor.to(self._average[name].device) for name, tensor in state["average"].items()}
        self._updates, self._kept = int(state["updates"]), state["kept"]

    def on_validation_begin(self, logs: Logs | None = None) -> None:
        if self._has_average():
            self._kept = copy_of(self.model.state_dict())
            self._take_average()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        # Not at the end of the validation: whoever keeps or saves weights at the end of an epoch gets the average.
        if self._kept is not None:
            self.model.load_state_dict(self._kept)
            self._kept = None

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._has_average():
            self._take_average()

    def _has_average(self) -> bool:
        """Whether the average stands for the weights already."""
        return True

    def _take_average(self) -> None:
        self.model.load_state_dict(self._average)


class WeightAverage(AveragedWeights):
    """Trains as ever, but validates and ends with an exponential average of the weights (Polyak & Juditsky 1992).

    The average follows with ``decay``, less in the first steps, so that it forgets where it began.
    """

    def __init__(self, decay: float = 0.999, *, every: int = 1) -> None:
        if not 0.0 <= decay < 1.0:
            raise ConfigError("the decay of a weight average lies in [0, 1)", got=decay)
        self.decay = decay
        self.every = every

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.trainer.step % self.every:
            return
        self._updates += 1
        decay = min(self.decay**self.every, (1 + self._updates) / (10 + self._updates))
        averaged, current = [], []
        for name, tensor in self.model.state_dict().items():
            if tensor.dtype.is_floating_point:
                averaged.append(self._average[name])
                current.append(tensor)
            else:
                self._average[name].copy_(tensor)
        torch._foreach_lerp_(averaged, current, 1 - decay)


def copy_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict whose tensors are copies."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}
