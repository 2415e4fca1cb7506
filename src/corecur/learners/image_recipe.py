"""The recipe for images: network, augmentation, optimiser and schedule, scaled to the data.

What it rests on: Jordan, "94% on CIFAR-10 in 3.29 seconds" (2024, arXiv 2404.00498) and its Muon version (2024),
re-tuned on validation splits for two processor cores; ``docs/image-recipe.md`` has the measurements.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from corecur.data.augment import Augmentation
from corecur.engine.muon import MuonOptimizer
from corecur.engine.optimizers import SGD, AdamW
from corecur.engine.schedules import Trapezoid
from corecur.errors import ConfigError, nearest
from corecur.layers.conv import Convolution
from corecur.learners.image_networks import NETWORKS
from corecur.models import Model


class ImageRecipe(BaseModel):
    """Every setting of an image training; any of them can be given by name.

    >>> ImageRecipe(epochs=3).batch_size
    128
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field("blocks", description="network: blocks, hybrid or textbook")
    widths: tuple[int, ...] = Field((64, 128, 256), description="filters of each block", min_length=1)
    depth: int = Field(2, ge=1, le=8, description="convolutions in a block")
    pools: int = Field(3, ge=0, le=8, description="how many of the last blocks halve the picture")
    epochs: int = Field(20, ge=1, description="passes over the training split")
    batch_size: int = Field(128, ge=1, description="samples in a step")
    optimizer: Literal["muon", "sgd", "adamw"] = Field("muon", description="muon, sgd or adamw")
    learning_rate: float = Field(0.12, gt=0, description="rate of the convolutions at its peak")
    other_learning_rate: float = Field(0.02, gt=0, description="rate of stem, head and biases (muon only)")
    momentum: float = Field(0.6, ge=0, lt=1, description="momentum of the optimiser")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay (sgd and adamw)")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the training in which the rate rises")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="how much of the target is spread over all classes")
    patience: int = Field(10, ge=1, description="epochs without a better validation loss before it stops")
    average: Literal["none", "ema", "swa"] = Field(
        "none", description="average of the weights: none, ema (exponential), swa (of the last quarter)"
    )
    test_time_views: bool = Field(False, description="average over shifted (and mirrored) copies when predicting")
    crop: int = Field(0, ge=0, description="pixels of random crop")
    flip: Literal["none", "horizontal", "vertical", "both"] = Field("none", description="random mirroring")
    rotate: float = Field(0.0, ge=0, le=180, description="degrees of random rotation")
    shift: float = Field(0.0, ge=0, lt=1, description="random shift, share of the side")
    zoom: float = Field(0.0, ge=0, lt=1, description="random zoom, share of the size")
    brightness: float = Field(0.0, ge=0, le=1, description="random brightness")
    contrast: float = Field(0.0, ge=0, le=1, description="random contrast")
    saturation: float = Field(0.0, ge=0, le=1, description="random saturation")
    hue: float = Field(0.0, ge=0, le=0.5, description="random hue")
    cutout: int = Field(0, ge=0, description="side of a random grey square, pixels")
    mixup: float = Field(0.0, ge=0, description="alpha of mix-up")
    cutmix: float = Field(0.0, ge=0, description="alpha of CutMix")

    def build_network(self, shape: tuple[int, int, int], classes: int) -> Model:
        """The network for pictures of this shape (H, W, C)."""
        return NETWORKS[self.model](shape, classes, widths=self.widths, depth=self.depth, pools=self.pools)

    @property
    def schedule(self) -> Trapezoid:
        """The rate: up in a line during the warm-up, then down in a line to nothing."""
        return Trapezoid(self.learning_rate, warmup=self.warmup, cooldown=1 - self.warmup, start=1e-3)

    def optimizer_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """The optimiser; Muon moves the convolutions behind the stem, SGD stem, head and biases."""
        parameters = [p for p in network.parameters() if p.requires_grad]
        if self.optimizer == "adamw":
            return AdamW(self.learning_rate, weight_decay=self.weight_decay).make(parameters)
        if self.optimizer == "sgd":
            sgd = SGD(self.learning_rate, momentum=self.momentum, nesterov=True, weight_decay=self.weight_decay)
            return sgd.make(parameters)
        kernels = [m.weight for m in network.modules() if isinstance(m, Convolution)][1:]
        inside = {id(kernel) for kernel in kernels}
        rest = [p for p in parameters if id(p) not in inside]
        share = self.other_learning_rate / self.learning_rate
        groups = [
            {"params": kernels, "orthogonal": True, "rate_share": 1.0},
            {"params": rest, "orthogonal": False, "lr": self.other_learning_rate, "rate_share": share},
        ]
        other = functools.partial(torch.optim.SGD, lr=self.other_learning_rate, momentum=0.85, nesterov=True)
        return MuonOptimizer(
            groups if kernels else groups[1:],
            other,
            lr=self.learning_rate,
            momentum=self.momentum,
            ns_steps=3,
            unit_rows=True,
        )

    @property
    def augmentation(self) -> Augmentation:
        """The settings that change training pictures."""
        names = Augmentation.__dataclass_fields__.keys() & type(self).model_fields.keys()
        return Augmentation(**{name: getattr(self, name) for name in sorted(names)})


