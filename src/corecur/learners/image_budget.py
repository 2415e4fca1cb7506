"""The recipe for a given time: the widest network that still sees the data often enough.

N samples, H height, W width, C channels.
"""

from __future__ import annotations

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
    """Filters of the last block and convolutions a block, and how many of the default epochs such a network needs."""

    widest: int
    depth: int
    epochs_needed: float


#: From the best in the long run to the quickest; measured on CIFAR-10 (``docs/image-recipe.md``).
CANDIDATES = (Candidate(512, 3, 1.7), Candidate(256, 3, 0.8), Candidate(256, 2, 0.25), Candidate(128, 2, 0.0))


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
    fixed = {"widths", "depth", "model"} & set(overrides)
    default = choose_recipe(samples=samples, shape=shape, classes=classes, overrides=overrides)
    work = multiply_adds(default, shape, len(classes))
    for candidate in CANDIDATES[-1:] if fixed else CANDIDATES[shape[2] == 1 :]:  # grey pictures need no widest
        sized: dict[str, Any] = {} if fixed else {"widest": candidate.widest, "depth": candidate.depth}
        recipe = choose_recipe(samples=samples, shape=shape, classes=classes, overrides=overrides, **sized)
        epochs = _STEADY_SHARE * speed * work / multiply_adds(recipe, shape, len(classes)) * seconds / samples
        if epochs >= candidate.epochs_needed * default_epochs(samples):
            break
    given = dict(overrides) | {"epochs": max(1, round(epochs))}
    return choose_recipe(samples=samples, shape=shape, classes=classes, overrides=given, **sized)


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
