"""A short training with everything that has a state, as often as one likes from the same beginning."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corecur.data.batches import Batches, TensorBatches
from corecur.engine.accuracy import Accuracy
from corecur.engine.callback import Callback, Logs
from corecur.engine.callbacks import EarlyStopping
from corecur.engine.checkpoint import CheckpointFolder
from corecur.engine.checkpointing import Checkpointing, Interval
from corecur.engine.crossentropy import SparseCategoricalCrossentropy
from corecur.engine.monitor import Monitor
from corecur.engine.packing import pack
from corecur.engine.trainer import Trainer
from corecur.engine.training_state import TrainingState, tensors_of

STEPS, EPOCHS = 5, 3  # in an epoch, and how many of those


class KilledError(Exception):
    """What a SIGKILL is here: nobody catches it, and nothing is written after it."""


class Kill(Callback):
    """Ends a training in the middle of the hook after a step, or inside a validation."""

    def __init__(self, step: int | None = None, *, validation: int | None = None) -> None:
        self.step, self.validation = step, validation

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.trainer.step == self.step:
            raise KilledError

    def on_validation_begin(self, logs: Logs | None = None) -> None:
        if self.validation == self.trainer.epoch:
            raise KilledError


class Settled(Callback):
    """Lets no step begin before the last checkpoint is written, so that each test resumes where it means to."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        kept = self.trainer.checkpoints
        if kept is not None and kept._job is not None:
            kept._job.exception()


def same_numbers() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(64, 3),
    )  # fmt: skip


def samples(count: int = 18, seed: int = 1) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 6, 6, generator=made), torch.randint(3, (count,), generator=made)


def trainer(
    net: nn.Module | None = None, *, optimizer: Callable[..., torch.optim.Optimizer] | None = None, **options: Any
) -> Trainer:
    net = network() if net is None else net
    make = optimizer or (lambda weights: torch.optim.Adam(weights, lr=0.01))
    options = {"loss": SparseCategoricalCrossentropy(from_logits=True), "metrics": [Accuracy()]} | options
    return Trainer(net, optimizer=make(net.parameters()), **options)


def batches(**options: Any) -> Batches:
    x, y = samples()
    return TensorBatches(x, y, **({"batch_size": 4, "shuffle": True, "seed": 3} | options))


def keeper(folder: Path, *, resume: bool = False, every: int = 1, **options: Any) -> Checkpointing:
    held = CheckpointFolder(folder, tell=options.get("tell", lambda line: None))
    options = {"monitor": Monitor("val_loss")} | options
    return Checkpointing(held, every=Interval(steps=every), resume=held.newest() if resume else None, **options)


def fit(
    folder: Path | None = None, *callbacks: Callback, resume: bool = False, settled: bool = True, **options: Any
) -> Trainer:
    """The training; kept in a folder, or gone on with from there."""
    same_numbers()
    callbacks = (Settled(), *callbacks) if settled else callbacks
    train = options.pop("trainer", trainer)()
    x, y = samples(8, seed=2)
    kept = None if folder is None else keeper(folder, resume=resume, **options)
    train.fit(
        batches(), epochs=EPOCHS, validation=TensorBatches(x, y, batch_size=4),
        callbacks=[EarlyStopping(patience=9, restore_best_weights=True), *callbacks], checkpoints=kept,
    )  # fmt: skip
    return train


PARTS = ("network", "optimizer", "metrics", "carried", "random", "guard")


def end_of(train: Trainer, parts: tuple[str, ...] = PARTS) -> bytes:
    """Weights, optimiser, history and generators at the end, byte for byte; only times may differ."""
    history = [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in train.history]
    return bits_of(train, parts) + repr((history, train.step)).encode()


def bits_of(train: Trainer, parts: tuple[str, ...]) -> bytes:
    """Some parts of the state now, byte for byte."""
    state = TrainingState.of(train).values
    plain, tensors = pack({name: state[name] for name in parts})
    raw = {
        name: (t.stride(), t.contiguous().view(-1).view(torch.uint8).numpy().tobytes()) for name, t in tensors.items()
    }
    return repr((plain, sorted(raw.items()))).encode()


def weights_of(train: Trainer) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors_of(train.network).items()}
