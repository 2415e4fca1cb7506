"""A small convolutional network on handwritten digits, written as one writes it for Keras.

With MNIST in the folder mnist under $CORECUR_DATA it takes that, else the 8 × 8 digits of scikit-learn, enlarged.

    python examples/mnist_cnn.py --epochs 3
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from corecur import Sequential
from corecur.data.images import ImageSet
from corecur.data.open_images import load_images
from corecur.data.splits import split_by_class
from corecur.layers import Conv2D, Dense, Flatten, MaxPooling2D


def load() -> tuple[ImageSet, ImageSet]:
    """Training and test pictures, 28 × 28."""
    mnist = Path(os.environ.get("CORECUR_DATA", "no such folder"), "mnist")
    source = load_images("mnist" if mnist.is_dir() else "digits", size=28)
    if source.test is not None:
        return source.train, source.test
    keep, held = split_by_class(source.train.labels, 0.2, seed=0)
    return source.train.take(keep), source.train.take(held)


def scaled(pictures: ImageSet, most: int | None) -> tuple[Tensor, Tensor]:
    """Inputs (N, 28, 28, 1) from 0 to 1, and class numbers (N,)."""
    return pictures.images[:most].float() / 255, pictures.labels[:most]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, evaluate, predict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--samples", type=int, help="train on so many pictures only")
    asked = parser.parse_args(arguments)

    train, test = load()
    x_train, y_train = scaled(train, asked.samples)
    x_test, y_test = scaled(test, asked.samples)

    torch.manual_seed(0)
    model = Sequential()
    model.add(Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)))
    model.add(MaxPooling2D((2, 2)))
    model.add(Conv2D(64, (3, 3), activation="relu"))
    model.add(MaxPooling2D((2, 2)))
    model.add(Flatten())
    model.add(Dense(128, activation="relu"))
    model.add(Dense(10, activation="softmax"))
    model.summary()

    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=asked.epochs, batch_size=32)
    loss, accuracy = model.evaluate(x_test, y_test)
    print(f"test: loss {loss:.4f}, accuracy {accuracy:.2%} of {len(y_test):,} pictures")
    print(f"answers {model.predict(x_test[:10]).argmax(1).tolist()}, truth {y_test[:10].tolist()}")


if __name__ == "__main__":
    main()
