"""Augmentation: the same picture a little different in every epoch, and its way into the network.

Everything random is a pure function of (seed, epoch, sample index) (see ``random_keys``): order, batch size, workers
and resume never change what a sample becomes.

Shapes: N samples, B batch, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from corecur.data.batches import Batch
from corecur.data.colour import recolour
from corecur.data.geometry import Moves, move, warp
from corecur.data.mixing import Mixing, inside
from corecur.data.normalise import Normalisation, check_pictures
from corecur.data.random_keys import integers, uniform
from corecur.errors import ConfigError, DataError
from corecur.names import Table

# Each flip: how many ways a picture can lie, and whether way i is mirrored (vertically, horizontally).
_FLIPS = Table(
    "flip",
    {
        "none": ((False, False),),
        "horizontal": ((False, False), (False, True)),
        "vertical": ((False, False), (True, False)),
        "both": ((False, False), (False, True), (True, True), (True, False)),
    },
)
# The least and the greatest value of each number, and what it is.
_LIMITS: dict[str, tuple[float, float, str]] = {
    "crop": (0, 1024, "pixels"),
    "rotate": (0, 180, "degrees"),
    "shift": (0, 1, "part of the side"),
    "zoom": (0, 0.9, "part of the size"),
    "brightness": (0, 1, "part of the brightness"),
    "contrast": (0, 1, "part of the contrast"),
    "saturation": (0, 1, "part of the saturation"),
    "hue": (0, 0.5, "turns of the colour wheel"),
    "cutout": (0, 1024, "pixels"),
    "mixup": (0, 100, "alpha of Beta(alpha, alpha)"),
    "cutmix": (0, 100, "alpha of Beta(alpha, alpha)"),
}
# The column of each random number: turning one setting on changes no other setting's numbers.
_COLUMNS = (
    "crop_y", "crop_x", "shift_y", "shift_x", "turn", "zoom", "brightness", "contrast", "saturation", "hue",
    "hole_y", "hole_x", "flip",
)  # fmt: skip

Draws: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to a training picture; everything is off by default. ``dataclasses.asdict`` gives its JSON form.

    ``crop``: pixels of reflected border, of which a random window of the old size is cut. ``flip``: none, horizontal,
    vertical or both; with ``alternate_flip`` a sample's first flip is drawn and then each epoch takes the next one,
    so two epochs see each picture both ways (Jordan, "94% on CIFAR-10 in 3.29 seconds", 2024). ``rotate``: up to so
    many degrees either way. ``shift``: up to this part of the side, whole pixels. ``zoom``, ``brightness``,
    ``contrast``, ``saturation``: a factor of 1 ± this. ``hue``: up to this part of a turn. ``cutout``: side of a
    square set to the mean (DeVries and Taylor, 2017). ``mixup``, ``cutmix``: alpha; with both, each sample gets one
    of them by an even chance. Raises ConfigError for a value out of range.

    >>> Augmentation(crop=2, flip="horizontal").mixes
    False
    """

    crop: int = 0
    flip: str = "none"
    alternate_flip: bool = True
    rotate: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        _ = _FLIPS[self.flip]
        for name, (least, greatest, unit) in _LIMITS.items():
            value = getattr(self, name)
            whole = isinstance(getattr(type(self), name), int)
            kinds = (int,) if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= greatest:
                raise ConfigError(
                    f"the augmentation {name!r} is out of range",
                    got=repr(value),
                    expected=f"{'a whole number' if whole else 'a number'}, {least} to {greatest} ({unit})",
                )

    @property
    def mixes(self) -> bool:
        """Whether two samples become one, which makes the targets soft."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def moves(self) -> bool:
        """Whether pixels change their place by whole pixels."""
        return bool(self.crop or self.shift) or len(_FLIPS[self.flip]) > 1

    @property
    def warps(self) -> bool:
        """Whether pixels are read between pixels."""
        return self.rotate > 0 or self.zoom > 0


def _pick(draw: Tensor, count: int) -> Tensor:
    """Uniform numbers to whole numbers 0..count-1; the clamp undoes a product that rounded up to ``count``."""
    return (draw * count).long().clamp_(max=count - 1)


def _around(draw: Tensor, reach: float) -> Tensor:
    """Uniform numbers in [0, 1) to [-reach, reach)."""
    return (draw * 2 - 1) * reach


class ImageTransform:
    """What stands between stored pictures and the network: augmentation (if any), normalisation, mixing.

    Called as ``transform(batch, epoch)`` with inputs (B, H, W, C) uint8; gives float32 (B, H, W, C). Targets pass
    through, except with mix-up or CutMix, which make them soft: (B, K) float32. Those two draw each sample's partner
    from all of ``images`` (N, H, W, C) uint8 with ``labels`` (N,) classes or (N, K) soft, which must be the very data
    that batches index. For validation leave ``augmentation`` out. Raises ConfigError where mixing lacks its data or
    ``cutout`` is larger than a picture, DataError for a batch that is no uint8 pictures or, with augmentation, has no
    index.

    >>> transform = ImageTransform(Normalisation(mean=(0.5,), std=(0.5,)))
    >>> transform(Batch(torch.zeros(2, 1, 1, 1, dtype=torch.uint8)), 0).inputs.flatten()
    tensor([-1., -1.])
    """

    def __init__(
        self,
        normalisation: Normalisation,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        classes: int | None = None,
    ) -> None:
        self.normalisation, self.augmentation, self.seed = normalisation, augmentation, seed
        self.images, self.labels, self.classes = images, labels, classes
        # Nothing to do is the same as no augmentation; the flip's order alone does nothing.
        idle = augmentation is None or dataclasses.replace(augmentation, alternate_flip=True) == Augmentation()
        self._settings = None if idle else augmentation
        self._mixing: Mixing | None = None
        if augmentation is not None and augmentation.mixes:
            if images is None or labels is None or classes is None:
                raise ConfigError("mix-up and CutMix need all training data", do="pass images, labels and classes")
            self._mixing = Mixing(images, labels, classes, mixup=augmentation.mixup, cutmix=augmentation.cutmix)

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        images, index = batch.inputs, batch.index
        if not isinstance(images, Tensor):
            raise DataError("pictures come as one tensor", got=f"{len(images)} tensors")
        check_pictures(images)
        settings = self._settings
        if settings is None:
            return batch._replace(inputs=self.normalisation(images))
        if index is None:
            raise DataError(
                "augmentation needs to know which sample is which",
                got="a batch without an index",
                do="use TensorBatches, which give one",
            )
        index = index.to(images.device)
        inputs = self._augmented(settings, images, self._draw(settings, epoch, index))
        if self._mixing is None:
            return batch._replace(inputs=inputs)
        mixed = self._mixed(settings, self._mixing, inputs, index, epoch)
        return batch._replace(inputs=mixed.inputs, targets=mixed.targets)

    def _draw(self, settings: Augmentation, epoch: int, index: Tensor) -> Draws:
        """This epoch's random numbers of some samples: name -> (B,); ``flip`` is the way a picture lies, (B,) int64."""
        columns = uniform(self.seed, epoch, index, len(_COLUMNS), stream="augment").unbind(1)
        draws = dict(zip(_COLUMNS, columns, strict=True))
        ways = len(_FLIPS[settings.flip])
        if ways > 1 and settings.alternate_flip:
            first = integers(self.seed, 0, index, high=ways, stream="flip")[:, 0]
            draws["flip"] = (first + epoch) % ways
        else:
            draws["flip"] = _pick(draws["flip"], ways)
        return draws

    def _augmented(self, settings: Augmentation, images: Tensor, draws: Draws) -> Tensor:
        """Everything that concerns one picture alone: (B, H, W, C) uint8 -> (B, H, W, C) float32."""
        height, width, channels = images.shape[1:]
        if settings.warps:
            turn = _around(draws["turn"], math.radians(settings.rotate))
            zoom = 1 + _around(draws["zoom"], settings.zoom)
            images = warp(images, _moves(settings, draws, (height, width)), turn=turn, zoom=zoom)
        elif settings.moves:
            images = move(images, _moves(settings, draws, (height, width)))
        factors = {
            name: 1 + _around(draws[name], getattr(settings, name))
            for name in ("brightness", "contrast", "saturation")
            if getattr(settings, name)
        }
        if settings.hue:
            factors["hue"] = _around(draws["hue"], settings.hue)
        if factors and (channels == 3 or not factors.keys() <= {"saturation", "hue"}):
            images = recolour(images, **factors)
        inputs = self.normalisation(images)
        if settings.cutout:
            inputs.masked_fill_(_hole(settings.cutout, draws, (height, width))[..., None], 0.0)
        return inputs

    def _mixed(self, settings: Augmentation, mixing: Mixing, inputs: Tensor, index: Tensor, epoch: int) -> Batch:
        """Mix augmented inputs with partners of the whole data, augmented by their own keys; targets become soft."""
        partner = mixing.partners(self.seed, epoch, index)
        others = mixing.images.index_select(0, partner.to(mixing.images.device)).to(inputs.device)
        others = self._augmented(settings, others, self._draw(settings, epoch, partner))
        weights = mixing.weights(self.seed, epoch, index, (inputs.shape[1], inputs.shape[2]))  # (B, H, W)
        mixed = inputs.mul_(weights[..., None]).add_(others.mul_(1 - weights[..., None]))
        return Batch(mixed, mixing.targets(index, partner, weights))


def _moves(settings: Augmentation, draws: Draws, shape: tuple[int, int]) -> Moves:
    """Crop and shift add up; the flip comes before them."""
    offsets = []
    for axis, size in zip("yx", shape, strict=True):
        offset = _pick(draws[f"crop_{axis}"], 2 * settings.crop + 1) - settings.crop
        if settings.shift:
            offset += _around(draws[f"shift_{axis}"], settings.shift * size).round().long()
        offsets.append(offset)
    ways = torch.tensor(_FLIPS[settings.flip], device=draws["flip"].device)[draws["flip"]]  # (B, 2)
    return Moves(down=offsets[0], right=offsets[1], mirror_y=ways[:, 0], mirror_x=ways[:, 1])


def _hole(side: int, draws: Draws, shape: tuple[int, int]) -> Tensor:
    """A square that lies inside the picture: (B, H, W) bool."""
    if side > min(shape):
        raise ConfigError("the cut-out is larger than the picture", got=side, expected=f"at most {min(shape)} pixels")
    top, left = (_pick(draws[f"hole_{axis}"], size - side + 1) for axis, size in zip("yx", shape, strict=True))
    length = torch.full_like(top, side)
    return inside(top, left, length, length, shape)
