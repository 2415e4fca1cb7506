"""The recipe for series: network, scaling, augmentation, optimiser and schedule, by the size of the data.

What it rests on: Wang et al. 2017, "Time series classification from scratch with deep neural networks: a strong
baseline", and Ismail Fawaz et al. 2020, "InceptionTime"; ``docs/recipes-series.md`` has the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from corecur.data.series.series_augment import SeriesAugmentation
from corecur.data.series.series_scaling import ScalingKind
from corecur.engine.optimizers import AdamW
from corecur.engine.schedules import Trapezoid
from corecur.errors import ConfigError
from corecur.learners.series_networks import SERIES_NETWORKS, SeriesSizes, build_members
from corecur.learners.settings import checked_settings
from corecur.models import Model

#: Below so many training series none is held out for validation: they are worth more to learn from.
FEW_SERIES = 300

# Steps of a training, each of `batch_size` series.
_STEPS = 600
# Steps in time that a training reads in about a minute on two cores, as a member of each kind does.
_READ_IN_A_MINUTE = 10_000_000
_MOST_MEMBERS, _MOST_NETWORKS = 3, 20
_LONGEST_READ = 1024  # a longer series is brought to at most so many steps first
_LONGEST_REMEMBERED = 64  # and to so many before a recurrent layer reads it


class SeriesRecipe(BaseModel):
    """Every setting of a training on series; any of them can be given by name.

    >>> SeriesRecipe(model="fcn+inception", members=2).networks
    ('fcn', 'inception', 'fcn', 'inception')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        "fcn+inception", description="network: fcn, inception, resnet, lstm-fcn, hybrid, or several joined by +"
    )
    members: int = Field(
        1, ge=1, le=_MOST_NETWORKS, description="networks of each kind, whose probabilities are averaged"
    )
    filters: int = Field(64, ge=4, description="filters of a convolution (fcn's middle one has twice as many)")
    units: int = Field(64, ge=1, description="units of recurrent layers (lstm-fcn and hybrid)")
    depth: int = Field(3, ge=1, le=12, description="modules of inception")
    reach: int = Field(39, ge=1, description="steps of the longest kernel")
    shrink: int = Field(1, ge=1, description="a first convolution takes every so many-th step of very long series")
    halvings: int = Field(0, ge=0, le=12, description="times that time is halved before recurrent layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the features left out before the softmax")
    scaling: ScalingKind = Field("channel", description="mean 0 and deviation 1 by channel, by series, or none")
    epochs: int = Field(100, ge=1, description="passes over the training split")
    batch_size: int = Field(16, ge=1, description="series in a step")
    learning_rate: float = Field(1e-2, gt=0, description="rate at its peak")
    weight_decay: float = Field(0.05, ge=0, description="decoupled weight decay, of matrices and kernels alone")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the training in which the rate rises")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="how much of the target is spread over all classes")
    patience: int = Field(20, ge=1, description="epochs without a better validation loss before it stops")
    average: Literal["none", "ema", "swa"] = Field(
        "none", description="average of the weights: none, ema (exponential), swa (of the last quarter)"
    )
    jitter: float = Field(0.0, ge=0, le=10, description="noise, in standard deviations")
    scale: float = Field(0.0, ge=0, le=2, description="random factor around 1 a channel")
    magnitude_warp: float = Field(0.0, ge=0, le=2, description="random factor that changes smoothly in time")
    time_warp: float = Field(0.0, ge=0, le=2, description="random speed that changes smoothly")
    crop: float = Field(0.0, ge=0, le=0.9, description="share cut off at the ends, the rest stretched")
    permute: int = Field(0, ge=0, le=50, description="pieces put together in random order")
    mixup: float = Field(0.0, ge=0, le=100, description="alpha of mix-up")

    @property
    def networks(self) -> tuple[str, ...]:
        """The network of each member."""
        return tuple(name.strip() for name in self.model.split("+")) * self.members

    def build_networks(self, *, channels: int, classes: int) -> tuple[Model, Model]:
        """The network for series of so many channels that answers, and the one that is trained (``build_members``)."""
        sizes = SeriesSizes(**{name: getattr(self, name) for name in SeriesSizes.__dataclass_fields__})
        return build_members(self.networks, channels=channels, classes=classes, sizes=sizes)

    @property
    def schedule(self) -> Trapezoid:
        """The rate: up in a line during the warm-up, then down in a line to nothing."""
        return Trapezoid(self.learning_rate, warmup=self.warmup, cooldown=1 - self.warmup, start=1e-2)

    def optimizer_for(self, network: nn.Module) -> torch.optim.Optimizer:
        """AdamW, without decay of biases and normalisations."""
        adamw = AdamW(self.learning_rate, weight_decay=self.weight_decay, beta_2=0.99, decay_only_matrices=True)
        return adamw.make([p for p in network.parameters() if p.requires_grad])

    @property
    def augmentation(self) -> SeriesAugmentation:
        """The settings that change training series."""
        return SeriesAugmentation(**{name: getattr(self, name) for name in SeriesAugmentation.__dataclass_fields__})


def choose_series(
    *, samples: int, steps: int, overrides: Mapping[str, Any] | None = None, members: int | None = None
) -> SeriesRecipe:
    """The default recipe for so many training series of up to so many steps, with the given settings in its place.

    >>> choose_series(samples=50, steps=150).epochs, choose_series(samples=7000, steps=128).batch_size
    (200, 64)
    """
    given = dict(overrides or {})
    shrink = max(1, math.ceil(steps / _LONGEST_READ))
    batch = int(given.get("batch_size") or batch_for(samples))
    epochs = default_epochs(samples, batch)
    read = epochs * samples * steps / shrink
    kinds = str(given.get("model", "fcn+inception")).count("+") + 1
    usual = max(1, min(_MOST_MEMBERS, int(_READ_IN_A_MINUTE / read), _MOST_NETWORKS // kinds))
    chosen: dict[str, Any] = {
        "shrink": shrink,
        "reach": max(9, min(39, steps // shrink // 2)),
        "halvings": max(0, math.ceil(math.log2(max(1, steps / shrink / _LONGEST_REMEMBERED)))),
        "batch_size": batch,
        "epochs": epochs,
        "members": members or usual,
        "patience": max(10, int(given.get("epochs") or epochs) // 4),
    }
    return checked_recipe(chosen | given)


def batch_for(samples: int) -> int:
    """Series in a step: 16, and 64 once there are thousands.

    >>> [batch_for(samples) for samples in (10, 500, 1000, 5000)]
    [10, 16, 32, 64]
    """
    return min(samples, 16 if samples < 1000 else 32 if samples < 4000 else 64)


def default_epochs(samples: int, batch: int) -> int:
    """Epochs for about 600 steps, and at least 15.

    >>> default_epochs(67, 16), default_epochs(7352, 64)
    (150, 15)
    """
    return max(15, math.ceil(_STEPS / max(1, samples // batch)))


def checked_recipe(settings: Mapping[str, Any]) -> SeriesRecipe:
    """The recipe with these settings; ConfigError for unknown or wrong ones, and for networks of other names.

    >>> checked_recipe({"model": "resnet"}).networks
    ('resnet',)
    """
    recipe = checked_settings(SeriesRecipe, settings)
    for name in recipe.networks:
        SERIES_NETWORKS[name]
    if len(recipe.networks) > _MOST_NETWORKS:
        raise ConfigError("these are too many members", got=len(recipe.networks), expected=f"{_MOST_NETWORKS} at most")
    return recipe
