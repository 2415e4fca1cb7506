"""Keras' ``validation_split``: the last part of the arrays, for validation.

Shapes: N samples.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from torch import Tensor
from torch.utils.data import Dataset

from corecur.data.arrays import as_inputs, as_targets, as_weights, check_lengths, samples_in
from corecur.data.batches import Field
from corecur.data.loader_batches import is_loader
from corecur.errors import ConfigError

Part: TypeAlias = tuple[Field, Field | None, Tensor | None]


def hold_out(x: object, y: object, sample_weight: object, fraction: float) -> tuple[Part, Part]:
    """Cut the last ``fraction`` of the samples off, before any shuffling.

    Returns ``(inputs, targets, weights)`` to train on and the same to validate with, as tensors that are views of one
    memory. Raises ConfigError where the fraction leaves a side without a sample or ``x`` is no array, DataError for
    arrays that do not fit together.

    >>> train, held = hold_out([[1.0], [2.0], [3.0], [4.0], [5.0]], None, None, 0.2)
    >>> train[0].flatten(), held[0].flatten()
    (tensor([1., 2., 3., 4.]), tensor([5.]))
    """
    if isinstance(x, Dataset) or is_loader(x):
        raise ConfigError(
            "validation_split needs arrays",
            got=type(x).__name__,
            do="pass validation_data instead, or give x and y as arrays",
        )
    if not 0 < fraction < 1:
        raise ConfigError("validation_split must lie between 0 and 1", got=fraction, expected="for example 0.2")
    inputs = as_inputs(x)
    targets = None if y is None else as_targets(y)
    weights = None if sample_weight is None else as_weights(sample_weight, samples_in(inputs))
    samples = check_lengths(inputs=inputs, targets=targets)
    kept = math.floor(samples * (1 - fraction))
    if kept in (0, samples):
        raise ConfigError(
            "validation_split leaves one side without a sample",
            got=f"{fraction} of {samples} samples",
            do="use more samples, or another fraction",
        )
    first, last = slice(kept), slice(kept, None)
    return (
        (_cut(inputs, first), targets if targets is None else _cut(targets, first), _cut_weights(weights, first)),
        (_cut(inputs, last), targets if targets is None else _cut(targets, last), _cut_weights(weights, last)),
    )


def _cut(field: Field, rows: slice) -> Field:
    return field[rows] if isinstance(field, Tensor) else tuple(part[rows] for part in field)


def _cut_weights(weights: Tensor | None, rows: slice) -> Tensor | None:
    return None if weights is None else weights[rows]
