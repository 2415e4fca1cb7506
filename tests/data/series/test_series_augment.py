"""Augmentation: pure functions of (seed, epoch, sample), blind to padding, off without settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.data.batches import Batch, TensorBatches
from corecur.data.random_keys import normal
from corecur.data.series.series_augment import SeriesAugmentation, SeriesTransform
from corecur.data.series.series_scaling import SeriesScaling
from corecur.data.series.series_set import SeriesSet
from corecur.data.series.time_paths import permuted, read_at, smooth_curve, steps_in, warped
from corecur.errors import ConfigError, DataError

NONE = SeriesScaling(kind="none")
EACH = [{"jitter": 0.3}, {"scale": 0.3}, {"magnitude_warp": 0.3}, {"time_warp": 0.5}, {"crop": 0.4}, {"permute": 4}]
ALL = SeriesAugmentation(jitter=0.1, scale=0.1, magnitude_warp=0.2, time_warp=0.3, crop=0.2, permute=3)


def ragged(count: int = 6, steps: int = 20, fill: float = 0.0) -> SeriesSet:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(count, steps, 2, generator=generator)
    mask = torch.arange(steps) < torch.arange(steps - count + 1, steps + 1)[:, None]
    mask[0] = torch.arange(steps) < 1
    values[~mask] = fill
    return SeriesSet(values, mask, torch.arange(count) % 2, tuple(map(str, range(count))))


def batch_of(series: SeriesSet, rows: list[int]) -> Batch:
    index = torch.tensor(rows)
    values, mask = series.take_values(index)
    assert series.labels is not None
    return Batch(values if mask is None else (values, mask), series.labels[index], None, index)


@pytest.mark.parametrize("settings", [*EACH, vars(ALL)])
def test_depends_on_seed_epoch_and_sample_alone(settings: dict[str, float]) -> None:
    series = ragged()
    transform = SeriesTransform(NONE, SeriesAugmentation(**settings), seed=5)  # type: ignore[arg-type]
    whole = transform(batch_of(series, [0, 1, 2, 3, 4, 5]), 3).inputs
    some = transform(batch_of(series, [4, 1]), 3).inputs
    assert isinstance(whole, torch.Tensor) and isinstance(some, torch.Tensor)
    torch.testing.assert_close(some, whole[[4, 1]])
    other = transform(batch_of(series, [4, 1]), 4).inputs
    assert isinstance(other, torch.Tensor) and not torch.allclose(other, some)


@pytest.mark.parametrize("settings", [*EACH, vars(ALL)])
def test_padding_is_never_read_and_changes_nothing(settings: dict[str, float]) -> None:
    transform = SeriesTransform(NONE, SeriesAugmentation(**settings), seed=5)  # type: ignore[arg-type]
    clean, dirty = ragged(), ragged(fill=float("nan"))
    first = transform(batch_of(clean, [1, 5]), 0).inputs
    assert torch.equal(first, transform(batch_of(dirty, [1, 5]), 0).inputs)  # type: ignore[arg-type]
    assert isinstance(first, torch.Tensor) and clean.mask is not None
    assert not first[~clean.mask[[1, 5]]].any()
    length = int(clean.lengths[1])
    alone = Batch(clean.values[1:2, :length], None, None, torch.tensor([1]))
    torch.testing.assert_close(transform(alone, 0).inputs[0], first[0, :length])  # type: ignore[index]


def test_the_mask_travels_with_the_values() -> None:
    series = ragged()
    inputs = SeriesTransform(NONE)(batch_of(series, [0, 3]), 0).inputs
    assert series.mask is not None
    assert torch.equal(inputs.mask, series.mask[[0, 3]])  # type: ignore[union-attr]
    batches = TensorBatches(series.inputs, series.labels, batch_size=4, transform=SeriesTransform(NONE))
    assert [batch.inputs.mask.shape for batch in batches] == [(4, 20), (2, 20)]  # type: ignore[union-attr]


def test_without_settings_only_scaling_happens() -> None:
    series = ragged()
    scaling = SeriesScaling(mean=(1.0, 2.0), std=(3.0, 4.0))
    for augmentation in (None, SeriesAugmentation()):
        inputs = SeriesTransform(scaling, augmentation)(batch_of(series, [5])._replace(index=None), 7).inputs
        assert isinstance(inputs, torch.Tensor)
        torch.testing.assert_close(inputs[0], (series.values[5] - torch.tensor([1.0, 2])) / torch.tensor([3.0, 4]))


def test_sizes_of_the_noise() -> None:
    ones = torch.ones(400, 50, 1)
    batch = Batch(ones, None, None, torch.arange(400))
    spreads = {}
    for name in ("jitter", "scale", "magnitude_warp"):
        inputs = SeriesTransform(NONE, SeriesAugmentation(**{name: 0.2}))(batch, 0).inputs  # type: ignore[arg-type]
        assert isinstance(inputs, torch.Tensor)
        assert abs(float(inputs.mean()) - 1) < 0.03
        spreads[name] = float(inputs.std())
    assert all(abs(spread - 0.2) < 0.03 for spread in spreads.values()), spreads


def test_mixup_makes_soft_targets() -> None:
    series = ragged()
    transform = SeriesTransform(NONE, SeriesAugmentation(mixup=0.5), seed=1, series=series, classes=2)
    mixed = transform(batch_of(series, [0, 1, 2, 3, 4, 5]), 0)
    assert isinstance(mixed.targets, torch.Tensor) and isinstance(mixed.inputs, torch.Tensor)
    torch.testing.assert_close(mixed.targets.sum(1), torch.ones(6))
    assert bool(((mixed.targets > 0) & (mixed.targets < 1)).any())
    alone = transform(batch_of(series, [3]), 0)
    torch.testing.assert_close(alone.inputs[0], mixed.inputs[3])
    assert series.mask is not None
    assert bool((mixed.inputs.mask >= series.mask).all())  # type: ignore[attr-defined]
    assert not mixed.inputs[~mixed.inputs.mask].any()  # type: ignore[attr-defined]


def test_paths_keep_ends_and_order() -> None:
    lengths = torch.tensor([9, 5, 1])
    places = steps_in(lengths, 9)
    curve = 2 * smooth_curve(normal(0, 0, torch.arange(3), 4), places)
    path = warped(places, curve, lengths)
    for row, length in enumerate(lengths.tolist()):
        real = path[row, :length]
        assert real[0] == 0 and (length == 1 or abs(float(real[-1]) - 1) < 1e-6)
        assert bool((real.diff() > 0).all())
    line = torch.arange(9.0).expand(3, 9)[..., None]
    read = read_at(line, places, lengths)[..., 0]
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(read[row, :length], torch.arange(float(length)))


def test_reading_between_steps_is_linear_interpolation() -> None:
    random = np.random.default_rng(0)
    values, places = random.normal(size=(2, 8, 1)), random.uniform(size=(2, 8))
    read = read_at(torch.tensor(values), torch.tensor(places), torch.tensor([8, 5]))
    for row, length in enumerate((8, 5)):
        wanted = np.interp(places[row] * (length - 1), np.arange(length), values[row, :length, 0])
        np.testing.assert_allclose(read[row, :, 0], wanted)


def test_pieces_are_moved_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    for length in (1, 3, 7, 10):
        order = torch.rand(1, 4, generator=generator).argsort(1)
        values = torch.arange(10.0).view(1, 10, 1)
        moved = permuted(values, order, torch.tensor([length])).flatten().tolist()
        cuts = [place * length // 4 for place in range(5)]
        wanted = [float(s) for piece in order[0].tolist() for s in range(cuts[piece], cuts[piece + 1])]
        assert moved == wanted + [float(step) for step in range(length, 10)]


def test_what_is_refused() -> None:
    for wrong in ({"jitter": -1}, {"crop": 0.95}, {"permute": 2.5}, {"scale": True}, {"mixup": float("nan")}):
        with pytest.raises(ConfigError):
            SeriesAugmentation(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="all training data"):
        SeriesTransform(NONE, SeriesAugmentation(mixup=0.2))
    with pytest.raises(DataError, match="which sample is which"):
        SeriesTransform(NONE, ALL)(Batch(torch.zeros(1, 5, 1)), 0)
    with pytest.raises(DataError, match="no batch of series"):
        SeriesTransform(NONE)(Batch(torch.zeros(1, 5)), 0)
    with pytest.raises(DataError, match="values and their mask"):
        SeriesTransform(NONE)(Batch((torch.zeros(1, 5, 1), torch.zeros(1, 5))), 0)
