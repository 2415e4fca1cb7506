"""Augmentation of series: the same series a little different in every epoch, and its way into the network.

Everything random is a pure function of (seed, epoch, sample index) (see ``random_keys``): order, batch size, padding
and resume never change what a series becomes. Padded steps stay 0 and masked, and are never read.

Shapes: N samples, B batch, T time, C channels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from corecur.data.batches import Batch
from corecur.data.mixing import SHARES, beta_shares
from corecur.data.random_keys import integers, normal, uniform
from corecur.data.series.series_scaling import SeriesScaling
from corecur.data.series.series_set import SeriesSet
from corecur.data.series.time_paths import TERMS, permuted, read_at, smooth_curve, steps_in, warped
from corecur.errors import ConfigError, DataError

# The least and the greatest value of each number, and what it is.
_LIMITS: dict[str, tuple[float, float, str]] = {
    "jitter": (0, 10, "standard deviation of the noise"),
    "scale": (0, 2, "standard deviation of the factor"),
    "magnitude_warp": (0, 2, "standard deviation of the factor"),
    "time_warp": (0, 2, "standard deviation of the logarithm of the speed"),
    "crop": (0, 0.9, "part of the length that is cut off"),
    "permute": (0, 50, "segments"),
    "mixup": (0, 100, "alpha of Beta(alpha, alpha)"),
}


@dataclass(frozen=True, kw_only=True)
class SeriesAugmentation:
    """What may happen to a training series after scaling; all is off by default.

    ``jitter``: noise at every value. ``scale``: a factor around 1 for each channel. ``magnitude_warp``: such a factor
    that changes smoothly in time. ``time_warp``: time runs smoothly faster and slower (Um et al., "Data augmentation of
    wearable sensor data", 2017). ``crop``: up to this part is cut off at the ends, the rest stretched to the old length
    (Le Guennec et al., 2016). ``permute``: cut into so many pieces, put together in random order. ``mixup``: alpha
    (Zhang et al., 2018); targets become soft. ``dataclasses.asdict`` gives the JSON form. Raises
    ConfigError for a value out of range.

    >>> SeriesAugmentation(jitter=0.05, scale=0.1).mixes
    False
    """

    jitter: float = 0.0
    scale: float = 0.0
    magnitude_warp: float = 0.0
    time_warp: float = 0.0
    crop: float = 0.0
    permute: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name, (least, greatest, unit) in _LIMITS.items():
            value = getattr(self, name)
            whole = isinstance(getattr(type(self), name), int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ConfigError(f"the augmentation {name!r} is no number", got=repr(value))
            if not least <= value <= greatest:
                raise ConfigError(
                    f"the augmentation {name!r} is out of range", got=value, expected=f"{least} to {greatest} ({unit})"
                )

    @property
    def mixes(self) -> bool:
        """Whether two samples become one, which makes the targets soft."""
        return self.mixup > 0


class SeriesTransform:
    """What stands between stored series and the network: scaling, augmentation (if any), the mask on its tensor.

    Called as ``transform(batch, epoch)`` with inputs (B, T, C), or (values (B, T, C), mask (B, T)); gives values alone,
    which carry the mask as their attribute ``mask``. Targets pass through, except with mix-up, which makes them soft,
    (B, K) float32, and draws each sample's partner from all of ``series``, which must be the very data that batches
    index. For validation leave ``augmentation`` out. Raises ConfigError where mix-up lacks its data, DataError for a
    batch without index where it needs one.

    >>> transform = SeriesTransform(SeriesScaling(mean=(1.0,), std=(2.0,)))
    >>> transform(Batch(torch.tensor([[[3.0], [1.0]]])), 0).inputs.flatten()
    tensor([1., 0.])
    """

    def __init__(
        self,
        scaling: SeriesScaling,
        augmentation: SeriesAugmentation | None = None,
        *,
        seed: int = 0,
        series: SeriesSet | None = None,
        classes: int | None = None,
    ) -> None:
        self.scaling, self.augmentation, self.seed = scaling, augmentation, seed
        self.series, self.classes = series, classes
        self._settings = None if augmentation == SeriesAugmentation() else augmentation
        mixes = augmentation is not None and augmentation.mixes
        if mixes and (series is None or series.labels is None or classes is None):
            raise ConfigError("mix-up needs all training data", do="pass series with labels, and classes")

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        values, mask = _values_and_mask(batch)
        settings = self._settings
        if settings is None:
            return batch._replace(inputs=_masked(self.scaling(values, mask), mask))
        if batch.index is None:
            raise DataError(
                "augmentation needs to know which sample is which",
                got="a batch without an index",
                do="use TensorBatches, which give one",
            )
        index = batch.index.to(values.device)
        inputs = self._augmented(settings, values, mask, epoch, index)
        if not settings.mixes:
            return batch._replace(inputs=_masked(inputs, mask))
        return self._mixed(settings, batch, inputs, mask, epoch, index)

    def _augmented(
        self, settings: SeriesAugmentation, values: Tensor, mask: Tensor | None, epoch: int, index: Tensor
    ) -> Tensor:
        """Everything that concerns one series alone: (B, T, C) -> (B, T, C), scaled."""
        x = self.scaling(values, mask)
        steps, channels = x.shape[1:]
        lengths = torch.full_like(index, steps) if mask is None else mask.sum(1)  # (B,)
        places = steps_in(lengths, steps)  # (B, T)
        if settings.time_warp or settings.crop:
            x = read_at(x, self._path(settings, places, lengths, epoch, index), lengths)
        if settings.permute > 1:
            draws = uniform(self.seed, epoch, index, settings.permute, stream="permute")
            x = permuted(x, draws.argsort(1), lengths)
        if settings.magnitude_warp:
            draws = normal(self.seed, epoch, index, TERMS, stream="magnitude")
            x = x * (1 + settings.magnitude_warp * smooth_curve(draws, places))[..., None]
        if settings.scale:
            x = x * (1 + settings.scale * normal(self.seed, epoch, index, channels, stream="scale"))[:, None]
        if settings.jitter:
            noise = normal(self.seed, epoch, index, steps * channels, stream="jitter")
            x = x + settings.jitter * noise.view(-1, steps, channels)
        return x if mask is None else x.masked_fill(~mask[..., None], 0.0)

    def _path(self, settings: SeriesAugmentation, places: Tensor, lengths: Tensor, epoch: int, index: Tensor) -> Tensor:
        """Where each step of the augmented series is read: (B, T) in 0 … 1."""
        if settings.time_warp:
            draws = normal(self.seed, epoch, index, TERMS, stream="speed")
            places = warped(places, settings.time_warp * smooth_curve(draws, places), lengths)
        if settings.crop:
            cut, start = uniform(self.seed, epoch, index, 2, stream="crop").unbind(1)  # (B,)
            cut = cut * settings.crop
            places = (start * cut)[:, None] + places * (1 - cut)[:, None]
        return places

    def _mixed(
        self,
        settings: SeriesAugmentation,
        batch: Batch,
        inputs: Tensor,
        mask: Tensor | None,
        epoch: int,
        index: Tensor,
    ) -> Batch:
        """Mix augmented series with partners of the whole data, augmented by their own keys."""
        if self.series is None or self.series.labels is None or self.classes is None:
            raise ConfigError("mix-up needs all training data", do="pass series with labels, and classes")
        device = inputs.device
        partner = integers(self.seed, epoch, index, high=len(self.series), stream="partner")[:, 0]  # (B,)
        rows = partner.to(self.series.values.device)
        others = self.series.take_values(rows)
        other_mask = None if others[1] is None else others[1].to(device)
        other = self._augmented(settings, others[0].to(device), other_mask, epoch, partner)
        row = integers(self.seed, epoch, index, high=SHARES, stream="mixup")[:, 0]
        share = beta_shares(float(settings.mixup), device)[row]  # (B,)
        mixed = inputs * share[:, None, None] + other * (1 - share)[:, None, None]
        both = None if mask is None or other_mask is None else mask | other_mask
        labels = self.series.labels.to(device)
        own, theirs = (one_hot(labels[places], self.classes).float() for places in (index, partner))  # (B, K)
        targets = own * share[:, None] + theirs * (1 - share)[:, None]
        return batch._replace(inputs=_masked(mixed, both), targets=targets)


def _values_and_mask(batch: Batch) -> tuple[Tensor, Tensor | None]:
    values, mask = (batch.inputs, None) if isinstance(batch.inputs, Tensor) else _pair(batch.inputs)
    if values.dim() != 3 or not values.is_floating_point():
        raise DataError(
            "this is no batch of series", got=f"{values.dtype} {tuple(values.shape)}", expected="float (B, T, C)"
        )
    return values, mask


def _pair(inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    if len(inputs) != 2 or inputs[1].dtype != torch.bool or inputs[1].shape != inputs[0].shape[:2]:
        raise DataError(
            "series come as values, or as values and their mask",
            got=", ".join(f"{one.dtype} {tuple(one.shape)}" for one in inputs),
            expected="float (B, T, C) and bool (B, T)",
        )
    return inputs[0], inputs[1]


def _masked(values: Tensor, mask: Tensor | None) -> Tensor:
    """Values that carry their mask as an attribute, which is how layers find it."""
    if mask is None:
        return values
    carrier = values.view_as(values)
    carrier.mask = mask  # type: ignore[attr-defined]
    return carrier
