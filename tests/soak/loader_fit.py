"""A training of one's own, with a DataLoader whose workers are processes: ``loader-fit FOLDER``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from corecur import Sequential, layers


class Noisy(Dataset[Any]):
    """Numbers with noise that a worker draws anew each time, slowly enough to be killed meanwhile."""

    def __len__(self) -> int:
        return 96

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        time.sleep(0.02)
        angle = torch.tensor(float(number))
        return torch.stack([angle.sin(), angle.cos()]) + 0.1 * torch.randn(2), (angle.sin() > 0).float()[None]


def main() -> None:
    """Train in the folder, from where it stands there, and leave the model beside it."""
    folder = Path(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(3)
    model = Sequential([layers.Dense(8, activation="tanh"), layers.Dropout(0.2), layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    data = DataLoader(Noisy(), batch_size=8, shuffle=True, num_workers=2)
    model.fit(data, epochs=3, checkpoints=folder / "checkpoints", save_every=2, resume="auto", verbose=0)
    model.save(folder / "bundle")
