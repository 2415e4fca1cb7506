"""The recipe for a given time: the widest network that still sees the data often enough.

N samples, H height, W width, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from corecur.data.batches import Batch, TensorBatches
from corecur.data.normalise import fit_normalisation
from corecur.engine.crossentropy import Crossentropy
from corecur.engine.trainer import Trainer
from corecur.learners.image_recipe import ImageRecipe, choose_recipe, default_epochs
from corecur.summary import layer_costs

#: Samples of the step that is timed.
TRIAL_BATCH = 128
# Validation, augmentation and the machine's moods take the rest.
_STEADY_SHARE = 0.85


class Candidate(NamedTuple):
    """A network, and how many of the default epochs it needs: ``widest`` filters in the last block, ``depth``
    convolutions in each, or what ``settings`` say."""

    epochs_needed: float
    widest: int | None = None
    depth: int = 2
    settings: Mapping[str, Any] = {}


#: The articles' network learns most of what it can in one pass, if nothing distorts the pictures and a step is small.
QUICKEST = {
    "model": "textbook", "widths": (32, 64), "optimizer": "adamw", "learning_rate": 0.008, "batch_size": 128,
    "test_time_views": False, "rotate": 0.0, "zoom": 0.0, "shift": 0.0, "crop": 0,
}  # fmt: skip
#: Pixels a side that it takes.
_TEXTBOOK_LEAST = 10
#: From the best in the long run to the quickest; measured on CIFAR-10 (``docs/image-recipe.md``).
CANDIDATES = (
    Candidate(1.7, 512, 3),
    Candidate(0.8, 256, 3),
    Candidate(0.25, 256, 2),
    Candidate(0.1, 128, 2),
    Candidate(0.0, settings=QUICKEST),
)


def recipe_for_time(
    images: Tensor,
    classes: Sequence[str],
    seconds: float,
    *,
    speed: float,
    overrides: Mapping[str, Any],
) -> ImageRecipe:
    """The recipe for training on ``images`` (N, H, W, C) uint8 in so many seconds.

    ``speed`` is that of the default recipe, in training samples a second; the others' follows from their multiply-adds.

    >>> images = torch.zeros(1000, 8, 8, 1, dtype=torch.uint8)
    >>> recipe_for_time(images, ["0", "1"], 10.0, speed=1000.0, overrides={"widths": (8, 16)}).epochs
    8
    """
    samples, shape = len(images), shape_of(images)
    default = choose_recipe(samples=samples, shape=shape, classes=classes, overrides=overrides)
    work = multiply_adds(default, shape, len(classes))
    for candidate in _candidates(shape, overrides):
        sized: dict[str, Any] = {} if candidate.widest is None else {"widest": candidate.widest}
        given = {**candidate.settings, **overrides}
        choose = functools.partial(
            choose_recipe, samples=samples, shape=shape, classes=classes, depth=candidate.depth, **sized
        )
        network = multiply_adds(choose(overrides=given), shape, len(classes))
        epochs = _STEADY_SHARE * speed * work / network * seconds / samples
        if epochs >= candidate.epochs_needed * default_epochs(samples):
            break
    return choose(overrides=given | {"epochs": max(1, round(epochs))})


def _candidates(shape: tuple[int, int, int], overrides: Mapping[str, Any]) -> Sequence[Candidate]:
    if {"widths", "depth", "model"} & set(overrides):
        return (Candidate(0.0),)
    grey, small = shape[2] == 1, min(shape[:2]) < _TEXTBOOK_LEAST
    return CANDIDATES[grey : len(CANDIDATES) - small]  # grey pictures need no widest


def multiply_adds(recipe: ImageRecipe, shape: tuple[int, int, int], classes: int) -> int:
    """Multiply-adds of the recipe's network for one picture."""
    with torch.device("meta"):
        network = recipe.build_network(shape, classes)
    return sum(row.multiply_adds for row in layer_costs(network))


def trial_step(
    images: Tensor, classes: int, recipe: ImageRecipe, *, device: torch.device, precision: torch.dtype
) -> Callable[[], None]:
    """A training step of the recipe's network on some of the images, to be timed; nothing else changes by it."""
    some = images[:TRIAL_BATCH]
    network = recipe.build_network(shape_of(images), classes).to(device)
    trainer = Trainer(network, loss=Crossentropy(), optimizer=recipe.optimizer_for(network), precision=precision)
    inputs = fit_normalisation(some)(some).to(device)
    batch = Batch(inputs, torch.zeros(len(some), dtype=torch.long, device=device))
    trainer.begin(TensorBatches(inputs), epochs=1)

    def step() -> None:
        loss, _ = trainer.train_step(batch)
        float(loss)  # waits for a GPU

    return step


def shape_of(images: Tensor) -> tuple[int, int, int]:
    """(H, W, C) of images (N, H, W, C)."""
    _, height, width, channels = images.shape
    return int(height), int(width), int(channels)
