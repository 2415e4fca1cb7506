"""Trainings for the doctor: healthy ones, and others with one thing wrong that has a name; of both families, by seed.

N samples, T time, C features or channels, K classes.
"""

from __future__ import annotations

import contextlib
import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from corecur.engine.doctor.doctor import Doctor
from corecur.engine.optimizers import SGD, Adam
from corecur.errors import RunError
from corecur.layers.activation import Activation
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.gru import GRU
from corecur.layers.lstm import LSTM
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.layers.simple_rnn import SimpleRNN
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.tasks import TASKS, find_task
from corecur.learners.text_classifier import TextClassifier
from corecur.learners.text_generator import TextGenerator
from corecur.models import Sequential

CE, LOGITS = "sparse_categorical_crossentropy", "crossentropy"


def digits(*, rows: bool = False, raw: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Handwritten digits: pictures (N, 8, 8, 1), or their rows as steps (N, 8, 8); training and validation."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    x = torch.tensor(found.images[order], dtype=torch.float32) / (1.0 if raw else 16.0)
    y = torch.tensor(found.target[order])
    x = x if rows else x[..., None]
    return x[:1200], y[:1200], x[1200:], y[1200:]


def waves(count: int = 600, steps: int = 40, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy waves (N, T, 2) of three kinds, told apart by their frequency."""
    random = np.random.default_rng(seed)
    kinds = random.integers(0, 3, count)
    time = np.arange(steps)[None]
    phase = random.uniform(0, 6.28, (count, 1))
    angle = 2 * np.pi * (0.03 + 0.04 * kinds[:, None]) * time + phase
    x = np.stack([np.sin(angle), np.cos(angle)], -1) + 0.3 * random.standard_normal((count, steps, 2))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(kinds)


def recalls(count: int = 600, steps: int = 60, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise (N, T, 3) whose first step alone tells the class, one of two."""
    random = np.random.default_rng(seed)
    kinds = random.integers(0, 2, count)
    x = 0.5 * random.standard_normal((count, steps, 3))
    x[:, 0, 0] = 2.0 * kinds - 1
    return torch.tensor(x, dtype=torch.float32), torch.tensor(kinds)


def cnn(*, activation: str = "relu", last: str | None = "softmax", **options: Any) -> Sequential:
    """A small convolutional network for digits; ``options`` go to its convolutions."""
    return Sequential([
        Conv2D(16, 3, padding="same", activation=activation, input_shape=(8, 8, 1), **options), MaxPooling2D(2),
        Conv2D(32, 3, padding="same", activation=activation, **options), Flatten(),
        Dense(64, activation), Dense(10, last),
    ])  # fmt: skip


def rnn(layer: Any = None, *, features: int = 8, classes: int = 10, last: str | None = "softmax") -> Sequential:
    """One recurrent layer and the answer."""
    return Sequential([layer or GRU(32, input_shape=(None, features)), Dense(classes, last)])


def fitted(
    model: Sequential, data: Any, *, optimizer: Any = None, loss: Any = CE, epochs: int = 4, batch_size: int = 32,
    metrics: Any = ("accuracy",), doctor: Doctor | None = None, **options: Any,
) -> Doctor:  # fmt: skip
    """The doctor after a training on (x, y) or (x, y, x of the validation, y of the validation)."""
    x, y, *held = data
    model.compile(optimizer or Adam(1e-3), loss, metrics=list(metrics))
    doctor = doctor or Doctor(tell=lambda line: None)
    with contextlib.suppress(RunError):  # a training that runs away is given up; what was seen until then counts
        model.fit(
            x, y, epochs=epochs, batch_size=batch_size, verbose=0, callbacks=[doctor, *options.pop("callbacks", [])],
            validation_data=tuple(held) or None, **options,
        )  # fmt: skip
    return doctor


SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def learnt(source: str, *, seed: int = 0, validation: Any = None, **settings: Any) -> Doctor:
    """The doctor after a learner's training."""
    doctor = Doctor(tell=lambda line: None)
    learner = TASKS[find_task(source)].learner(seed=seed, threads=1, **settings)
    learner.fit(source, validation=validation, callbacks=[doctor])
    return doctor


def learnt_values(learner: Any, x: Any, y: Any) -> Doctor:
    """The doctor after a learner's training on values."""
    doctor = Doctor(tell=lambda line: None)
    learner.threads = 1
    learner.fit(x, y, callbacks=[doctor])
    return doctor


def learnt_play(seed: int) -> Doctor:
    """The doctor after a short training on the beginning of a play."""
    doctor = Doctor(tell=lambda line: None)
    text = next((SHARED / "tinyshakespeare").glob("*.txt")).read_text("utf-8")[:60_000]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "play.txt")
        path.write_text(text, "utf-8")
        TextGenerator(seed=seed, threads=1, epochs=3, units=64, batch_size=16).fit(path, callbacks=[doctor])
    return doctor


def mnist(count: int = 1500) -> tuple[Tensor, ...]:
    """The first pictures of the training files, 0 to 1, and the next few for validation."""
    read = [gzip.decompress((SHARED / "mnist" / f"train-{name}-ubyte.gz").read_bytes()) for name in
            ("images-idx3", "labels-idx1")]  # fmt: skip
    x = np.frombuffer(read[0], np.uint8, offset=16).reshape(-1, 28, 28, 1)[: count + 300]
    y = np.frombuffer(read[1], np.uint8, offset=8)[: count + 300].astype(np.int64)
    pictures = torch.tensor(x, dtype=torch.float32) / 255
    return pictures[:count], torch.tensor(y[:count]), pictures[count:], torch.tensor(y[count:])


def cifar(count: int = 1500) -> tuple[Any, Any]:
    """The first pictures of the first training file."""
    rows = np.fromfile(SHARED / "cifar10" / "data_batch_1.bin", np.uint8, 3073 * count).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).copy(), rows[:, 0].astype(np.int64)


