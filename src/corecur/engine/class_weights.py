"""The weight of each sample's class.

B batch, T time, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corecur.data.batches import Batch
from corecur.engine.loss import spread
from corecur.errors import ConfigError


def checked_class_weights(weights: Mapping[int, float] | None) -> Mapping[int, float] | None:
    """The same weights; ConfigError where a key is no class number.

    >>> checked_class_weights({0: 1.0, 1: 5.0})
    {0: 1.0, 1: 5.0}
    """
    if weights is not None and not all(isinstance(key, (int, np.integer)) and key >= 0 for key in weights):
        raise ConfigError("class_weight maps class numbers to weights", got=weights, expected="{0: 1.0, 1: 5.0, …}")
    return weights


def weights_by_class(weights: Mapping[int, float] | None, batch: Batch, output: Any) -> Tensor | None:
    """Sample weights times the weight of each sample's class: (B,), or (B, T) where each step has a class.

    >>> weights_by_class({1: 5.0}, Batch(torch.zeros(2, 1), torch.tensor([0, 1])), torch.zeros(2, 2))
    tensor([1., 5.])
    """
    if weights is None:
        return batch.weights
    target = batch.targets
    if not isinstance(target, Tensor) or not isinstance(output, Tensor):
        raise ConfigError("class_weight needs a model with one output", do="pass sample_weight instead")
    classes = max(output.shape[-1], 2, 1 + max(weights))
    table = torch.tensor([weights.get(number, 1.0) for number in range(classes)], device=output.device)
    if target.ndim > 1 and target.shape == output.shape and output.shape[-1] > 1:  # one-hot or soft: (B, …, K)
        by_class = target.float() @ table[: target.shape[-1]]
    else:  # class numbers: (B,), (B, 1) or one at each of T steps (B, T)
        numbers = target.squeeze(-1) if target.ndim > 1 else target
        by_class = table[numbers.long().clamp(0, classes - 1)]  # the loss names a label that is no class
    return by_class if batch.weights is None else by_class * spread(batch.weights, by_class)
