"""A layer of one's own: written, trained, saved, and loaded again with ``custom=[…]``.

python examples/own_layer.py
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from corecur import BundleError, Model, Sequential
from corecur.layers import Conv2D, Dense, Flatten, Layer


class ChannelGate(Layer):
    """Scales each channel by what the whole picture says of it (Hu et al. 2018): (B, H, W, C) stays (B, H, W, C).

    The constructor's arguments are the layer's config; nothing else has to be written for saving and loading.
    """

    rank = 4
    fixes_channels = True

    def __init__(self, ratio: int = 4, **options: object) -> None:
        super().__init__(**options)
        self.ratio = ratio

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = input_shape[-1]
        hidden = max(1, channels // self.ratio)
        self.down = self.add_weight((hidden, channels))  # torch's layout: (out, in)
        self.up = self.add_weight((channels, hidden))

    def forward(self, x: Tensor) -> Tensor:
        seen = x.mean((1, 2))  # (B, H, W, C) -> (B, C)
        gate = torch.sigmoid(torch.relu(seen @ self.down.T) @ self.up.T)
        return x * gate[:, None, None, :]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a model with the layer in it, then save and load it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    asked = parser.parse_args(arguments)

    digits = load_digits()
    x, y = (digits.images[..., None] / 16).astype(np.float32), digits.target
    torch.manual_seed(0)
    model = Sequential([
        Conv2D(32, 3, activation="relu", input_shape=(8, 8, 1)),
        ChannelGate(ratio=4),
        Conv2D(64, 3, activation="relu"),
        Flatten(),
        Dense(10, "softmax"),
    ])  # fmt: skip
    model.summary()
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x[:1500], y[:1500], epochs=asked.epochs)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gated.corecur")
        model.save(path)
        try:
            Model.load(path)  # a file never chooses code: the class must come from the caller
        except BundleError as error:
            print(error)
        again = Model.load(path, custom=[ChannelGate])
    loss, accuracy = again.evaluate(x[1500:], y[1500:])
    same = np.array_equal(again.predict(x[1500:]), model.predict(x[1500:]))
    print(f"loaded: accuracy {accuracy:.2%}, the same answers: {same}")


if __name__ == "__main__":
    main()