def questions(count: int = 1500) -> tuple[list[str], list[str]]:
    """Questions and what is asked for."""
    lines = (SHARED / "sentences" / "TREC.train.all").read_text("latin-1").splitlines()[:count]
    return [line.split(" ", 1)[1] for line in lines], [line.split(" ", 1)[0] for line in lines]


def _cnn28() -> Sequential:
    return Sequential([
        Conv2D(32, 3, activation="relu", input_shape=(28, 28, 1)), MaxPooling2D(2), Conv2D(64, 3, activation="relu"),
        MaxPooling2D(2), Flatten(), Dense(128, "relu"), Dense(10, "softmax"),
    ])  # fmt: skip


def deep(activation: str = "relu", layers: int = 8, *, norm: bool = False, **options: Any) -> Sequential:
    """Many convolutions in a row, with batch normalisation or without."""
    made: list[Any] = [Conv2D(16, 3, padding="same", input_shape=(8, 8, 1), activation=activation, **options)]
    for _ in range(layers):
        made.append(Conv2D(16, 3, padding="same", activation=None if norm else activation, **options))
        made += [BatchNormalization(), Activation(activation)] if norm else []
    return Sequential([*made, Flatten(), Dense(10, "softmax")])


def rare() -> tuple[Tensor, ...]:
    """Digits where one in twenty is of the class to be found: half of the zeros."""
    x, y, held, answers = digits()
    keep = (y != 0) | (torch.arange(len(y)) % 2 == 0)
    return x[keep], (y[keep] == 0).long(), held, (answers == 0).long()


def noisy_lines(count: int = 500) -> tuple[Tensor, Tensor]:
    """Series (N, T, 1) whose mean is to be found."""
    x = torch.randn(count, 20, 1)
    return x + torch.randn(count, 1, 1), x.mean(1)


def _rows(units: int = 32, **options: Any) -> Sequential:
    return rnn(LSTM(units, input_shape=(None, 8), **options))


