"""The splits a source of labelled samples lacks, taken from its training data class by class."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Hashable, Sequence
from typing import Any, Protocol, Self, TypeVar

from torch import Tensor

from corecur.data.check import drawn_findings
from corecur.data.splits import Shares, default_shares, make_splits
from corecur.errors import ConfigError, DataError


class Samples(Protocol):
    """Samples that may have labels: pictures, texts, series; a dataclass."""

    @property
    def labels(self) -> Tensor | None:
        """Class numbers (N,), or None."""

    @property
    def names(self) -> tuple[str, ...]:
        """What messages call each sample."""

    def __len__(self) -> int: ...

    def contents(self) -> Sequence[Hashable]:
        """What each sample is, without its label."""

    def take(self, index: Tensor) -> Self:
        """The samples at ``index``."""


S = TypeVar("S")


def fill_splits(source: S, *, seed: int, validation: float | None = None, test: float | None = None) -> S:
    """The source with a validation and a test split, the same for the same seed; a share of 0 leaves a split away.

    Samples that are drawn while copies of them stay in the training split are told in ``findings``.

    Shares are of the training samples given; by default those of `default_shares`. A split the source has stays as it
    is. Raises ConfigError for shares that leave nothing to train on, DataError for too few samples.

    >>> from corecur.data.open_images import load_images
    >>> filled = fill_splits(load_images("digits"), seed=0, validation=0.25, test=0)
    >>> len(filled.train), len(filled.validation), filled.test
    (1348, 449, None)
    """
    found: Any = source  # a frozen dataclass with train, validation, test (Samples or None), classes and origin
    train: Samples = found.train
    if train.labels is None:
        raise ConfigError("training needs labels")
    usual = default_shares(
        len(train),
        has_validation=found.validation is not None or validation is not None,
        has_test=found.test is not None or test is not None,
        classes=len(found.classes),
    )
    shares = Shares(
        validation=usual.validation if validation is None or found.validation is not None else validation,
        test=usual.test if test is None or found.test is not None else test,
    )
    if not shares.validation and not shares.test:
        return source
    try:
        splits = make_splits(train.labels, shares, seed=seed)
    except DataError as error:
        raise DataError(
            "there are too few samples to set some aside",
            where=found.origin,
            got=f"{len(train):,} samples of {len(found.classes):,} classes",
            expected="three samples of a class or more: to learn from, to validate with, to test on",
            do="collect more, or give validation and test data of their own",
        ) from error
    rest = train.take(splits.train)
    drawn = {
        split: _held_out(train, index)
        for split, index, share in (
            ("validation", splits.validation, shares.validation),
            ("test", splits.test, shares.test),
        )
        if share
    }
    notes = [note for split, held in drawn.items() for note in drawn_findings(rest, held, split=split)]
    filled: S = dataclasses.replace(found, train=rest, findings=(*found.findings, *notes), **drawn)
    return filled


def _held_out(train: Samples, index: Tensor) -> Samples:
    """The samples at ``index`` (M,); rows of arrays are called ``train[5]``, which they no longer are."""
    taken: Any = train.take(index)
    held: Samples = dataclasses.replace(
        taken, names=tuple(re.sub(r"^train\[", "sample[", name) for name in taken.names)
    )
    return held


def share_in(value: Any) -> float | None:
    """A validation or test argument as a share of the training data, or None where it is a source of its own.

    >>> share_in("0.2"), share_in(0), share_in("photos/test")
    (0.2, 0.0, None)
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    if not 0 <= value < 1:
        raise ConfigError("a split is a source of its own or a share of the data", got=value, expected="0 up to 1")
    return float(value)
