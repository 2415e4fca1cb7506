"""What a doctor costs: trainings with and without one, in turn; ``python -m bench.watched``.

Each block trains a fresh network of the same seed for so many steps; the weights at the end must be equal to the byte
before a time counts. Processor time of this process, blocks in the order A B B A; the ratio is that of the medians.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from corecur.data.batches import TensorBatches
from corecur.engine.crossentropy import SparseCategoricalCrossentropy
from corecur.engine.doctor.doctor import Doctor
from corecur.engine.optimizers import Adam
from corecur.engine.trainer import Trainer
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.lstm import LSTM
from corecur.layers.pool import MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.models import Sequential

#: Steps of a block, by network: those of a training of a few minutes would cost less, for looks grow rare.
JOBS = {"small CNN, batch 32": 3000, "LSTM 128 × 2, 40 steps, batch 32": 1000}
BATCHES = 50


def network(job: str) -> tuple[Sequential, torch.Tensor]:
    """A network of the articles, and inputs for so many batches."""
    if job == "small CNN, batch 32":
        return Sequential([
            Conv2D(32, 3, activation="relu", input_shape=(28, 28, 1)), MaxPooling2D(2),
            Conv2D(64, 3, activation="relu"),
            MaxPooling2D(2), Flatten(), Dense(128, "relu"), Dense(10, "softmax"),
        ]), torch.randn(32 * BATCHES, 28, 28, 1)  # fmt: skip
    return Sequential([
        LSTM(128, return_sequences=True, input_shape=(40, 64)), LSTM(128), Dense(10, "softmax"),
    ]), torch.randn(32 * BATCHES, 40, 64)  # fmt: skip


def block(job: str, *, watched: bool) -> tuple[float, list[torch.Tensor]]:
    """Seconds of processor time of a training, and its weights."""
    torch.manual_seed(0)
    model, x = network(job)
    y = torch.randint(0, 10, (len(x),))
    trainer = Trainer(model, loss=SparseCategoricalCrossentropy(), optimizer=Adam(1e-4).make(model.parameters()))
    callbacks: list[Any] = [Doctor(tell=lambda line: None)] if watched else []
    batches = TensorBatches(x, y, batch_size=32, shuffle=True)
    began = time.process_time()
    trainer.fit(batches, epochs=JOBS[job] // BATCHES, callbacks=callbacks)
    return time.process_time() - began, [p.detach().clone() for p in model.parameters()]


def main(arguments: Sequence[str]) -> None:
    """Measure and print a line a network."""
    rounds = int(arguments[0]) if arguments else 2
    torch.set_num_threads(1)
    for job, steps in JOBS.items():
        plain, watched = block(job, watched=False)[1], block(job, watched=True)[1]  # warms up, and is the proof
        if not all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True)):
            raise SystemExit(f"{job}: the doctor changes the weights")
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for number in range(2 * rounds):
            for side in (False, True) if number % 2 == 0 else (True, False):
                seconds[side].append(block(job, watched=side)[0])
        ratio = statistics.median(seconds[True]) / statistics.median(seconds[False])
        shown = ", ".join(f"{value:.2f}" for value in seconds[False]), ", ".join(f"{v:.2f}" for v in seconds[True])
        print(
            f"{job}, {steps} steps: {100 * (ratio - 1):+.1f} % with a doctor ({shown[0]} s without, {shown[1]} s with)"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