HEALTHY: dict[str, Callable[[int], Doctor]] = {
    "digits, an epoch": lambda s: learnt("digits", seed=s, epochs=1),
    "digits": lambda s: learnt("digits", seed=s, epochs=4),
    "waves": lambda s: learnt("waves", seed=s, epochs=10),
    "waves, an epoch": lambda s: learnt("waves", seed=s, epochs=1),
    "pydoc": lambda s: learnt("pydoc", seed=s, epochs=2),
    "demand": lambda s: learnt("demand", seed=s, epochs=2),
    "passengers": lambda s: learnt("passengers", seed=s, epochs=8),
    "cnn": lambda s: fitted(cnn(), digits(), epochs=6),
    "cnn, long": lambda s: fitted(cnn(), digits(), epochs=30),
    "cnn, an epoch": lambda s: fitted(cnn(), digits(), epochs=1),
    "cnn, sgd": lambda s: fitted(cnn(), digits(), epochs=8, optimizer=SGD(0.1, momentum=0.9)),
    "cnn, adam 0.01": lambda s: fitted(cnn(), digits(), epochs=4, optimizer=Adam(0.01)),
    "cnn, dropout": lambda s: fitted(Sequential([*cnn().layers[:-1], Dropout(0.5), Dense(10, "softmax")]), digits()),
    "cnn, tanh": lambda s: fitted(cnn(activation="tanh"), digits()),
    "deep cnn with normalisation": lambda s: fitted(deep(norm=True), digits(), epochs=3),
    "deep cnn": lambda s: fitted(deep(), digits(), epochs=3),
    "few samples": lambda s: fitted(cnn(), tuple(part[:30] for part in digits()), epochs=2, batch_size=8),
    "a rare class": lambda s: fitted(cnn(), rare(), epochs=4),
    "lstm over rows": lambda s: fitted(_rows(), digits(rows=True), epochs=8, optimizer=Adam(0.01)),
    "gru over rows": lambda s: fitted(rnn(), digits(rows=True), epochs=8),
    "simple rnn over rows": lambda s: fitted(rnn(SimpleRNN(32, input_shape=(None, 8))), digits(rows=True), epochs=8),
    "lstm over rows, an epoch": lambda s: fitted(_rows(), digits(rows=True), epochs=1),
    "both ways": lambda s: fitted(
        Sequential([Bidirectional(GRU(16, return_sequences=True), input_shape=(None, 2)), LSTM(16), Dense(3, "softmax")]),
        waves(seed=s), epochs=6, optimizer=Adam(0.005),
    ),
    "lstm over waves": lambda s: fitted(rnn(LSTM(32, input_shape=(None, 2)), classes=3), waves(seed=s), epochs=10,
                                        optimizer=Adam(0.005)),
    "gru over waves, an epoch": lambda s: fitted(rnn(GRU(32, input_shape=(None, 2)), classes=3), waves(seed=s), epochs=1),
    "simple rnn over waves": lambda s: fitted(rnn(SimpleRNN(32, input_shape=(None, 2)), classes=3), waves(seed=s), epochs=10),
    "values to be found": lambda s: fitted(
        Sequential([GRU(16, input_shape=(None, 1)), Dense(1)]), noisy_lines(), loss="mse", metrics=(), epochs=10
    ),
    "yes or no": lambda s: fitted(
        Sequential([*cnn().layers[:-1], Dense(1, "sigmoid")]), (digits()[0], (digits()[1] > 4).float()),
        loss="binary_crossentropy", epochs=5,
    ),
    "no metrics": lambda s: fitted(cnn(), digits(), metrics=(), epochs=4),
    "mnist": lambda s: fitted(_cnn28(), mnist(), epochs=3),
    "mnist, the recipe": lambda s: learnt_values(ImageClassifier(seed=s, epochs=2, widths=(8, 16, 16)), *mnist()[:2]),
    "cifar, an epoch": lambda s: learnt_values(ImageClassifier(seed=s, epochs=1, widths=(16, 16, 16)), *cifar()),
    "questions": lambda s: learnt_values(TextClassifier(seed=s, epochs=2, units=32), *questions()),
    "play": lambda s: learnt_play(s),
    "wnut": lambda s: learnt(str(SHARED / "wnut17"), seed=s, epochs=1, units=50),
    "ett": lambda s: learnt(str(SHARED / "ett" / "ETTh1.csv"), seed=s, epochs=1, stride=8),
}  # fmt: skip