def choose_recipe(
    *,
    samples: int,
    shape: tuple[int, int, int],
    classes: Sequence[str],
    overrides: Mapping[str, Any] | None = None,
    widest: int | None = None,
    depth: int = 2,
) -> ImageRecipe:
    """The default recipe for so many training samples of this shape, with the given settings in place of its own.

    >>> recipe = choose_recipe(samples=1300, shape=(8, 8, 1), classes=list("0123456789"))
    >>> recipe.widths, recipe.pools, recipe.flip
    ((64, 128), 1, 'none')
    """
    height, width, channels = shape
    grey, size = channels == 1, min(height, width)
    given = dict(overrides or {})
    pools = min(5, max(int(size > 1), round(math.log2(size / 4))))
    count = max(2, pools)
    widest = widest or (128 if grey else 256)
    epochs = int(given.get("epochs") or default_epochs(samples))
    batch = batch_size_for(samples, epochs)
    mirrored = not grey and not is_handed(classes)
    long = epochs >= 15 and samples >= 5000
    chosen: dict[str, Any] = {
        "widths": tuple(max(32, widest >> (count - 1 - number)) for number in range(count)),
        "depth": depth,
        "pools": pools,
        "epochs": epochs,
        "batch_size": batch,
        "label_smoothing": 0.1 if grey or samples < 5000 else 0.2,
        "patience": max(10, epochs // 3),
        "test_time_views": size >= 24,
        "flip": "horizontal" if mirrored else "none",
    }
    if grey:
        chosen |= {"rotate": 10.0, "zoom": 0.1, "shift": 0.06}
    else:
        chosen |= {"crop": max(1, size // (8 if long else 16)), "cutout": size // 4 if long else 0}
    return check_settings(chosen | given)


def default_epochs(samples: int) -> int:
    """Epochs without a time budget: fewer the more samples there are.

    >>> default_epochs(1250), default_epochs(18_000)
    (30, 12)
    """
    return round(min(100.0, max(4.0, 30.0 * math.pow(1250 / samples, 0.35))))


def batch_size_for(samples: int, epochs: float) -> int:
    """A power of two from 16 to 512 that leaves 8 steps an epoch or more and, from 256 on, 200 steps in all.

    >>> batch_size_for(1300, 30), batch_size_for(60_000, 8)
    (128, 512)
    """
    batch = 16
    while batch < 512 and samples >= 16 * batch and (batch < 128 or samples * epochs >= 400 * batch):
        batch *= 2
    return min(batch, samples)


def is_handed(classes: Sequence[str]) -> bool:
    """Whether the class names say that a mirror image may be of another class: single signs, numbers, left and right.

    >>> is_handed(["0", "1"]), is_handed(["cat", "dog"]), is_handed(["left turn", "right turn"])
    (True, False, True)
    """
    names = [name.casefold() for name in classes]
    signs = all(len(name) == 1 or name.isdigit() for name in names)
    return signs or any(word in name for name in names for word in ("left", "right"))


def check_settings(settings: Mapping[str, Any]) -> ImageRecipe:
    """The recipe with these settings and plain defaults; ConfigError for a name it does not have or a wrong value.

    >>> check_settings({"epochs": "5"}).epochs
    5
    """
    for name in settings:
        if name not in ImageRecipe.model_fields:
            guess = nearest(name, ImageRecipe.model_fields)
            raise ConfigError(
                f"the recipe has no setting {name!r}",
                expected=", ".join(ImageRecipe.model_fields),
                do=f"did you mean {guess!r}?" if guess else None,
            )
    try:
        recipe = ImageRecipe(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        wanted = first["msg"].removeprefix("Input should be ").removeprefix("a valid ")
        raise ConfigError(
            f"the setting {str(first['loc'][0])!r} is wrong", got=repr(settings[str(first["loc"][0])]), expected=wanted
        ) from error
    NETWORKS[recipe.model]
    return recipe
