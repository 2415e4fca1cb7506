from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.data.splits import Shares, check_integrity, default_shares, make_splits, split_by_class, split_in_folds
from corecur.errors import ConfigError, DataError

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=120).map(torch.tensor)


@settings(max_examples=80, deadline=None)
@given(labels=LABELS, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_a_split_is_disjoint_complete_and_stratified(labels: torch.Tensor, fraction: float, seed: int) -> None:
    counts = labels.bincount(minlength=7)
    if counts.max() < 2:
        with pytest.raises(DataError, match="spare"):
            split_by_class(labels, fraction, seed=seed)
        return
    keep, held = split_by_class(labels, fraction, seed=seed)
    assert torch.equal(torch.cat([keep, held]).sort().values, torch.arange(len(labels)))
    assert torch.equal(keep, keep.sort().values) and torch.equal(held, held.sort().values)
    held_counts = labels[held].bincount(minlength=7)
    for count, taken in zip(counts.tolist(), held_counts.tolist(), strict=True):
        if count < 2:
            assert taken == 0
        else:
            assert 1 <= taken <= count - 1
            assert abs(taken - count * fraction) < 1 or taken in (1, count - 1)
    if all(1 <= count * fraction <= count - 1 for count in counts.tolist() if count):
        assert len(held) == round(len(labels) * fraction)  # nothing had to be clamped


@settings(max_examples=30, deadline=None)
@given(labels=LABELS, seed=st.integers(0, 99))
def test_the_same_seed_gives_the_same_split_whatever_was_called_before(labels: torch.Tensor, seed: int) -> None:
    if labels.bincount().max() < 2:
        return
    state = torch.get_rng_state()
    first = split_by_class(labels, 0.3, seed=seed)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    np.random.rand(3)
    split_by_class(labels, 0.5, seed=seed + 1)
    again = split_by_class(labels, 0.3, seed=seed)
    assert all(map(torch.equal, first, again))


def test_seeds_and_streams_give_other_splits() -> None:
    labels = torch.arange(200) % 4
    held = [split_by_class(labels, 0.2, seed=s, stream=t)[1].tolist() for s in (0, 1) for t in ("a", "b")]
    assert len({tuple(h) for h in held}) == 4


def test_every_sample_is_as_likely_to_be_held() -> None:
    labels = torch.arange(40) % 4
    times = torch.zeros(40)
    for seed in range(200):
        times[split_by_class(labels, 0.25, seed=seed)[1]] += 1
    # A binomial share of 200 splits, five standard deviations.
    assert (times / 200 - times.mean() / 200).abs().max() < 5 * (0.25 * 0.75 / 200) ** 0.5


def test_labels_need_not_be_dense_numbers() -> None:
    keep, held = split_by_class(torch.tensor([-7, -7, 900, 900, -7, 900]), 0.5, seed=0)
    assert len(keep) + len(held) == 6


@pytest.mark.parametrize("fraction", [0, 1, -1, 2, float("nan")])
def test_impossible_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split_by_class(torch.tensor([0, 0, 1, 1]), fraction, seed=0)


@pytest.mark.parametrize("labels", [torch.tensor([0.5, 1.0]), torch.zeros(2, 2).long(), torch.zeros(0).long()])
def test_labels_that_are_no_classes_are_refused(labels: torch.Tensor) -> None:
    with pytest.raises(DataError, match="class number"):
        split_by_class(labels, 0.5, seed=0)


@settings(max_examples=60, deadline=None)
@given(labels=LABELS, validation=st.floats(0.05, 0.4), test=st.floats(0.05, 0.4), seed=st.integers(0, 9))
def test_three_splits_share_nothing_and_leave_nothing(
    labels: torch.Tensor, validation: float, test: float, seed: int
) -> None:
    if labels.bincount().max() < 3:
        return
    splits = make_splits(labels, Shares(validation=validation, test=test), seed=seed)
    parts = [set(part.tolist()) for part in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(labels) and all(parts)
    assert torch.equal(make_splits(labels, Shares(validation=0.0, test=test), seed=seed).test, splits.test)


def test_no_share_no_split() -> None:
    splits = make_splits(torch.arange(10) % 2, Shares(validation=0, test=0), seed=0)
    assert splits.train.tolist() == list(range(10)) and len(splits.validation) == len(splits.test) == 0


@pytest.mark.parametrize(
    ("n", "has_validation", "has_test", "classes", "validation", "test"),
    [
        (1797, False, False, 10, 180, 359),
        (60_000, False, True, 10, 2000, 0),
        (100_000, False, False, 10, 2000, 10_000),
        (70_000, False, False, 10, 2000, 10_000),
        (5_000, True, False, 10, 0, 1000),
        (5_000, True, True, 10, 0, 0),
        (300, False, False, 60, 60, 60),
        (50_000, False, True, 3_000, 3_000, 0),
        (30, False, False, 40, 12, 6),
    ],
)
def test_default_shares(n: int, has_validation: bool, has_test: bool, classes: int, validation: int, test: int) -> None:
    shares = default_shares(n, has_validation=has_validation, has_test=has_test, classes=classes)
    assert (round(shares.validation * n), round(shares.test * n)) == (validation, test)
    assert shares.train + shares.validation + shares.test == pytest.approx(1)


def test_too_few_samples_are_refused() -> None:
    for n in (0, 1, 2):
        with pytest.raises(DataError, match="too few"):
            default_shares(n, has_validation=False, has_test=False, classes=2)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.2), (1.0, 0.0), (float("nan"), 0.1)])
def test_impossible_shares_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="shares"):
        Shares(*shares)


def test_integrity_finds_what_is_shared_missing_or_outside() -> None:
    a, b = torch.tensor([0, 1, 2]), torch.tensor([3, 4])
    check_integrity({"train": a, "test": b}, samples=5)
    check_integrity({"train": a, "test": b[:1]})
    with pytest.raises(DataError, match=r"sample 1[\s\S]*train and test"):
        check_integrity({"train": a, "validation": b, "test": torch.tensor([5, 1])})
    with pytest.raises(DataError, match="two splits"):
        check_integrity({"train": torch.tensor([3, 3])})
    with pytest.raises(DataError, match="cover"):
        check_integrity({"train": a}, samples=5)
    with pytest.raises(DataError, match="such as 4"):
        check_integrity({"train": a, "test": torch.tensor([4])}, samples=4)


@settings(max_examples=60, deadline=None)
@given(labels=LABELS, folds=st.integers(2, 6), seed=st.integers(0, 99))
def test_folds_hold_each_sample_once_and_the_classes_evenly(labels: torch.Tensor, folds: int, seed: int) -> None:
    if len(labels) < folds:
        with pytest.raises(DataError, match="fewer samples than folds"):
            split_in_folds(labels, folds, seed=seed)
        return
    found = split_in_folds(labels, folds, seed=seed)
    check_integrity({str(place): fold for place, fold in enumerate(found)}, samples=len(labels))
    counts = np.stack([labels[fold].bincount(minlength=7).numpy() for fold in found])
    assert np.ptp(counts, axis=0).max() <= 1 and np.ptp(counts.sum(1)) <= 1
    with pytest.raises(ConfigError, match="two folds or more"):
        split_in_folds(labels, 1, seed=seed)
