"""The trainer of what ``compile`` was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from corecur.engine.clipping import Clipping
from corecur.engine.metric import Metric
from corecur.engine.schedules import Schedule
from corecur.engine.trainer import Trainer


def trainer_for(
    network: nn.Module, optimizer: Any, *, loss: Any, metrics: Sequence[Metric] = (), precision: torch.dtype
) -> Trainer:
    """A trainer of the network's trainable weights; ``optimizer`` is one of ours, not yet made, or torch's.

    >>> from corecur.engine.losses import MeanSquaredError
    >>> from corecur.engine.optimizers import SGD
    >>> trainer_for(nn.Linear(1, 1), SGD(0.5), loss=MeanSquaredError(), precision=torch.float32).learning_rate
    0.5
    """
    if isinstance(optimizer, torch.optim.Optimizer):
        made: torch.optim.Optimizer | None = optimizer
    else:
        named = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        made = optimizer.make(list(named.values()), names=list(named)) if named else None
    rate = getattr(optimizer, "learning_rate", None)
    return Trainer(
        network,
        loss=loss,
        optimizer=made,
        metrics=metrics,
        rate=rate.rate_at if isinstance(rate, Schedule) else None,
        clipping=Clipping(
            norm=getattr(optimizer, "global_clipnorm", None),
            value=getattr(optimizer, "clipvalue", None),
            norm_each=getattr(optimizer, "clipnorm", None),
        ),
        precision=precision,
    )
