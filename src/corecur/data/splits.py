"""Which samples are for training, which for validation, which for the test; reproducible, and class by class.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from corecur.data.random_keys import permutation
from corecur.errors import ConfigError, DataError

_TEST, _TEST_AT_MOST = 0.2, 10_000
_VALIDATION, _VALIDATION_AT_MOST = 0.1, 2_000


@dataclass(frozen=True)
class Shares:
    """The fractions of the given samples that go to validation and test; 0 where such a split is there already.

    >>> Shares(validation=0.1, test=0.2).train
    0.7
    """

    validation: float
    test: float

    def __post_init__(self) -> None:
        right = all(math.isfinite(share) and 0 <= share < 1 for share in (self.validation, self.test))
        if not right or self.validation + self.test >= 1:
            raise ConfigError(
                "these shares leave nothing to train on",
                got=f"validation {self.validation}, test {self.test}",
                expected="two fractions, 0 or more, whose sum is below 1",
            )

    @property
    def train(self) -> float:
        """What is left for training."""
        return round(1 - self.validation - self.test, 12)


def default_shares(n: int, *, has_validation: bool, has_test: bool, classes: int) -> Shares:
    """The shares taken of ``n`` training samples where the source has no split of its own.

    Test: 20 %, at most 10,000. Validation: 10 %, at least one a class, at most 2,000 (with many classes one a class).
    Raises DataError where ``n`` is too small for one sample of each kind.

    >>> default_shares(1000, has_validation=False, has_test=False, classes=10)
    Shares(validation=0.1, test=0.2)
    >>> default_shares(60_000, has_validation=False, has_test=True, classes=10).validation * 60_000
    2000.0
    """
    test = 0 if has_test else min(round(n * _TEST), _TEST_AT_MOST)
    validation = 0 if has_validation else max(min(round(n * _VALIDATION), _VALIDATION_AT_MOST), classes)
    validation = min(validation, (n - test) // 2)  # few samples of many classes: training keeps half
    if (not has_test and test < 1) or (not has_validation and validation < 1) or n < 1:
        raise DataError(
            "there are too few samples to set some aside",
            got=f"{n} samples of {classes} classes",
            expected="at least 5 samples",
            do="collect more, or give validation and test data of their own",
        )
    return Shares(validation=validation / n, test=test / n)


def split_by_class(labels: Tensor, fraction: float, *, seed: int, stream: str = "split") -> tuple[Tensor, Tensor]:
    """Hold out a fraction of every class: labels (N,) whole numbers -> two rising (N',) int64 tensors, keep and held.

    Sizes are those of largest-remainder rounding over the classes; then every class with two samples or more gets at
    least one on each side, and a class with a single sample keeps it. Splits with different ``stream`` are independent.
    Raises ConfigError for a fraction outside (0, 1), DataError where no class can spare a sample.

    >>> keep, held = split_by_class(torch.tensor([0] * 8 + [1] * 4), 0.25, seed=0)
    >>> len(keep), (held < 8).sum().item(), (held >= 8).sum().item()
    (9, 2, 1)
    """
    if not 0 < fraction < 1:
        raise ConfigError("a split's fraction must lie between 0 and 1", got=fraction, expected="for example 0.2")
    if labels.dim() != 1 or labels.is_floating_point() or len(labels) == 0:
        raise DataError(
            "a split by class needs one class number a sample",
            got=f"{labels.dtype} {tuple(labels.shape)}",
            expected="whole numbers (samples,)",
        )
    classes = torch.from_numpy(np.unique(labels.cpu().numpy(), return_inverse=True)[1])  # (N,) in 0..K-1
    counts = classes.bincount()  # (K,)
    share = _held_per_class(counts, fraction)  # (K,)
    shuffled = permutation(len(labels), seed, stream=stream)
    by_class = shuffled[classes[shuffled].argsort(stable=True)]  # classes in turn, each in random order
    rank = torch.arange(len(labels)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    is_held = rank < share.repeat_interleave(counts)
    if not bool(is_held.any()):
        raise DataError(
            "no class has a sample to spare",
            got=f"{len(counts)} classes, one sample each",
            expected="two samples or more of a class",
            do="collect more samples, or merge classes",
        )
    return by_class[~is_held].sort().values, by_class[is_held].sort().values


def _held_per_class(counts: Tensor, fraction: float) -> Tensor:
    """How many samples of each class to hold out: counts (K,) -> (K,) int64."""
    quotas = counts.to(torch.float64) * fraction
    held = quotas.floor().long()
    missing = round(int(counts.sum()) * fraction) - int(held.sum())
    largest = (held - quotas).argsort(stable=True)  # the largest remainder first, ties by class number
    held[largest[: max(missing, 0)]] += 1
    several = counts >= 2
    return torch.where(several, held.clamp(min=1).minimum(counts - 1), torch.zeros_like(held))


def split_in_folds(labels: Tensor, folds: int, *, seed: int) -> list[Tensor]:
    """Rows of each fold, rising (N',) int64: every sample in one of them, the classes of ``labels`` (N,) spread evenly.

    Raises ConfigError for fewer than two folds, DataError where there are fewer samples than folds.

    >>> [fold.tolist() for fold in split_in_folds(torch.tensor([0, 0, 0, 1, 1, 1]), 3, seed=0)]
    [[2, 5], [1, 4], [0, 3]]
    """
    if folds < 2:
        raise ConfigError("samples are cut into two folds or more", got=folds)
    if len(labels) < folds:
        raise DataError("there are fewer samples than folds", got=f"{len(labels)} samples", expected=f"{folds} or more")
    shuffled = permutation(len(labels), seed, stream="folds")
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    place = torch.arange(len(labels)) % folds
    return [by_class[place == number].sort().values for number in range(folds)]


@dataclass(frozen=True)
class Splits:
    """The samples of each split, rising (N',) int64 indices; empty where a split is not taken from these samples.

    >>> Splits(torch.tensor([0]), torch.tensor([1]), torch.tensor([2])).validation
    tensor([1])
    """

    train: Tensor
    validation: Tensor
    test: Tensor


def make_splits(labels: Tensor, shares: Shares, *, seed: int) -> Splits:
    """Three disjoint splits by class of samples with ``labels`` (N,).

    The test split does not depend on how much goes to validation. Raises DataError where a split that is asked for
    would be empty.

    >>> splits = make_splits(torch.arange(100) % 2, Shares(validation=0.1, test=0.2), seed=0)
    >>> len(splits.train), len(splits.validation), len(splits.test)
    (70, 10, 20)
    """
    train = torch.arange(len(labels))
    validation = test = train[:0]
    if shares.test:
        train, test = split_by_class(labels, shares.test, seed=seed, stream="test")
    if shares.validation:
        fraction = shares.validation / (1 - shares.test)
        keep, held = split_by_class(labels[train], fraction, seed=seed, stream="validation")
        train, validation = train[keep], train[held]
    splits = Splits(train, validation, test)
    check_integrity({"train": train, "validation": validation, "test": test}, samples=len(labels))
    return splits


def check_integrity(splits: Mapping[str, Tensor], *, samples: int | None = None) -> None:
    """Raise DataError where an index stands in two splits, or twice in one; with ``samples``, where one is left out.

    >>> check_integrity({"train": torch.tensor([0, 2]), "test": torch.tensor([1])}, samples=3)
    """
    names = list(splits)
    indices = torch.cat([splits[name].cpu() for name in names]).sort().values
    repeated = indices[1:][indices[1:] == indices[:-1]]
    if len(repeated):
        twice = int(repeated[0])
        places = [name for name in names if bool((splits[name] == twice).any())]
        raise DataError(
            "a sample stands in two splits",
            where=f"sample {twice}",
            got=" and ".join(places),
            expected="every sample in one split",
            do="make the splits anew",
        )
    if samples is None:
        return
    outside = indices[(indices < 0) | (indices >= samples)]
    if len(outside) or len(indices) != samples:
        raise DataError(
            "the splits do not cover the samples",
            got=f"{len(indices)} indices" + (f", such as {int(outside[0])}" if len(outside) else ""),
            expected=f"each of 0..{samples - 1} once",
        )
