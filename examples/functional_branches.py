"""A network with branches, a skip, a shared layer and two outputs, by calling layers on an ``Input``.

python examples/functional_branches.py
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.datasets import load_digits

from corecur import Input, Model
from corecur.layers import Add, Concatenate, Conv2D, Dense, GlobalMaxPooling2D, MaxPooling2D


def build() -> Model:
    """Two outputs for a picture (8, 8, 1): which digit it is, and whether it is even."""
    picture = Input((8, 8, 1))
    narrow = Conv2D(16, 3, padding="same", activation="relu")(picture)
    wide = Conv2D(16, 5, padding="same", activation="relu")(picture)
    x = Concatenate()([narrow, wide])  # (B, 8, 8, 16) twice -> (B, 8, 8, 32)
    twice = Conv2D(32, 3, padding="same", activation="relu")  # one layer, two calls: its weights are shared
    x = Add()([x, twice(twice(x))])
    x = GlobalMaxPooling2D()(Conv2D(64, 3, activation="relu")(MaxPooling2D(2)(x)))  # (B, 64)
    digit = Dense(10, "softmax", name="digit")(x)
    even = Dense(1, "sigmoid", name="even")(x)
    return Model(picture, [digit, even])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both outputs at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    asked = parser.parse_args(arguments)

    digits = load_digits()
    x, y = (digits.images[..., None] / 16).astype(np.float32), digits.target
    even = (y % 2 == 0).astype(np.float32)
    torch.manual_seed(0)
    model = build()
    model.summary()
    model.compile(
        "adam",
        loss=["sparse_categorical_crossentropy", "binary_crossentropy"],
        loss_weights=[1.0, 0.5],
        metrics=[["accuracy"], ["accuracy"]],
    )
    model.fit(x[:1500], [y[:1500], even[:1500]], epochs=asked.epochs)
    for name, value in model.evaluate(x[1500:], [y[1500:], even[1500:]], return_dict=True).items():
        print(f"{name} {value:.4f}")


if __name__ == "__main__":
    main()
