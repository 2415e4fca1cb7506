"""``checkpoints``: training steps with a checkpoint every 50 steps beside the same without any, and what a save costs.

Three networks: the small CNN (batch 32), two LSTM layers (batch 64), dense layers of 30 MB (batch 64), all with Adam,
whose state is twice the weights. Losses of the first steps must be equal before the clock runs. Files go to the folder
for temporary files, with fsync. On one thread the writer has no core of its own: the cost is the highest there.

The processor time of a step, with that of the writer, is told too: other programs disturb it less than the clock. And
what a save costs: the milliseconds that training waits for the copy, those until the thread beside it is done, those
that it keeps a processor busy, and the first and the last as a share of a minute: by so much a training on one core
becomes slower with a save a minute.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.contender import Case, Contender
from bench.small_cnn import samples
from corecur.data.batches import Batch, TensorBatches
from corecur.engine.checkpoint import CheckpointFolder
from corecur.engine.checkpointing import Checkpointing, Interval
from corecur.engine.crossentropy import SparseCategoricalCrossentropy
from corecur.engine.finite import FiniteGuard
from corecur.engine.optimizers import Adam
from corecur.engine.trainer import Trainer
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.lstm import LSTM
from corecur.layers.pool import MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.models import Sequential

JOBS = {"small CNN, batch 32": "cnn", "LSTM 128 × 2, batch 64": "lstm", "dense, 30 MB, batch 64": "dense"}
EVERY, PROOF_STEPS = 50, 5
#: Steps in a timed block: whole intervals, so that each block holds as many saves.
BLOCK_STEPS = {"cnn": 100, "lstm": 50, "dense": 50}
MINUTE = 60_000.0  # milliseconds


def cases() -> list[Case]:
    """A case for each network; for the small one also what the guard against NaN costs."""
    found = [
        Case(
            f"checkpoints-{job}",
            f"training step, {title}",
            "step",
            (
                Contender("without checkpoints", "bench.checkpoints:Steps", {"job": job}),
                Contender(f"every {EVERY} steps", "bench.checkpoints:Steps", {"job": job, "every": EVERY}),
            ),
            judged=f"every {EVERY} steps",
            target=None,
        )
        for title, job in JOBS.items()
    ]
    guarded = (
        Contender("without the guard", "bench.checkpoints:Steps", {"job": "cnn", "guarded": False}),
        Contender("with the guard", "bench.checkpoints:Steps", {"job": "cnn"}),
    )
    return [*found, Case("guard", "training step, small CNN, batch 32", "step", guarded, "with the guard", 1.01)]


class TimedFolder(CheckpointFolder):
    """Knows how long the processor worked for it; the clock also counts the wait for the disk, and other programs."""

    seconds = 0.0

    def write(self, *args: Any, **options: Any) -> int:
        began = time.thread_time()
        try:
            return super().write(*args, **options)
        finally:
            self.seconds += time.thread_time() - began


class Steps:
    """Training steps of one of the networks, kept every so many steps or not at all."""

    def __init__(self, job: str, *, every: int | None = None, guarded: bool = True) -> None:
        torch.manual_seed(0)
        self.job = job
        self.busy: list[float] = []
        network, batches = {"cnn": _cnn, "lstm": _lstm, "dense": _dense}[job]()
        optimizer = Adam(1e-3).make(list(network.parameters()))
        loss = SparseCategoricalCrossentropy(from_logits=True)
        self.trainer = Trainer(network, loss=loss, optimizer=optimizer)
        self.trainer.begin(batches, epochs=1)
        if not guarded:
            self.trainer.guard = _Blind(self.trainer.tell)
        self.batches = itertools.cycle(list(batches))
        self.keeper: Checkpointing | None = None
        self._open = contextlib.ExitStack()
        if every is not None:
            folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="corecur-bench-"))
            self.folder = TimedFolder(Path(folder) / "kept")
            self.keeper = Checkpointing(self.folder, every=Interval(steps=every))
            self._open.enter_context(self.keeper)
            self.keeper.begin(self.trainer, 1)

    def step(self) -> float:
        """One step, and what follows it in ``Trainer.fit``."""
        batch: Batch = next(self.batches)
        loss, _ = self.trainer.train_step(batch)
        if self.keeper is not None:
            self.keeper.after_step(self.trainer)
        return float(loss)

    def prove(self) -> Sequence[float]:
        return [self.step() for _ in range(PROOF_STEPS)]

    def run(self) -> int:
        began = time.process_time()
        for _ in range(BLOCK_STEPS[self.job]):
            self.step()
        self.busy.append(time.process_time() - began)
        return BLOCK_STEPS[self.job]

    def facts(self) -> Mapping[str, Any]:
        """What the saves cost, in the mean over all of them."""
        keeper = self.keeper
        busy = {"CPU ms per step": f"{statistics.median(self.busy) / BLOCK_STEPS[self.job] * 1e3:.3f}"}
        if keeper is None or not keeper.saves:
            return busy
        blocked, written = keeper.seconds_blocking / keeper.saves * 1e3, keeper.seconds_writing / keeper.saves * 1e3
        worked = self.folder.seconds / keeper.saves * 1e3
        return busy | {
            "saves": keeper.saves,
            "ms blocked per save": blocked,
            "ms until written": written,
            "CPU ms to write": worked,
            "% slower at one a minute": f"{100 * (blocked + worked) / MINUTE:.3f}",
        }


class _Blind(FiniteGuard):
    """What training would be without the guard."""

    def accepts(self, loss: torch.Tensor, norm: torch.Tensor | float) -> bool:
        return True


def _cnn() -> tuple[nn.Module, TensorBatches]:
    x, y = samples()
    layers = [
        Conv2D(32, 3, activation="relu", input_shape=(28, 28, 1)), MaxPooling2D(2),
        Conv2D(64, 3, activation="relu"), MaxPooling2D(2), Flatten(), Dense(128, "relu"), Dense(10),
    ]  # fmt: skip
    return Sequential(layers), TensorBatches(torch.from_numpy(x), torch.from_numpy(y), batch_size=32)


def _lstm() -> tuple[nn.Module, TensorBatches]:
    network = Sequential([LSTM(128, return_sequences=True, input_shape=(40, 64)), LSTM(128), Dense(10)])
    return network, TensorBatches(torch.randn(256, 40, 64), torch.randint(10, (256,)), batch_size=64)


def _dense() -> tuple[nn.Module, TensorBatches]:
    network = Sequential([Dense(2048, "relu", input_shape=(1536,)), Dense(2048, "relu"), Dense(10)])
    return network, TensorBatches(torch.randn(256, 1536), torch.randint(10, (256,)), batch_size=64)
