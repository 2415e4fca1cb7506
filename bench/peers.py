"""Peers of ``fit``: Keras on each of its engines, and Lightning; those that are installed (extra ``bench``).

They start from the same weights, and their losses must be ours to within 0.5 %: the libraries place Adam's epsilon
differently. What a compiler needs before the first step is part of the proof and of the warm-up, not of the times.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Sequence
from typing import Any

from bench.contender import Contender
from bench.small_cnn import CLASSES, EPSILON, PROOF_EPOCHS, RATE, SAMPLES, SIZE, samples, weights

TOLERANCE = 5e-3
ENGINES = ("torch", "jax", "tensorflow")


def installed() -> list[Contender]:
    """The peers that can run here."""
    found = []
    if _exists("keras"):
        found += [
            Contender(f"Keras on {engine}", "bench.peers:KerasFit", {}, {"KERAS_BACKEND": engine}, TOLERANCE)
            for engine in ENGINES
            if _exists(engine)
        ]
    if _exists("lightning"):
        found.append(Contender("Lightning", "bench.peers:LightningFit", {}, {}, TOLERANCE))
    return found


def _exists(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


class KerasFit:
    """Keras' ``fit`` on NumPy arrays, compiled where its engine compiles."""

    def __init__(self, batch_size: int) -> None:
        import keras

        layers = keras.layers
        self.batch_size = batch_size
        self.x, self.y = samples()
        self.model = keras.Sequential(
            [
                keras.Input((SIZE, SIZE, 1)),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Flatten(),
                layers.Dense(128, activation="relu"),
                layers.Dense(CLASSES, activation="softmax"),
            ]
        )
        self.model.set_weights(weights())
        optimizer = keras.optimizers.Adam(RATE, epsilon=EPSILON)
        self.model.compile(optimizer, "sparse_categorical_crossentropy")

    def prove(self) -> Sequence[float]:
        fitted = self._fit(PROOF_EPOCHS, shuffle=False)
        return [float(loss) for loss in fitted.history["loss"]]

    def run(self) -> int:
        self._fit(1, shuffle=True)
        return -(-SAMPLES // self.batch_size)

    def _fit(self, epochs: int, *, shuffle: bool) -> Any:
        return self.model.fit(self.x, self.y, batch_size=self.batch_size, epochs=epochs, shuffle=shuffle, verbose=0)


class LightningFit:
    """Lightning's ``Trainer``, barebones, over a DataLoader of tensors in memory; the network is the hand loop's."""

    def __init__(self, batch_size: int) -> None:
        from bench.loops import HandLoop

        self.hand = HandLoop(batch_size)
        self.module = _lightning_module(self.hand)

    def prove(self) -> Sequence[float]:
        losses = []
        for _ in range(PROOF_EPOCHS):
            self._epoch(shuffle=False)
            losses.append(float(self.module.total) / SAMPLES)
        return losses

    def run(self) -> int:
        self._epoch(shuffle=True)
        return -(-SAMPLES // self.hand.batch_size)

    def _epoch(self, *, shuffle: bool) -> None:
        import lightning
        from torch.utils.data import DataLoader, TensorDataset

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        data = DataLoader(TensorDataset(self.hand.x, self.hand.y), self.hand.batch_size, shuffle=shuffle)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lightning.Trainer(max_epochs=1, accelerator="cpu", barebones=True).fit(self.module, data)


def _lightning_module(hand: Any) -> Any:
    """The hand loop's network and optimiser as a ``LightningModule``."""
    import lightning
    import torch
    import torch.nn.functional as F

    class Module(lightning.LightningModule):  # type: ignore[misc]  # Any where Lightning is not installed
        def __init__(self) -> None:
            super().__init__()
            self.network = hand.network
            self.total = torch.zeros(())

        def on_train_epoch_start(self) -> None:
            self.total.zero_()

        def training_step(self, batch: Any, number: int) -> torch.Tensor:
            x, y = batch
            loss = F.cross_entropy(self.network(x), y)
            self.total += loss.detach() * len(y)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            optimizer: torch.optim.Optimizer = hand.optimizer
            return optimizer

    return Module()
