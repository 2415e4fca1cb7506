from __future__ import annotations

import pytest
import torch
from torch import nn

from corecur.data.batches import TensorBatches
from corecur.engine.losses import MeanSquaredError
from corecur.engine.trainer import Trainer
from corecur.errors import RunError


def train(rate: float, x: torch.Tensor) -> int:
    """Epochs trained of a linear network at this rate."""
    network = nn.Linear(1, 1)
    trainer = Trainer(network, loss=MeanSquaredError(), optimizer=torch.optim.SGD(network.parameters(), lr=rate))
    return len(trainer.fit(TensorBatches(x, 3 * x, batch_size=4), epochs=3))


def test_a_good_training_is_left_alone() -> None:
    assert train(0.1, torch.ones(8, 1)) == 3


def test_a_loss_that_is_lost() -> None:
    with pytest.raises(RunError, match="the loss is nan") as refused:
        train(0.1, torch.full((8, 1), torch.nan))
    assert "epoch 2, step 3" in str(refused.value) and "lower learning rate" in str(refused.value)


def test_a_weight_that_is_lost_behind_a_finite_loss() -> None:
    with pytest.raises(RunError, match="the weight (weight|bias) holds NaN or infinity"):
        train(3e38, torch.ones(4, 1) * 10)
