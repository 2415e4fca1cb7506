"""Two ways to train the small CNN: a torch loop written by hand, and this package's ``Model.fit``.

B batch, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.small_cnn import CLASSES, EPSILON, PROOF_EPOCHS, RATE, SAMPLES, SIZE, samples, weights
from corecur import runtime
from corecur.engine.optimizers import Adam
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.pool import MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.models import Sequential


class Network(nn.Module):
    """The network as one writes it in torch: (B, 1, 28, 28) -> (B, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dense1 = nn.Linear(5 * 5 * 64, 128)
        self.dense2 = nn.Linear(128, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)  # (B, 1, 28, 28) -> (B, 32, 13, 13)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)  # -> (B, 64, 5, 5)
        x = x.permute(0, 2, 3, 1).flatten(1)  # -> (B, 1600); of channels_last memory a view
        logits: Tensor = self.dense2(F.relu(self.dense1(x)))
        return logits


class HandLoop:
    """The training loop written by hand; ``keep_memory`` gives it the setting of malloc that ``fit`` makes."""

    def __init__(self, batch_size: int, *, keep_memory: bool = False) -> None:
        if keep_memory:
            runtime.keep_freed_memory()
        x, y = samples()
        self.x = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        self.y = torch.from_numpy(y)
        self.batch_size = batch_size
        # torch's type stubs lack this form
        self.network = Network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            for parameter, array in zip(self.network.parameters(), weights(), strict=True):
                order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]
                parameter.copy_(torch.from_numpy(array).permute(order))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE, eps=EPSILON, fused=True)

    def epoch(self, order: Tensor) -> float:
        """One pass over the samples in this order (N,); the mean loss."""
        self.network.train()
        total = torch.zeros(())
        for rows in torch.split(order, self.batch_size):
            x, y = self.x[rows], self.y[rows]
            loss = F.cross_entropy(self.network(x), y)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.detach() * len(rows)
        return total.item() / len(order)

    def prove(self) -> Sequence[float]:
        return [self.epoch(torch.arange(SAMPLES)) for _ in range(PROOF_EPOCHS)]

    def run(self) -> int:
        self.epoch(torch.randperm(SAMPLES))
        return -(-SAMPLES // self.batch_size)


class Fit:
    """The same through this package's public face."""

    def __init__(self, batch_size: int) -> None:
        x, y = samples()
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.batch_size = batch_size
        self.model = Sequential(
            [
                Conv2D(32, 3, activation="relu", input_shape=(SIZE, SIZE, 1)),
                MaxPooling2D(2),
                Conv2D(64, 3, activation="relu"),
                MaxPooling2D(2),
                Flatten(),
                Dense(128, "relu"),
                Dense(CLASSES, "softmax"),
            ]
        )
        self.model.set_weights(weights())
        self.model.compile(Adam(RATE, epsilon=EPSILON), "sparse_categorical_crossentropy")

    def prove(self) -> Sequence[float]:
        fitted = self.model.fit(
            self.x, self.y, batch_size=self.batch_size, epochs=PROOF_EPOCHS, shuffle=False, verbose=0
        )
        return [float(loss) for loss in fitted.history["loss"]]

    def run(self) -> int:
        self.model.fit(self.x, self.y, batch_size=self.batch_size, verbose=0)
        return -(-SAMPLES // self.batch_size)
