from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from corecur.data.augment import Augmentation, ImageTransform
from corecur.data.batches import Batch, TensorBatches
from corecur.data.normalise import Normalisation, fit_normalisation
from corecur.errors import ConfigError, DataError

SETTINGS = {
    "crop": {"crop": 2},
    "flip": {"flip": "both"},
    "random flip": {"flip": "horizontal", "alternate_flip": False},
    "rotate": {"rotate": 15.0},
    "shift": {"shift": 0.2},
    "zoom": {"zoom": 0.2},
    "brightness": {"brightness": 0.3},
    "contrast": {"contrast": 0.3},
    "saturation": {"saturation": 0.5},
    "hue": {"hue": 0.1},
    "cutout": {"cutout": 3},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
}
EVERYTHING = {name: value for settings in SETTINGS.values() for name, value in settings.items()}
UNIT = Normalisation(mean=(0.0,) * 3, std=(1 / 255,) * 3)  # leaves the pixels' values as they are


def pictures(n: int = 40, h: int = 9, w: int = 7, c: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = np.random.default_rng(1)
    return torch.from_numpy(numbers.integers(0, 256, (n, h, w, c), dtype=np.uint8)), torch.arange(n) % 5


def transform(images: torch.Tensor, labels: torch.Tensor, *, seed: int = 3, **settings: object) -> ImageTransform:
    norm = UNIT if images.shape[-1] == 3 else Normalisation(mean=(0.0,), std=(1 / 255,))
    return ImageTransform(norm, Augmentation(**settings), seed=seed, images=images, labels=labels, classes=5)


def batch_of(images: torch.Tensor, labels: torch.Tensor, index: torch.Tensor) -> Batch:
    return Batch(images[index], labels[index], None, index)


@pytest.mark.parametrize("augmentation", [None, Augmentation(), Augmentation(alternate_flip=False)])
def test_all_off_only_normalises(augmentation: Augmentation | None) -> None:
    images, labels = pictures()
    norm = fit_normalisation(images)
    batch = ImageTransform(norm, augmentation)(Batch(images, labels), 7)
    assert torch.equal(batch.inputs, norm(images)) and batch.targets is labels


@pytest.mark.parametrize("settings", [*SETTINGS.values(), EVERYTHING], ids=[*SETTINGS, "everything"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_sample_becomes_depends_on_seed_epoch_and_sample_alone(
    settings: dict[str, object], channels: int
) -> None:
    images, labels = pictures(c=channels)
    change = transform(images, labels, **settings)
    before = images.clone()
    whole = change(batch_of(images, labels, torch.arange(40)), 4)
    order = torch.randperm(40)
    torch.manual_seed(int(order[0]))
    for index in (order, order[:1], order[:13], order[13:]):
        part = change(batch_of(images, labels, index), 4)
        assert torch.equal(part.inputs, whole.inputs[index])
        assert torch.equal(part.targets, whole.targets[index])
    assert whole.inputs.shape == images.shape and whole.inputs.dtype == torch.float32
    assert whole.inputs.min() >= 0 and whole.inputs.max() <= 255.001
    assert torch.equal(images, before)
    colour = channels == 1 and settings.keys() <= {"saturation", "hue"}
    others = [change, transform(images, labels, seed=4, **settings)]
    for other, epoch in zip(others, (5, 4), strict=True):
        assert torch.equal(other(batch_of(images, labels, torch.arange(40)), epoch).inputs, whole.inputs) == colour


def test_a_shuffled_resumed_epoch_sees_the_same_pictures() -> None:
    images, labels = pictures()
    change = transform(images, labels, **EVERYTHING)

    def seen(batch_size: int, start: int = 0) -> dict[int, torch.Tensor]:
        batches = TensorBatches(images, labels, batch_size=batch_size, shuffle=True, seed=batch_size, transform=change)
        return {int(i): x for b in batches.epoch(2, start) for i, x in zip(b.index, b.inputs, strict=True)}

    first = seen(7)
    for other in (seen(16), seen(7, start=3)):
        assert all(torch.equal(picture, first[i]) for i, picture in other.items())
    assert len(first) == 40


def test_one_setting_does_not_change_anothers_numbers() -> None:
    images, labels = pictures(h=9, w=9)
    cropped = transform(images, labels, crop=2)(batch_of(images, labels, torch.arange(40)), 0).inputs
    both = transform(images, labels, crop=2, cutout=2)(batch_of(images, labels, torch.arange(40)), 0).inputs
    assert (both == cropped).double().mean() > 0.9


def test_alternate_flip_shows_every_side_in_turn() -> None:
    images, labels = pictures()
    for flip, ways in (("horizontal", [(), (2,)]), ("vertical", [(), (1,)]), ("both", [(), (1,), (2,), (1, 2)])):
        change = transform(images, labels, flip=flip)
        epochs = [change(batch_of(images, labels, torch.arange(40)), e).inputs for e in range(2 * len(ways))]
        for i in range(40):
            expected = [images[i : i + 1].flip(dims).float() for dims in ways]
            shown = [next(k for k, e in enumerate(expected) if torch.equal(x[i : i + 1], e)) for x in epochs]
            assert sorted(shown[: len(ways)]) == list(range(len(ways))) and shown[: len(ways)] == shown[len(ways) :]
        sides = [sum(torch.equal(x, y.float()) for x, y in zip(epoch, images, strict=True)) for epoch in epochs]
        assert 0 < sides[0] < 40  # the first side is a coin's


def test_crop_covers_every_offset_and_nothing_else() -> None:
    images, labels = pictures(n=1, h=8, w=8)
    index = torch.arange(600)
    change = ImageTransform(UNIT, Augmentation(crop=2), seed=0)
    got = change(Batch(images.expand(600, -1, -1, -1), None, None, index), 0).inputs.numpy()
    padded = np.pad(images[0].numpy(), ((2, 2), (2, 2), (0, 0)), mode="reflect").astype(np.float32)
    windows = {padded[y : y + 8, x : x + 8].tobytes() for y in range(5) for x in range(5)}
    assert {picture.tobytes() for picture in got} == windows


def test_shift_stays_within_its_part_of_the_side() -> None:
    row = torch.arange(100, dtype=torch.uint8).view(1, 1, 100, 1)
    change = ImageTransform(Normalisation(mean=(0.0,), std=(1 / 255,)), Augmentation(shift=0.1), seed=0)
    got = change(Batch(row.expand(500, -1, -1, -1), None, None, torch.arange(500)), 0).inputs[:, 0, 50, 0] - 50
    assert got.abs().max() == 10 and got.unique().numel() == 21


def test_rotation_and_zoom_keep_the_centre_and_their_range() -> None:
    size = 41
    disc = torch.zeros(1, size, size, 1, dtype=torch.uint8)
    y, x = torch.meshgrid(torch.arange(size) - 20, torch.arange(size) - 20, indexing="ij")
    disc[0, :, :, 0][x**2 + y**2 <= 100] = 255
    grey = Normalisation(mean=(0.0,), std=(1.0,))
    batch = Batch(disc.expand(200, -1, -1, -1), None, None, torch.arange(200))
    turned = ImageTransform(grey, Augmentation(rotate=180), seed=0)(batch, 0).inputs
    assert ((turned.sum((1, 2, 3)) / (disc.sum() / 255) - 1).abs() < 0.02).all()  # a disc turns into itself
    areas = ImageTransform(grey, Augmentation(zoom=0.3), seed=0)(batch, 0).inputs.sum((1, 2, 3)) / (disc.sum() / 255)
    assert 0.45 < areas.min() < 0.6 and 1.5 < areas.max() < 1.75  # 0.7**2 and 1.3**2


def test_cutout_blanks_one_square_to_the_mean() -> None:
    images, labels = pictures(n=50, h=9, w=7)
    images = images.clamp(min=1)
    norm = fit_normalisation(images)
    got = ImageTransform(norm, Augmentation(cutout=3), seed=0)(batch_of(images, labels, torch.arange(50)), 0).inputs
    holes = (got == 0).all(dim=-1)
    assert (holes.sum((1, 2)) == 9).all()
    assert torch.equal(got[~holes], norm(images)[~holes])
    for hole in holes:
        rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
        assert len(rows) == len(columns) == 3


def test_mixing_is_a_weighted_sum_of_two_augmented_pictures() -> None:
    images, labels = pictures()
    index = torch.arange(40)
    for settings in ({"mixup": 0.5}, {"cutmix": 1.0}):
        plain = transform(images, labels, crop=2)(batch_of(images, labels, index), 1)
        change = transform(images, labels, crop=2, **settings)
        mixed = change(batch_of(images, labels, index), 1)
        mixing = change._mixing
        assert mixing is not None
        partner = mixing.partners(3, 1, index)
        weights = mixing.weights(3, 1, index, (9, 7))[..., None]
        expected = plain.inputs * weights + plain.inputs[partner] * (1 - weights)
        torch.testing.assert_close(mixed.inputs, expected, atol=1e-4, rtol=1e-6)
        assert torch.allclose(mixed.targets.sum(1), torch.ones(40)) and mixed.targets.shape == (40, 5)


def test_json_round_trip() -> None:
    settings = Augmentation(**EVERYTHING)
    assert Augmentation(**json.loads(json.dumps(dataclasses.asdict(settings)))) == settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": -1}, {"crop": 1.5}, {"crop": True}, {"rotate": 181}, {"rotate": float("nan")}, {"shift": 1.1},
        {"zoom": 1.0}, {"hue": 0.6}, {"brightness": -0.1}, {"cutout": -2}, {"mixup": -1.0}, {"cutmix": "much"},
        {"flip": "sideways"},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}"):
        Augmentation(**wrong)


def test_what_cannot_be_augmented_is_refused() -> None:
    images, labels = pictures()
    with pytest.raises(ConfigError, match="images, labels and classes"):
        ImageTransform(UNIT, Augmentation(mixup=0.2))
    change = ImageTransform(UNIT, Augmentation(crop=1))
    with pytest.raises(DataError, match="index"):
        change(Batch(images, labels), 0)
    with pytest.raises(DataError, match="pictures"):
        change(Batch(images.float(), labels, None, torch.arange(40)), 0)
    with pytest.raises(ConfigError, match="cut-out"):
        ImageTransform(UNIT, Augmentation(cutout=8))(batch_of(images, labels, torch.arange(4)), 0)
