"""One thing wrong with a training, by name and family; each takes a seed and gives the doctor that watched it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from corecur.engine.doctor.doctor import Doctor
from corecur.engine.optimizers import SGD, Adam
from corecur.errors import RunError
from corecur.layers.activation import Softmax
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.gru import GRU
from corecur.layers.initializers import Constant, Orthogonal, RandomNormal
from corecur.layers.lstm import LSTM
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.layers.simple_rnn import SimpleRNN
from corecur.models import Sequential
from tests.soak.trainings import LOGITS, cnn, digits, fitted, recalls, rnn, waves

Case = Callable[[int], Doctor]


def _deep(activation: str, layers: int = 8, **options: Any) -> Sequential:
    first = Conv2D(16, 3, padding="same", activation=activation, input_shape=(8, 8, 1), **options)
    more = [Conv2D(16, 3, padding="same", activation=activation, **options) for _ in range(layers)]
    return Sequential([first, *more, Flatten(), Dense(10, "softmax")])


def _simple(features: int = 8, classes: int = 10, units: int = 32, **options: Any) -> Sequential:
    return rnn(SimpleRNN(units, input_shape=(None, features), **options), classes=classes)


def _shuffled(data: Any, *, both: bool = False) -> Any:
    x, y, *held = data
    found = [x, y[torch.randperm(len(y))], *held]
    if both and held:
        found[3] = held[1][torch.randperm(len(held[1]))]
    return tuple(found)


def _few(data: Any, count: int) -> Any:
    return data[0][:count], data[1][:count], *data[2:]


def _slow(data: Any) -> Any:
    """The same samples from a loader that takes its time."""

    class Slow(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 400

        def __getitem__(self, place: int) -> Any:
            time.sleep(0.0004)
            return data[0][place], data[1][place]

    return torch.utils.data.DataLoader(Slow(), batch_size=32, shuffle=True)


def _loaded(model: Sequential, loader: Any) -> Doctor:
    model.compile(Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    doctor = Doctor(tell=lambda line: None)
    with contextlib.suppress(RunError):
        model.fit(loader, epochs=4, verbose=0, callbacks=[doctor])
    return doctor


def _frozen(model: Sequential, place: int) -> Sequential:
    model.layers[place].trainable = False  # type: ignore[assignment]
    return model


def _one_class(data: Any) -> Any:
    return data[0], torch.full_like(data[1], 3)


def _noise(data: Any) -> Any:
    """Inputs that have nothing to do with the labels, of which nine in ten are the same."""
    x, y = torch.randn_like(data[0]), (torch.rand(len(data[0])) > 0.9).long()
    return x[:900], y[:900], x[900:], y[900:]


def _noisy(data: Any, share: float = 0.4) -> Any:
    """A share of the training labels replaced by chance."""
    x, y, *held = data
    wrong = torch.rand(len(y)) < share
    return x, torch.where(wrong, torch.randint(0, int(y.max()) + 1, y.shape), y), *held


def _spoilt(data: Any) -> Any:
    """A loader with one sample in it that holds NaN."""
    x = data[0][:400].clone()
    x[5] = float("nan")
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, data[1][:400]), batch_size=32, shuffle=True)


_D, _R = digits(), digits(rows=True)
_HUGE = RandomNormal(stddev=1.0)

CASES: dict[tuple[str, str], Case] = {
    ("vanishing-gradients", "cnn"): lambda s: fitted(_deep("sigmoid"), _D),
    ("vanishing-gradients", "rnn"): lambda s: fitted(
        _simple(3, 2, recurrent_initializer=Orthogonal(gain=0.6)), recalls(seed=s), epochs=6
    ),
    ("vanishing-gradients", "rnn, long"): lambda s: fitted(_simple(3, 2), recalls(steps=150, seed=s), epochs=5),
    ("exploding-gradients", "cnn"): lambda s: fitted(
        _deep("relu", kernel_initializer=RandomNormal(stddev=0.5)), _D, epochs=2
    ),
    ("exploding-gradients", "rnn"): lambda s: fitted(
        _simple(2, 3, activation="relu", recurrent_initializer=Orthogonal(gain=1.6)), waves(seed=s), epochs=2
    ),
    ("exploding-gradients", "rnn, tanh"): lambda s: fitted(
        _simple(2, 3, recurrent_initializer=Orthogonal(gain=4.0), kernel_initializer=RandomNormal(stddev=0.01)),
        waves(seed=s),
        epochs=2,
    ),
    ("dead-units", "cnn"): lambda s: fitted(cnn(bias_initializer=Constant(-3.0)), _D),
    ("dead-units", "rnn"): lambda s: fitted(_simple(activation="relu", bias_initializer=Constant(-5.0)), _R),
    ("saturated", "cnn"): lambda s: fitted(cnn(activation="tanh", kernel_initializer=RandomNormal(stddev=8.0)), _D),
    ("saturated", "rnn"): lambda s: fitted(
        rnn(LSTM(32, input_shape=(None, 8), kernel_initializer=RandomNormal(stddev=20.0))), _R
    ),
    ("learning-rate-too-high", "cnn"): lambda s: fitted(cnn(), _D, optimizer=Adam(1.0)),
    ("learning-rate-too-high", "cnn, sgd"): lambda s: fitted(cnn(), _D, optimizer=SGD(5.0)),
    ("learning-rate-too-high", "rnn"): lambda s: fitted(rnn(), _R, optimizer=Adam(1.0)),
    ("learning-rate-too-high", "rnn, sgd"): lambda s: fitted(rnn(), _R, optimizer=SGD(100.0)),
    ("learning-rate-too-low", "cnn"): lambda s: fitted(cnn(), _D, optimizer=Adam(1e-7)),
    ("learning-rate-too-low", "cnn, sgd"): lambda s: fitted(cnn(), _D, optimizer=SGD(1e-6)),
    ("learning-rate-too-low", "rnn"): lambda s: fitted(rnn(), _R, optimizer=Adam(1e-7)),
    ("majority-class", "cnn"): lambda s: fitted(cnn(), _noise(_D), epochs=5),
    ("majority-class", "rnn"): lambda s: fitted(rnn(), _noise(_R), epochs=5),
    ("over-fitting", "cnn"): lambda s: fitted(cnn(), _few(_noisy(_D), 200), epochs=60, optimizer=Adam(4e-3)),
    ("over-fitting", "rnn"): lambda s: fitted(
        rnn(GRU(128, input_shape=(None, 8))), _few(_noisy(_R), 150), epochs=80, optimizer=Adam(3e-3)
    ),
    ("under-fitting", "cnn"): lambda s: fitted(
        Sequential(
            [Conv2D(1, 3, activation="relu", input_shape=(8, 8, 1)), MaxPooling2D(6), Flatten(), Dense(10, "softmax")]
        ),
        _D,
        epochs=25,
        optimizer=Adam(1e-2),
    ),
    ("under-fitting", "rnn"): lambda s: fitted(rnn(GRU(1, input_shape=(None, 8))), _R, epochs=25, optimizer=Adam(1e-2)),
    ("shuffled-labels", "cnn"): lambda s: fitted(cnn(), _shuffled(_D), epochs=8),
    ("shuffled-labels", "cnn, learnt by heart"): lambda s: fitted(
        cnn(), _few(_shuffled(_D, both=True), 300), epochs=60
    ),
    ("shuffled-labels", "rnn"): lambda s: fitted(rnn(), _shuffled(_R), epochs=8),
    ("unnormalised-input", "cnn"): lambda s: fitted(cnn(), (digits()[0] * 255, *digits()[1:2])),
    ("unnormalised-input", "rnn"): lambda s: fitted(rnn(), (digits(rows=True)[0] * 255, *digits(rows=True)[1:2])),
    ("softmax-twice", "cnn"): lambda s: fitted(Sequential([*cnn().layers, Softmax()]), _D),
    ("softmax-twice", "rnn"): lambda s: fitted(
        Sequential([GRU(32, input_shape=(None, 8)), Dense(10), nn.Softmax(-1)]), _R, loss=LOGITS
    ),
    ("frozen-part", "cnn"): lambda s: fitted(_frozen(cnn(), 2), _D),
    ("frozen-part", "rnn"): lambda s: fitted(_frozen(rnn(), 0), _R),
    ("loader-bound", "cnn"): lambda s: _loaded(cnn(), _slow(_D)),
    ("loader-bound", "rnn"): lambda s: _loaded(rnn(), _slow(_R)),
    ("batch-of-one", "cnn"): lambda s: fitted(
        Sequential([Conv2D(8, 3, input_shape=(8, 8, 1)), BatchNormalization(), Flatten(), Dense(10, "softmax")]),
        _few(_D, 100),
        batch_size=1,
        epochs=1,
    ),
    ("batch-of-one", "rnn"): lambda s: fitted(
        Sequential([GRU(16, input_shape=(None, 8)), BatchNormalization(), Dense(10, "softmax")]),
        _few(_R, 100),
        batch_size=1,
        epochs=1,
    ),
    ("one-class", "cnn"): lambda s: fitted(cnn(), _one_class(_D)),
    ("one-class", "rnn"): lambda s: fitted(rnn(), _one_class(_R)),
    ("constant-input", "cnn"): lambda s: fitted(cnn(), (torch.full_like(_D[0], 0.5), _D[1])),
    ("constant-input", "rnn"): lambda s: fitted(rnn(), (torch.full_like(_R[0], 0.5), _R[1])),
    ("not-finite", "cnn"): lambda s: _loaded(cnn(), _spoilt(_D)),
    ("not-finite", "rnn"): lambda s: _loaded(rnn(), _spoilt(_R)),
}


def trained(case: Case, seed: int) -> Doctor:
    """The doctor after that training; where the training itself was given up, what it has seen until then."""
    torch.manual_seed(seed)
    return case(seed)
